"""Checkpoints: one safetensors file each, written under a temporary name; never a pickle.

The weights and the optimizer's state are tensors; the rest is JSON in the file's metadata.
"""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from cataloger.errors import TrainingError

MODEL_PREFIX = "model."
OPTIMIZER_PREFIX = "optimizer."


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands. epoch: epochs done. best: of validation top-1. history: a record an epoch.

    fingerprint: what the run was started with; a checkpoint of another run is not resumed.
    """

    fingerprint: str
    epoch: int = 0
    best: float = -1.0
    history: tuple[dict[str, float], ...] = field(default_factory=tuple)


def save(path: Path, network: nn.Module, optimizer: Optimizer, progress: Progress) -> None:
    """Write a checkpoint; a crash leaves either the old or the new one."""
    tensors = {MODEL_PREFIX + name: value for name, value in network.state_dict().items()}
    tensors |= _optimizer_tensors(optimizer)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    contiguous = {name: value.detach().contiguous() for name, value in tensors.items()}
    save_file(contiguous, temporary, metadata={"progress": json.dumps(asdict(progress))})
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)


def load(path: Path, network: nn.Module, optimizer: Optimizer | None = None) -> Progress:
    """Read a checkpoint into a network and, if given, an optimizer. Raises TrainingError."""
    try:
        with safe_open(path, framework="pt") as file:
            progress = json.loads(file.metadata()["progress"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise TrainingError(f"the checkpoint {path} cannot be read ({error}); delete it to start again") from error
    network.load_state_dict(
        {name.removeprefix(MODEL_PREFIX): t for name, t in tensors.items() if name.startswith(MODEL_PREFIX)}
    )
    if optimizer is not None:
        _load_optimizer(optimizer, tensors)
    return Progress(**{**progress, "history": tuple(progress["history"])})


def _optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    state = optimizer.state_dict()["state"]
    return {
        f"{OPTIMIZER_PREFIX}{index}.{name}": value
        for index, values in state.items()
        for name, value in values.items()
    }


def _load_optimizer(optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith(OPTIMIZER_PREFIX):
            index, name = key.removeprefix(OPTIMIZER_PREFIX).split(".", 1)
            state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
