"""Checkpoints: one safetensors file each, written under a temporary name; never a pickle.

The weights, their average and the optimizer's state are tensors; the rest is JSON in the file's metadata.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialize
from torch import Tensor
from torch.optim import Optimizer

from cataloger.errors import TrainingError
from cataloger.utils import one_line, replacing

NETWORK = "network"
AVERAGE = "average"
OPTIMIZER = "optimizer"


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """Progress of a run. epoch: epochs done. step: steps done of the next one, and loss their summed loss.

    best: the highest validation (top-1, -loss). since_best: epochs since then. history: a record an epoch.
    fingerprint: what the run was started with; a checkpoint of another run is not resumed. version: of the
    cataloger that began it; "" for 0.1.0, which did not note it.
    """

    fingerprint: str
    epoch: int = 0
    step: int = 0
    loss: float = 0.0
    averaged: int = 0
    best: tuple[float, float] = (-1.0, 0.0)
    since_best: int = 0
    history: tuple[dict[str, float], ...] = field(default_factory=tuple)
    version: str = ""


Checkpoint = tuple[dict[str, dict[str, Tensor]], TrainingProgress]
"""Tensors by part and name, and the progress."""


def save(path: Path, parts: Mapping[str, Mapping[str, Tensor]], progress: TrainingProgress) -> None:
    """Write tensors by part and name; a crash or OutputError leaves either the old or the new checkpoint."""
    tensors = {
        f"{part}.{name}": value.detach().cpu().contiguous()
        for part, values in parts.items()
        for name, value in values.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    # safetensors' own way into a file has errors of its own, and permissions for nobody else.
    content = serialize(tensors, metadata={"progress": json.dumps(asdict(progress))})
    with replacing(path, advice="; the checkpoint before it is still there") as temporary:
        temporary.write_bytes(content)


def load(path: Path) -> Checkpoint:
    """Read a checkpoint: tensors by part and name. Raises TrainingError."""
    try:
        with safe_open(path, framework="pt") as file:
            values = json.loads(file.metadata()["progress"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        progress = TrainingProgress(**{**values, "best": tuple(values["best"]), "history": tuple(values["history"])})
        return _parts(tensors), _checked(progress)
    # RecursionError: of nested JSON.
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise unusable(path, error) from error


def unusable(path: Path, error: Exception) -> TrainingError:
    """Return what to raise for a checkpoint that cannot be used."""
    return TrainingError(f"the checkpoint {path} cannot be read ({one_line(error, 300)}); delete it to start again")


def _parts(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    parts: dict[str, dict[str, Tensor]] = {NETWORK: {}, AVERAGE: {}, OPTIMIZER: {}}
    for key, value in tensors.items():
        part, name = key.split(".", 1)
        parts.setdefault(part, {})[name] = value
    return parts


def _checked(progress: TrainingProgress) -> TrainingProgress:
    """Return progress that is what we write. Raises ValueError."""
    counts = (progress.epoch, progress.step, progress.averaged, progress.since_best)
    numbers = (progress.loss, *progress.best, *(value for each in progress.history for value in each.values()))
    are_counts = all(type(each) is int and each >= 0 for each in counts)
    are_numbers = all(isinstance(each, int | float) for each in numbers)
    are_texts = isinstance(progress.fingerprint, str) and isinstance(progress.version, str)
    if not (are_texts and are_counts and are_numbers and len(progress.best) == 2):
        raise ValueError("its progress is none that we have written")
    return progress


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """Return the state of an optimizer by "index.name"."""
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{name}": value
        for index, values in state.items()
        for name, value in values.items()
        if value is not None
    }


def load_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Give an optimizer the state that `optimizer_tensors` returned."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
