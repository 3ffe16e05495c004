"""The frozen part's output, computed once and kept in a file.

The first layers never change, so every epoch would compute the same maps again. Keeping them turns hours on
a small machine into minutes: an image costs half a megabyte-second once and 50 kB of disk a view.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from cataloger.cpus import available_cpus
from cataloger.errors import TrainingError
from cataloger.options import PreprocessSpec
from cataloger.records import Failure, Pixels
from cataloger.training.data import Augmentation
from cataloger.training.images import decode_examples
from cataloger.training.labels import Example

Maps = np.memmap[Any, np.dtype[np.float16]]

CHUNK = 32
SAVE_EVERY = 1024


@dataclass(frozen=True, slots=True)
class FeatureCache:
    """Cached maps of some examples.

    maps: float16 N x views x 7 x 7 x 512, memory-mapped. readable: indices of the examples that have maps.
    failures: one line for each example that could not be decoded.
    """

    maps: Maps
    readable: npt.NDArray[np.int64]
    failures: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FrozenPart:
    """The exported frozen layers and what pixels they take. path: of an ONNX file, `images` to `features`."""

    path: Path
    spec: PreprocessSpec
    map_shape: tuple[int, int, int]

    def session(self) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = available_cpus()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        return onnxruntime.InferenceSession(str(self.path), options, providers=["CPUExecutionProvider"])


def cached_features(
    folder: Path,
    examples: Sequence[Example],
    frozen: FrozenPart,
    *,
    views: int,
    seed: int,
    progress: Callable[[int], None],
) -> FeatureCache:
    """Return the maps of examples, computing those that `folder` lacks. An interrupted cache is continued.

    progress: told the number of examples done. Raises TrainingError when no image can be read.
    """
    folder = folder / _fingerprint(examples, frozen, views, seed)
    folder.mkdir(parents=True, exist_ok=True)
    state = _read_state(folder)
    shape = (len(examples), views, *frozen.map_shape)
    mode = "r+" if (folder / "maps.npy").exists() else "w+"
    maps = np.lib.format.open_memmap(folder / "maps.npy", mode=mode, dtype=np.float16, shape=shape)
    if state["done"] < len(examples):
        augmentation = Augmentation(frozen.spec.size, seed)
        _fill(_Filler(maps, frozen.session(), augmentation, folder, state, progress), examples, frozen.spec)
    failed = {int(index) for index in state["failures"]}
    readable = np.array([index for index in range(len(examples)) if index not in failed], dtype=np.int64)
    if not len(readable):
        raise TrainingError(f"none of {len(examples)} images could be read; the first: {state['failures']['0']}")
    return FeatureCache(maps, readable, tuple(state["failures"].values()))


@dataclass(slots=True)
class _Filler:
    maps: Maps
    session: onnxruntime.InferenceSession
    augmentation: Augmentation
    folder: Path
    state: dict[str, Any]
    progress: Callable[[int], None]

    def add(self, start: int, pixels: dict[int, Pixels]) -> None:
        """Compute the maps of some decoded examples; keys are indices counted from `start`."""
        views = self.maps.shape[1]
        for view in range(views):
            stack = [self.augmentation.view(p, image=start + i, view=view) for i, p in pixels.items()]
            if stack:
                (features,) = self.session.run(None, {"images": np.stack(stack)})
                rows = [start + index for index in pixels]
                self.maps[rows, view] = features.transpose(0, 2, 3, 1).astype(np.float16)

    def done(self, count: int) -> None:
        self.maps.flush()
        self.state["done"] = count
        temporary = self.folder / "state.json.tmp"
        temporary.write_text(json.dumps(self.state), encoding="utf-8")
        temporary.replace(self.folder / "state.json")


def _fill(filler: _Filler, examples: Sequence[Example], spec: PreprocessSpec) -> None:
    start = int(str(filler.state["done"]))
    pending: dict[int, Pixels] = {}
    failures: dict[str, str] = filler.state["failures"]
    for position, result in enumerate(decode_examples(examples[start:], spec), start=1):
        index = int(result.item.key)
        if isinstance(result, Failure):
            failures[str(start + index)] = f"{result.item.uri}: {result.message} ({result.code})"
        else:
            pending[index] = result.pixels
        if position % CHUNK == 0 or start + position == len(examples):
            filler.add(start, pending)
            pending = {}
            filler.progress(start + position)
        if position % SAVE_EVERY == 0 or start + position == len(examples):
            filler.done(start + position)


def _read_state(folder: Path) -> dict[str, Any]:
    try:
        state: dict[str, Any] = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {"done": 0, "failures": {}}
    return state


def _fingerprint(examples: Sequence[Example], frozen: FrozenPart, views: int, seed: int) -> str:
    """Name of a cache: another start, list of files, preprocessing, number of views or seed is another cache."""
    digest = hashlib.sha256(frozen.path.read_bytes())
    digest.update(json.dumps([asdict(frozen.spec), views, seed]).encode())
    for example in examples:
        stat = example.path.stat() if example.path.exists() else None
        size = stat.st_size if stat else -1
        digest.update(f"{example.file}\0{size}\n".encode())
    return digest.hexdigest()[:16]
