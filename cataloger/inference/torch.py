"""The GPU backend: a bundle's weights in torch, in half precision, one recorded CUDA graph for each size of batch.

On a GPU this network is a hundred small kernels whose launches would take longer than their work; a graph launches
them at once. Two slots, each with a stream and pinned memory of its own, let the copies of one batch run beside the
work of another. On the CPU, where it is checked against onnxruntime, it computes in float32 and without graphs.
"""

import queue
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from cataloger.inference.classifier import OfBundle, Scores
from cataloger.model import (
    FEATURES,
    PROTOTYPES,
    WEIGHTS,
    Bundle,
    ConvBNReLU6,
    FromPixels,
    Network,
    check_files,
    refusal,
)
from cataloger.records import Floats, Pixels

BATCHES = (8, 32, 128, 256)
"""Sizes that graphs are recorded for; a batch is filled up to the next one with black images."""
SLOTS = 2
WARM_UPS = 3
DTYPES = {"fp32": torch.float32, "fp16": torch.float16}


class TorchClassifier(OfBundle):
    """Runs a bundle's weights in its precision on one device. Safe to call from several threads at once.

    device: "cuda" or "cpu"; fp16 is for a GPU. Raises BundleError where the weights do not fit.
    """

    def __init__(self, bundle: Bundle, *, device: str = "cuda") -> None:
        check_files(bundle, (WEIGHTS,))
        super().__init__(bundle)
        self._device = torch.device(device)
        self._size = bundle.preprocess.size
        model = load_folded(bundle, DTYPES[bundle.precision])
        self._model = model.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._slots: queue.SimpleQueue[_Slot] = queue.SimpleQueue()
        if self._device.type == "cuda":
            for _ in range(SLOTS):
                self._slots.put(_Slot(self._model, self._size, self._device))

    @property
    def device(self) -> str:
        return self._device.type

    def scores(self, pixels: Pixels) -> Scores:
        """Classify uint8 N x size x size x 3, in parts of the largest batch at most."""
        parts = [pixels[start : start + BATCHES[-1]] for start in range(0, len(pixels), BATCHES[-1])]
        return Scores.joined([self._scores(part) for part in parts])

    def _scores(self, pixels: Pixels) -> Scores:
        if self._device.type != "cuda":
            with torch.inference_mode():
                return _as_scores(self._model(torch.from_numpy(np.ascontiguousarray(pixels))))
        slot = self._slots.get()
        try:
            return slot.scores(pixels)
        finally:
            self._slots.put(slot)


@dataclass(frozen=True, slots=True)
class _Graph:
    """A recorded run over one size of batch: its input and its outputs."""

    graph: Any
    images: Tensor
    outputs: tuple[Tensor, Tensor]


class _Slot:
    """What one batch at a time needs on a GPU: a stream, pinned memory, and the graphs."""

    def __init__(self, model: nn.Module, size: int, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._pinned = torch.zeros((BATCHES[-1], size, size, 3), dtype=torch.uint8).pin_memory()
        self._graphs = {batch: self._record(model, batch, device) for batch in BATCHES}

    def _record(self, model: nn.Module, batch: int, device: torch.device) -> _Graph:
        images = torch.zeros((batch, *self._pinned.shape[1:]), dtype=torch.uint8, device=device)
        with torch.inference_mode(), torch.cuda.stream(self._stream):
            for _ in range(WARM_UPS):
                model(images)
            self._stream.synchronize()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=self._stream):
                logits, _, familiarity = model(images)
        return _Graph(graph, images, (logits, familiarity))

    def scores(self, pixels: Pixels) -> Scores:
        """Classify at most BATCHES[-1] images."""
        count = len(pixels)
        batch = next(size for size in BATCHES if size >= count)
        recorded = self._graphs[batch]
        self._pinned[:count].copy_(torch.from_numpy(np.ascontiguousarray(pixels)))
        with torch.inference_mode(), torch.cuda.stream(self._stream):
            recorded.images[:count].copy_(self._pinned[:count], non_blocking=True)
            recorded.graph.replay()
            logits, familiarity = (output[:count].float().to("cpu", non_blocking=True) for output in recorded.outputs)
            self._stream.synchronize()
        return Scores(logits.numpy(), familiarity.numpy())


def load_folded(bundle: Bundle, dtype: torch.dtype) -> FromPixels:
    """Return a bundle's network in eval mode, each batch norm folded into its convolution.

    Raises BundleError where the weights cannot be read or do not fit.
    """
    model = load_network(bundle)
    for module in model.modules():
        if isinstance(module, ConvBNReLU6):
            module.conv, module.bn = fuse_conv_bn_eval(module.conv, module.bn), nn.Identity()  # type: ignore[assignment]
    return model.to(dtype)


def load_network(bundle: Bundle) -> FromPixels:
    """Return a bundle's network in fp32 and in eval mode, with its batch norms. Raises as `load_folded`."""
    path = bundle.path / WEIGHTS
    try:
        _check_tensors(bundle)
        tensors = {name: tensor.float() for name, tensor in load_file(path).items()}
        prototypes = tensors.pop(PROTOTYPES)
        network = Network(bundle.network, size=bundle.preprocess.size)
        network.load_state_dict(tensors, strict=False)
    except (OSError, SafetensorError, KeyError, RuntimeError) as error:
        raise refusal(path, f"cannot be used: {error}") from error
    return FromPixels(network, prototypes).eval()


def _check_tensors(bundle: Bundle) -> None:
    """Compare the shapes in the header of the weights with those of the network, before either takes any memory."""
    path = bundle.path / WEIGHTS
    with safe_open(path, framework="pt") as file:
        stored = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 (no mapping)
    with torch.device("meta"):
        own = Network(bundle.network, size=bundle.preprocess.size).state_dict()
    needed = {name: tuple(tensor.shape) for name, tensor in own.items() if "num_batches" not in name}
    prototypes = stored.pop(PROTOTYPES, ())
    if len(prototypes) != 2 or prototypes[1] != FEATURES:
        raise refusal(path, f"has prototypes of the shape {prototypes}")
    for name in sorted(needed.keys() | stored.keys()):
        if needed.get(name) != stored.get(name):
            shapes = f"the network has {needed.get(name, 'none')}, the file {stored.get(name, 'none')}"
            raise refusal(path, f"has tensors that do not fit its network, e.g. {name}: {shapes}")


def _as_scores(outputs: tuple[Tensor, Tensor, Tensor]) -> Scores:
    logits, familiarity = (_floats(outputs[index]) for index in (0, 2))
    return Scores(logits, familiarity)


def _floats(tensor: Tensor) -> Floats:
    values: Floats = tensor.float().cpu().numpy()
    return values
