"""How near the model and decoding are to what the processor could do, and what photos cost by how they are encoded.

    python benchmarks/floor.py PHOTOS [--images 300]

PHOTOS is a folder of JPEGs (`make_photos.py` makes some). Each is encoded anew with the same quality, as baseline and
as progressive JPEG, with colours at half (4:2:0) and at full resolution (4:4:4), and decoded as `tag` does it.

The pace that the processor could reach is measured, not looked up: a large product of matrices of integers, on one
thread of the same library. The multiply-adds of the network are counted by torch. Where the rest goes is told by the
library's own profile, by kind of node. Everything is one thread; decoding is counted in time of the processor.
"""

import argparse
import io
import json
import re
import time
from collections import Counter
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from cataloger.imaging.preprocess import load
from cataloger.inference.torch import load_network
from cataloger.model.bundle import Bundle, default_bundle_path, read_bundle
from cataloger.options import PreprocessSpec

QUALITY = 90
ENCODINGS = {
    "baseline, 4:2:0": {"subsampling": "4:2:0"},
    "baseline, 4:4:4": {"subsampling": "4:4:4"},
    "progressive, 4:2:0": {"subsampling": "4:2:0", "progressive": True},
    "progressive, 4:4:4": {"subsampling": "4:4:4", "progressive": True},
}
ROUNDS = 5
BATCH = 8
SIDE = 1024
"""Of the matrices whose product tells the pace."""


def main() -> None:
    """Measure decoding, then the model in each precision."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--images", type=int, default=300)
    arguments = parser.parse_args()
    measure_decoding([Image.open(path) for path in sorted(arguments.photos.glob("*.jpg"))[: arguments.images]])
    bundle = read_bundle(default_bundle_path(), check=())
    count = multiply_adds(bundle)
    for precision in bundle.precisions:
        measure_model(bundle.at(precision), count)


def measure_decoding(photos: list[Image.Image]) -> None:
    """Print what a photo costs in each encoding, in turns."""
    spec = PreprocessSpec()
    encoded = {name: [_encoded(photo, settings) for photo in photos] for name, settings in ENCODINGS.items()}
    seconds: dict[str, list[float]] = {name: [] for name in encoded}
    for _ in range(ROUNDS):
        for name, files in encoded.items():
            begun = time.process_time()
            for data in files:
                load(data, spec)
            seconds[name].append(time.process_time() - begun)
    usual = median(seconds["baseline, 4:2:0"])
    print(f"{len(photos):,} photos, the first of {photos[0].width}x{photos[0].height}")
    for name, spent in seconds.items():
        kilobytes = sum(map(len, encoded[name])) / len(photos) / 1000
        cost = 1000 * median(spent) / len(photos)
        print(f"{name:20} {cost:5.2f} ms  {median(spent) / usual:4.2f} times  {kilobytes:5.0f} kB")


def _encoded(photo: Image.Image, settings: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    photo.convert("RGB").save(file, "JPEG", quality=QUALITY, **settings)
    return file.getvalue()


def multiply_adds(bundle: Bundle) -> int:
    """Count those of one image, which torch counts as two operations each."""
    network = load_network(bundle).network
    size = bundle.preprocess.size
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 3, size, size))
    return counter.get_total_flops() // 2


def measure_model(bundle: Bundle, count: int) -> None:
    """Print what an image costs, what its multiply-adds would at the pace of a product of matrices, and the rest."""
    images = np.random.default_rng(0).integers(0, 256, (BATCH, *2 * [bundle.preprocess.size], 3), dtype=np.uint8)
    with TemporaryDirectory() as folder:
        session = _session(bundle.model_path.read_bytes(), Path(folder) / "profile")
        seconds = _seconds(lambda: session.run(["logits"], {"images": images})) / BATCH
        profile = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    pace = product_pace(bundle.precision)
    least = count / pace
    print(f"\n{bundle.title} in {bundle.precision}: {1000 * seconds:.2f} ms an image in batches of {BATCH}")
    print(
        f"{count / 1e6:.0f} million multiply-adds, {pace / 1e9:.0f} thousand million a second in a product of {SIDE}:"
    )
    print(f"{1000 * least:.2f} ms, {100 * least / seconds:.0f}% of the time")
    nodes: Counter[str] = Counter()
    depthwise = _depthwise(bundle.model_path)
    for event in profile:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            nodes[_kind(event, depthwise)] += event["dur"]
    for kind, spent in nodes.most_common(12):
        print(f"{kind:36} {100 * spent / nodes.total():5.1f}%")


def _kind(event: dict[str, Any], depthwise: set[str]) -> str:
    """Return the kind of a node, depthwise convolutions apart. The profile tells shapes of float weights."""
    name = re.sub(r"(_token_\d+|_nchwc)?_kernel_time$", "", event["name"])
    shapes = [shape for entry in event["args"]["input_type_shape"] for shape in entry.values()]
    is_depthwise = name in depthwise or any(len(shape) == 4 and shape[1:] == [1, 3, 3] for shape in shapes)
    return f"{event['args']['op_name']}{', depthwise' if is_depthwise else ''}"


def _depthwise(model: Path) -> set[str]:
    """Return the names by which the library's profile calls the convolutions of one channel each."""
    nodes = list(onnx.load(str(model)).graph.node)
    grouped = [node for node in nodes if any(each.name == "group" and each.i > 1 for each in node.attribute)]
    outputs = {name for node in grouped for name in node.output}
    fused = [node for node in nodes if outputs & set(node.input)]  # the activation behind it, computed along
    return {name for node in (*grouped, *fused) for name in (node.name, *node.output)}


def product_pace(precision: str) -> float:
    """Return the multiply-adds a second of one thread in a product of two large matrices of this precision."""
    is_integer = precision == "int8"
    shape = [SIDE, SIDE]
    left = TensorProto.UINT8 if is_integer else TensorProto.FLOAT
    right = TensorProto.INT8 if is_integer else TensorProto.FLOAT
    rng = np.random.default_rng(0)
    first = rng.integers(0, 255, shape).astype(np.uint8 if is_integer else np.float32)
    second = rng.integers(-63, 64, shape).astype(np.int8 if is_integer else np.float32)
    node = helper.make_node("MatMulInteger" if is_integer else "MatMul", ["a", "b"], ["c"])
    result = TensorProto.INT32 if is_integer else TensorProto.FLOAT
    graph = helper.make_graph(
        [node],
        "product",
        [helper.make_tensor_value_info("a", left, shape)],
        [helper.make_tensor_value_info("c", result, shape)],
        [helper.make_tensor("b", right, shape, second.tobytes(), raw=True)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.checker.check_model(model)
    session = _session(model.SerializeToString(), None)
    return SIDE**3 / _seconds(lambda: session.run(None, {"a": first}))


def _session(model: bytes, profile: Path | None) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _seconds(call: Any) -> float:
    """Return the least processor time of a call: what is in its way makes it longer, never shorter."""
    call()
    spent = []
    for _ in range(8 * ROUNDS):
        begun = time.process_time()
        call()
        spent.append(time.process_time() - begun)
    return min(spent)


if __name__ == "__main__":
    main()
