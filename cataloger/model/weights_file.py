"""weights.safetensors read with numpy alone, so that tagging needs neither torch nor safetensors."""

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cataloger.model.untrusted import read_file, refusal

TYPES = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}
LARGEST_HEADER = 2**24
BATCH_NORM_EPSILON = np.float32(0.001)
"""That of `cataloger.model.network`, which needs torch."""

Tensors = Mapping[str, Any]
"""Arrays of floats by name."""


def read_weights(path: Path, *, sha256: str) -> Tensors:
    """Return the tensors of a file as they are stored.

    sha256: hash that it must have. Raises BundleError where it differs, or is no file of safetensors.
    """
    data = read_file(path)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise refusal(path, "is not the file that its bundle names (SHA-256 differs)")
    length = int.from_bytes(data[:8], "little")
    try:
        if length > min(LARGEST_HEADER, len(data) - 8):
            raise ValueError(f"its header says to have {length:,} bytes")
        header = json.loads(data[8 : 8 + length])
        header.pop("__metadata__", None)
        body = memoryview(data)[8 + length :]
        return {name: _array(body, **entry) for name, entry in header.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise refusal(path, f"holds no tensors that can be read: {error}") from error


def _array(body: memoryview, dtype: str, shape: list[int], data_offsets: list[int]) -> Any:
    start, end = data_offsets
    kind = np.dtype(TYPES[dtype])
    if not 0 <= start <= end <= len(body) or end - start != math.prod(shape) * kind.itemsize:
        raise ValueError("a tensor has not as many values as it says")
    return np.frombuffer(body[start:end], kind).reshape(shape)


def folded(weights: Tensors, layer: str) -> tuple[Any, Any]:
    """Return kernel and bias, float32, of a convolution with the batch norm behind it multiplied in."""
    norm = {name: weights[f"{layer}.bn.{name}"].astype(np.float32) for name in NORM}
    scale = norm["weight"] / np.sqrt(norm["running_var"] + BATCH_NORM_EPSILON)
    kernel = weights[f"{layer}.conv.weight"].astype(np.float32)
    return kernel * scale[:, None, None, None], norm["bias"] - norm["running_mean"] * scale


NORM = ("weight", "bias", "running_mean", "running_var")
"""The tensors of a batch norm."""
