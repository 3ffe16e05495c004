"""Extras that a command needs."""

import importlib.util

from cataloger.errors import MissingExtraError

TRAIN_MODULES = ("torch", "torchvision", "safetensors", "onnx", "onnxscript", "imagehash", "scipy")


def require_train_extra(command: str) -> None:
    """Raise MissingExtraError, which names the command, unless the extra `train` is installed."""
    if any(importlib.util.find_spec(module) is None for module in TRAIN_MODULES):
        raise MissingExtraError("train", command)
