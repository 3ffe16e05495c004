"""Which engine runs a model on which device, and in which precision."""

import importlib.util
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cataloger.errors import UsageError
from cataloger.inference.classifier import Classifier
from cataloger.inference.isolated import open_classifier
from cataloger.inference.onnx import has_cuda_provider
from cataloger.model import WEIGHTS, Bundle
from cataloger.options import Device, PrecisionChoice

logger = logging.getLogger(__name__)

NVIDIA = Path("/dev/nvidiactl")
"""Exists if Linux has a GPU of NVIDIA; asking torch would take seconds."""


BATCH_SIZES = {"cpu": 4, "cuda": 128}
"""Images classified together by default. A GPU idles on fewer; on a CPU the maps of more fall out of the
cache: with a call on each of two processors, 8 cost 5% more in int8 than 4, and fewer let threads wait."""


@dataclass(frozen=True, slots=True)
class Engine:
    """A way to run models. name: "onnxruntime" or "torch". device: "cpu" or "cuda"."""

    name: Literal["onnxruntime", "torch"]
    device: Literal["cpu", "cuda"]

    @property
    def batch_size(self) -> int:
        """Images to classify together by default."""
        return BATCH_SIZES[self.device]

    def bundle(self, bundle: Bundle, precision: PrecisionChoice) -> Bundle:
        """Choose the precision. On a GPU auto is fp32 in onnxruntime and fp16 in torch, and int8 a UsageError.

        A copy without training weights cannot run in torch; it runs on the CPU.
        """
        if self.device == "cpu" or self._lacks(bundle):
            return bundle.at(precision)
        if precision == "int8":
            raise UsageError("--precision int8 is for CPUs; on a GPU leave it out, or use fp32")
        if self.name == "torch" and precision == "auto":
            return bundle.at("fp16")
        return bundle.at("fp32")

    def device_for(self, bundle: Bundle) -> str:
        """Return where `open` lets the model of a bundle run."""
        return "cpu" if self._lacks(bundle) else self.device

    def open(self, bundle: Bundle) -> Classifier:
        """Load a bundle's model in the precision that was chosen for it."""
        if self._lacks(bundle):
            logger.warning("%s runs on the CPU: this copy has no weights for torch", bundle.title)
            return open_classifier(bundle)
        if self.name == "torch":
            from cataloger.inference.torch import TorchClassifier

            return TorchClassifier(bundle, device=self.device)
        return open_classifier(bundle, device=self.device)

    def _lacks(self, bundle: Bundle) -> bool:
        """True for a bundle without what this engine runs."""
        return self.name == "torch" and WEIGHTS in bundle.left_out


def choose_engine(device: Device) -> Engine:
    """Turn --device into an engine. auto: a GPU where one can be used, else the CPU.

    Raises UsageError where --device cuda finds nothing that could use one.
    """
    if device != "cpu" and has_cuda_provider():
        return Engine("onnxruntime", "cuda")
    if device == "cuda" or (device == "auto" and NVIDIA.exists()):
        problem = _torch_problem()
        if problem is None:
            return Engine("torch", "cuda")
        if device == "cuda":
            raise UsageError(
                f"--device cuda: onnxruntime has no CUDA support, and {problem}. Install torch "
                "(pip install 'fashion-cataloger[torch]'), or replace onnxruntime (pip uninstall onnxruntime && "
                "pip install onnxruntime-gpu), or use --device cpu"
            )
    return Engine("onnxruntime", "cpu")


def _torch_problem() -> str | None:
    """Return why torch cannot be used on a GPU; None if it can."""
    if any(importlib.util.find_spec(name) is None for name in ("torch", "safetensors")):
        return "torch is not installed"
    import torch

    return None if torch.cuda.is_available() else "torch finds no usable GPU"
