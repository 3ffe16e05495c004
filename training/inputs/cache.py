"""What is computed once for each image and kept in a file: decoded pixels, or the frozen part's output.

Decoding and the first layers give the same in every epoch. Keeping it turns hours on a small machine into minutes.
An interrupted cache is resumed, and one of other images, preprocessing or weights is another cache.
"""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from cataloger.errors import TrainingError
from cataloger.options import PreprocessSpec
from cataloger.records import Failure, Pixels
from cataloger.training.data import Example, decode_examples, versions_of
from cataloger.utils import replacing

CHUNK = 32
SAVE_EVERY = 1024


@dataclass(frozen=True, slots=True)
class ExampleCache:
    """Cached arrays of some examples.

    values: memory-mapped, N x views x the shape of one. readable: indices of the examples that have values.
    failures: one line for each example that could not be decoded.
    """

    values: np.memmap[Any, Any]
    readable: npt.NDArray[np.int64]
    failures: tuple[str, ...]


class Extractor(Protocol):
    """Computes the values that are cached."""

    @property
    def spec(self) -> PreprocessSpec:
        """How images are decoded."""
        ...

    @property
    def views(self) -> int:
        """How many values an image has."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one value."""
        ...

    @property
    def dtype(self) -> Any:
        """Type of the numbers."""
        ...

    @property
    def identity(self) -> str:
        """Changes when the same image would give other values."""
        ...

    def values(self, pixels: Sequence[Pixels], images: Sequence[int]) -> npt.NDArray[Any]:
        """Return N x views x shape of decoded images, which are numbered for the augmentation."""
        ...


def cached(
    folder: Path, examples: Sequence[Example], extractor: Extractor, *, progress: Callable[[int], None]
) -> ExampleCache:
    """Return the values of examples, computing those that are missing in `folder`.

    progress: receives the number of examples done. Raises TrainingError when no image can be read or the disk is too
    small.
    """
    folder = folder / _fingerprint(examples, extractor)
    folder.mkdir(parents=True, exist_ok=True)
    state = _read_state(folder)
    values = _open(folder, (len(examples), extractor.views, *extractor.shape), extractor.dtype)
    if state["done"] < len(examples):
        _fill(_FillState(values, extractor, folder, state, progress), examples)
    failed = {int(index) for index in state["failures"]}
    readable = np.array([index for index in range(len(examples)) if index not in failed], dtype=np.int64)
    if not len(readable):
        raise TrainingError(f"none of {len(examples)} images could be read; the first: {state['failures']['0']}")
    return ExampleCache(values, readable, tuple(state["failures"].values()))


@dataclass(slots=True)
class _FillState:
    values: np.memmap[Any, Any]
    extractor: Extractor
    folder: Path
    state: dict[str, Any]
    progress: Callable[[int], None]

    def add(self, start: int, pixels: dict[int, Pixels]) -> None:
        """Compute the values of some decoded examples; keys are indices counted from `start`."""
        if pixels:
            rows = [start + index for index in pixels]
            self.values[rows] = self.extractor.values(list(pixels.values()), rows)

    def done(self, count: int) -> None:
        self.values.flush()
        self.state["done"] = count
        with replacing(self.folder / "state.json") as temporary:
            temporary.write_text(json.dumps(self.state), encoding="utf-8")


def _fill(fill: _FillState, examples: Sequence[Example]) -> None:
    start = int(str(fill.state["done"]))
    pending: dict[int, Pixels] = {}
    failures: dict[str, str] = fill.state["failures"]
    for position, result in enumerate(decode_examples(examples[start:], fill.extractor.spec), start=1):
        index = int(result.item.key)
        if isinstance(result, Failure):
            failures[str(start + index)] = f"{result.item.uri}: {result.message} ({result.code})"
        else:
            pending[index] = result.pixels
        if position % CHUNK == 0 or start + position == len(examples):
            fill.add(start, pending)
            pending = {}
            fill.progress(start + position)
        if position % SAVE_EVERY == 0 or start + position == len(examples):
            fill.done(start + position)


def _open(folder: Path, shape: tuple[int, ...], dtype: Any) -> np.memmap[Any, Any]:
    path = folder / "values.npy"
    if path.exists():
        return np.lib.format.open_memmap(path, mode="r+")
    needed = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise TrainingError(
            f"the cache of {shape[0]} images needs {needed / 1e9:.1f} GB below {folder.parent}, where "
            f"{free / 1e9:.1f} GB are free; name another folder with --work, or use fewer --views"
        )
    with replacing(path) as temporary:
        np.lib.format.open_memmap(temporary, mode="w+", dtype=dtype, shape=shape).flush()
        _reserve(temporary)
    return np.lib.format.open_memmap(path, mode="r+")


def _reserve(path: Path) -> None:
    """Take the space that a file will fill: writing to mapped memory without it kills the process. Raises OSError."""
    if not hasattr(os, "posix_fallocate"):
        return
    with path.open("r+b") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):  # file systems that cannot promise space
                raise


def _read_state(folder: Path) -> dict[str, Any]:
    try:
        state: dict[str, Any] = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {"done": 0, "failures": {}}
    return state


def _fingerprint(examples: Sequence[Example], extractor: Extractor) -> str:
    """Name of a cache: another extractor, list of files or version of an image is another cache."""
    digest = hashlib.sha256(json.dumps([extractor.identity, asdict(extractor.spec), extractor.views]).encode())
    for example, version in zip(examples, versions_of(examples), strict=True):
        digest.update(f"{example.file}\0{version}\n".encode())
    return digest.hexdigest()[:16]
