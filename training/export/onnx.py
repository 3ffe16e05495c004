"""From a trained network to the files of a bundle, and the gate that the export must pass."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxscript import optimizer
from safetensors.torch import save as serialize
from torch import Tensor, nn

from cataloger.errors import QualityGateError
from cataloger.inference import OnnxClassifier
from cataloger.model import (
    FAMILIARITY,
    GOLDEN,
    INPUT,
    LOGITS,
    MODEL,
    PLACE_SCORES,
    PROTOTYPES,
    WEIGHTS,
    Bundle,
    FromPixels,
    Network,
    golden_images,
    normalise,
)
from cataloger.records import Floats, Pixels
from cataloger.utils import replacing

PARITY_TOLERANCE = 1e-3
PARITY_IMAGES = 64
OPSET = 20
BATCH_LIMIT = 4096


class _FrozenFromPixels(nn.Module):
    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network.frozen_features(normalise(images))


def round_to_half(network: Network) -> dict[str, Tensor]:
    """Round matrices and kernels to fp16, in place; return the tensors as a bundle stores them.

    What is exported, checked and fine-tuned later are the same rounded numbers.
    """
    stored = {
        name: value.half() if value.ndim >= 2 else value
        for name, value in network.state_dict().items()
        if "num_batches" not in name
    }
    network.load_state_dict({name: value.float() for name, value in stored.items()}, strict=False)
    return {name: value.contiguous() for name, value in stored.items()}


def write_model_files(network: Network, prototypes: Floats, folder: Path, *, size: int) -> None:
    """Write weights.safetensors and model.onnx of a network; it is rounded to fp16 and set to eval mode."""
    rounded = torch.from_numpy(prototypes.astype(np.float16))
    (folder / WEIGHTS).write_bytes(serialize({**round_to_half(network), PROTOTYPES: rounded}))
    model = _to_onnx(FromPixels(network, rounded.float()), size, [LOGITS, PLACE_SCORES, FAMILIARITY])
    onnx.save(store_as_half(model), folder / MODEL)


def write_frozen_part(network: Network, path: Path, *, size: int) -> None:
    """Write the frozen layers as ONNX, uint8 `images` to float `features`, for the feature cache."""
    with replacing(path) as temporary:
        onnx.save(_to_onnx(_FrozenFromPixels(network), size, ["features"]), temporary)


def write_golden(bundle: Bundle) -> None:
    """Classify seeded synthetic images with the bundle's model.onnx and keep both for later replays."""
    images = golden_images(bundle.preprocess.size)
    logits = OnnxClassifier(bundle).logits(images)
    np.savez_compressed(bundle.path / GOLDEN, images=images, logits=logits)


def check_parity(network: Network, bundle: Bundle, images: Pixels) -> float:
    """Compare the torch network with the exported model; return the largest difference of a logit.

    images: uint8 N x size x size x 3, real ones. Raises QualityGateError above PARITY_TOLERANCE.
    """
    network.eval()
    with torch.inference_mode():
        expected: Floats = network(normalise(torch.from_numpy(images)))[0].numpy()
    difference = float(np.abs(OnnxClassifier(bundle).logits(images) - expected).max())
    if not difference <= PARITY_TOLERANCE:
        raise QualityGateError(
            f"the exported model's logits differ from the network's by {difference:.2g} on {len(images)} images; "
            f"at most {PARITY_TOLERANCE:.0e} is allowed, so nothing was written"
        )
    return difference


def _to_onnx(module: nn.Module, size: int, outputs: list[str]) -> Any:
    module.eval()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    example = torch.zeros(2, size, size, 3, dtype=torch.uint8)
    batch = torch.export.Dim("batch", min=1, max=BATCH_LIMIT)
    program = torch.onnx.export(
        module,
        (example,),
        dynamo=True,
        input_names=[INPUT],
        output_names=outputs,
        dynamic_shapes=({0: batch},),
        opset_version=OPSET,
        # Its optimisation would fuse the batch norms into kernels that are rounded afterwards, to other numbers
        # than the network's. Constants are folded below; onnxruntime fuses the rest at load.
        optimize=False,
        verbose=False,
    )
    assert program is not None
    optimizer.fold_constants(program.model)
    optimizer.remove_unused_nodes(program.model)
    return without_traces(program.model_proto)


def without_traces(model: Any) -> Any:
    """Take out where in whose source each node comes from: paths of this machine, other ones on the next."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    return model


def store_as_half(model: Any) -> Any:
    """Store matrices and kernels as fp16 with a Cast behind each; the cast is folded when the model loads."""
    graph = model.graph
    casts = []
    for index, tensor in enumerate(graph.initializer):
        if tensor.data_type == TensorProto.FLOAT and len(tensor.dims) >= 2:
            half = numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name + "_half")
            casts.append(helper.make_node("Cast", [half.name], [tensor.name], to=TensorProto.FLOAT))
            graph.initializer[index].CopyFrom(half)
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.value_info[:]
    onnx.checker.check_model(model)
    return model
