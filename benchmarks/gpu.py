"""The GPU backend against what the GPU could do, and against the CPU's answers. It has not run on a GPU yet.

    python benchmarks/gpu.py PHOTOS [--images 4000] [--device cuda]

PHOTOS is a folder of JPEGs (`make_photos.py` makes some). Printed: whether the answers are those of onnxruntime on
the CPU; images per second of the bare model for each size of batch, beside two floors; decoding alone, the model
alone and `cataloger tag` as a whole. Floors of the model: its operations at the rate of a large matrix product
measured here, and what its layers read and write at the rate of a large copy measured here. Wanted: the model within
1.5 times the larger floor, the whole command at least 0.8 of the slower of decoding and model. `--device cpu`
rehearses it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from cataloger.fetch.prefetch import fetch
from cataloger.imaging.decode_pool import DecodePool
from cataloger.inference.backend import BATCH_SIZES
from cataloger.inference.onnx import OnnxClassifier
from cataloger.inference.torch import BATCHES, TorchClassifier
from cataloger.model.bundle import Bundle, default_bundle_path, read_bundle
from cataloger.model.network import Network
from cataloger.options import Limits
from cataloger.records import Image, Item
from cataloger.utils.cpu import available_cpus

SIDE, COPIED = 8192, 1 << 30
SECONDS = 2.0
CHECKED = 512


def main() -> None:
    """Check the answers, then measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--device", default="cuda")
    arguments = parser.parse_args()
    bundle = read_bundle(default_bundle_path()).at("fp16" if arguments.device == "cuda" else "fp32")
    classifier = TorchClassifier(bundle, device=arguments.device)
    paths = [path for path, _ in zip(cycle(arguments.photos), range(arguments.images), strict=False)]
    decoding, pixels = decode(bundle, paths)
    check(bundle, classifier, pixels[:CHECKED])
    model = measure_model(bundle, classifier, pixels, arguments.device)
    slower = min(decoding, model)
    whole = tag(paths, arguments.device)
    print(f"decoding alone {decoding:.0f} images/s, model alone {model:.0f}, cataloger tag {whole:.0f}")
    print(f"cataloger tag is at {whole / slower:.2f} of the slower one (wanted: 0.8)")


def cycle(folder: Path) -> Iterator[Path]:
    """Yield the photos of a folder over and over."""
    found = sorted(folder.glob("*.jpg"))
    while found:
        yield from found


def decode(bundle: Bundle, paths: list[Path]) -> tuple[float, np.ndarray[Any, Any]]:
    """Decode with all processors; return images per second and the pixels of the first ones."""
    items = (Item(str(path), str(path), "", path=os.fsencode(path)) for path in paths)
    with DecodePool(bundle.preprocess, Limits(), workers=available_cpus()) as pool:
        images = pool.decode(fetch(items, Limits()))
        first = [image.pixels for image in islice(images, 2 * BATCHES[-1]) if isinstance(image, Image)]
        begun = time.monotonic()
        rest = sum(1 for _ in images)
        return rest / (time.monotonic() - begun), np.stack(first)


def check(bundle: Bundle, classifier: TorchClassifier, pixels: np.ndarray[Any, Any]) -> None:
    """Compare with onnxruntime in fp32; end unless the best five agree but for near ties."""
    expected = OnnxClassifier(bundle.at("fp32"), threads=available_cpus()).logits(pixels)
    found = classifier.scores(pixels).logits
    difference = float(np.abs(found - expected).max())
    same = float((found.argmax(axis=1) == expected.argmax(axis=1)).mean())
    best = np.sort(expected, axis=1)[:, -5:]
    five = float(
        (np.take_along_axis(expected, np.argsort(-found, axis=1)[:, :5], axis=1) >= best[:, :1] - 0.1).mean()
    )
    print(f"answers of {len(pixels)} photos: largest difference of a logit {difference:.4f}, same label {same:.4f}")
    if difference > 0.1 or same < 0.98 or five < 1:
        raise SystemExit("the answers are not those of the CPU")


def measure_model(bundle: Bundle, classifier: TorchClassifier, pixels: np.ndarray[Any, Any], device: str) -> float:
    """Print the model's rate for each batch beside its floors; return that of the batch that `tag` uses."""
    operations, moved = work_of(bundle)
    arithmetic, memory = rates(device, torch.float16 if device == "cuda" else torch.float32)
    floor = max(operations / arithmetic, moved / memory)
    print(f"{arithmetic / 1e12:.1f} Tflop/s, {memory / 1e9:.0f} GB/s; an image: {operations / 1e9:.2f} Gflop, "
          f"{moved / 1e6:.1f} MB; floor {1e6 * floor:.1f} microseconds")  # fmt: skip
    rate = 0.0
    for batch in BATCHES:
        seconds = timed(partial(classifier.scores, pixels[:batch]), device) / batch
        print(f"batch {batch:4}: {1 / seconds:9.0f} images/s, {seconds / floor:5.2f} times the floor (wanted: 1.5)")
        if batch == BATCH_SIZES["cuda"]:
            rate = 1 / seconds
    return rate


def work_of(bundle: Bundle) -> tuple[float, float]:
    """Return the operations of one image, and the bytes that its layers read and write, in half precision.

    Batch norms and activations are folded into the convolutions, as the backend does; weights count once a batch.
    """
    network = Network(bundle.network, size=bundle.preprocess.size).eval()
    moved = 0

    def count(_module: nn.Module, inputs: Any, output: Any) -> None:
        nonlocal moved
        moved += sum(2 * each.numel() for each in (*inputs, output) if isinstance(each, Tensor))

    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
    image = torch.zeros(1, 3, bundle.preprocess.size, bundle.preprocess.size)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(image)
    return float(counter.get_total_flops()), float(moved)


def rates(device: str, dtype: torch.dtype) -> tuple[float, float]:
    """Measure operations per second of a matrix product, and bytes per second that a copy reads and writes."""
    side, copied = (SIDE, COPIED) if device == "cuda" else (SIDE // 8, COPIED // 16)
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    source = torch.zeros(copied, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * side**3 / timed(lambda: left @ right, device), 2 * copied / timed(lambda: target.copy_(source), device)


def timed(work: Callable[[], Any], device: str) -> float:
    """Return the seconds of one call, of as many as fit into SECONDS."""
    work()
    with synchronized(device):
        begun, calls = time.monotonic(), 0
    while time.monotonic() - begun < SECONDS:
        with synchronized(device):
            work()
        calls += 1
    return (time.monotonic() - begun) / calls


@contextmanager
def synchronized(device: str) -> Iterator[None]:
    """Wait for the GPU at the end of the block."""
    yield
    if device == "cuda":
        torch.cuda.synchronize()


def tag(paths: list[Path], device: str) -> float:
    """Run `cataloger tag` over the photos; return images per second without its start."""
    with tempfile.TemporaryDirectory() as folder:
        photos, profile = Path(folder) / "photos", Path(folder) / "profile.json"
        photos.mkdir()
        for number, path in enumerate(paths):
            (photos / f"{number:07}.jpg").symlink_to(path.absolute())
        command = [sys.executable, "-m", "cataloger", "tag", str(photos), "--db", f"sqlite:///{folder}/gpu.db", "-q"]
        subprocess.run([*command, "--device", device, "--profile", str(profile)], check=True)
        values = json.loads(profile.read_text(encoding="utf-8"))
        return float(values["images"] / sum(values["waited_seconds"].values()))


if __name__ == "__main__":
    main()
