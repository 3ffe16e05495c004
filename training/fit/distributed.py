"""Training on one processor or GPU, or on several: `torchrun --nproc-per-node N -m cataloger train ...`."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import distributed

from cataloger.errors import UsageError

# The others wait while the first process reads images, validates and exports.
PATIENCE = timedelta(hours=12)


@dataclass(frozen=True, slots=True)
class Place:
    """Which of how many processes this is, and what it computes on."""

    device: torch.device
    rank: int = 0
    processes: int = 1

    @property
    def is_first(self) -> bool:
        """True for the one process that writes files and talks."""
        return self.rank == 0

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.processes > 1:
            distributed.barrier()

    def same(self, value: float) -> float:
        """Return the first process's value in all of them."""
        if self.processes == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64, device=self.device)
        distributed.broadcast(shared, src=0)
        return float(shared)


def choose_device(name: str) -> str:
    """Turn --device into "cpu" or "cuda". Raises UsageError for a GPU that torch cannot use."""
    if name == "cpu":
        return "cpu"
    if torch.cuda.is_available():
        return "cuda"
    if name == "cuda":
        raise UsageError("--device cuda: torch finds no GPU here; run `cataloger doctor`, or use --device cpu")
    return "cpu"


@contextmanager
def joined(name: str) -> Iterator[Place]:
    """Join the processes that torchrun started, if it did; leave them at the end. name: of --device."""
    device, processes = choose_device(name), int(os.environ.get("WORLD_SIZE", "1"))
    if processes == 1:
        yield Place(torch.device(device))
        return
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if device == "cuda":
        torch.cuda.set_device(local)
    distributed.init_process_group("nccl" if device == "cuda" else "gloo", timeout=PATIENCE)
    try:
        chosen = torch.device(device, local) if device == "cuda" else torch.device(device)
        yield Place(chosen, distributed.get_rank(), processes)
    finally:
        distributed.destroy_process_group()
