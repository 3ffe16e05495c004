"""Labelled batches for the training loop, from cached features or cached pixels."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cataloger.model import normalise
from cataloger.training.inputs.augmentation import Augmentation
from cataloger.training.inputs.cache import ExampleCache
from cataloger.training.inputs.sampling import Indices


@dataclass(frozen=True, slots=True)
class Targets:
    """What a training wants of some images. accepted: which labels are right, bool N x labels.

    soft: probabilities by another model, float32 N x labels, a row of zeros where it has said nothing; None for none.
    """

    accepted: Tensor
    soft: Tensor | None = None

    def of(self, rows: Tensor) -> "Targets":
        """Return those of some of the images, in the order of `rows`."""
        return Targets(self.accepted[rows], None if self.soft is None else self.soft[rows])

    def to(self, device: torch.device) -> "Targets":
        """Move them to where the network is."""
        soft = None if self.soft is None else self.soft.to(device, non_blocking=True)
        return Targets(self.accepted.to(device, non_blocking=True), soft)


class Inputs(Protocol):
    """Images with what is right for them."""

    @property
    def cache(self) -> ExampleCache:
        """What is kept of the images."""
        ...

    @property
    def targets(self) -> Targets:
        """What is wanted, row by row as in the cache."""
        ...

    def batches(self, plan: Sequence[Indices], *, epoch: int | None) -> Iterator[tuple[Tensor, Targets]]:
        """Yield (input of the trained part, what is wanted) of each batch of rows; epoch None: not augmented."""
        ...


@dataclass(frozen=True, slots=True)
class LabelledFeatures:
    """Cached output of the frozen part: float32 N x 512 x 7 x 7, one of its views an epoch."""

    cache: ExampleCache
    targets: Targets
    seed: int = 0

    def batches(self, plan: Sequence[Indices], *, epoch: int | None) -> Iterator[tuple[Tensor, Targets]]:
        for rows in plan:
            chosen = np.zeros(len(rows), np.int64) if epoch is None else self._views(rows, epoch)
            maps = torch.from_numpy(self.cache.values[rows, chosen].astype(np.float32))
            yield maps.permute(0, 3, 1, 2), self.targets.of(torch.from_numpy(rows))

    def _views(self, rows: Indices, epoch: int) -> Indices:
        """Draw a view for each row of a batch, from the batch alone, so that a resumed run draws the same."""
        random = np.random.default_rng([self.seed, epoch, *rows.tolist()])
        return random.integers(self.cache.values.shape[1], size=len(rows))


@dataclass(frozen=True, slots=True)
class LabelledPixels:
    """Cached pixels, augmented again in each epoch: float32 N x 3 x size x size in [-1, 1].

    workers: processes that augment; 0 does it in between the steps. late: the augmentation of epoch `late_from`,
    counted from 0, and of all behind it; None for the same one.
    """

    cache: ExampleCache
    targets: Targets
    augmentation: Augmentation
    workers: int = 0
    late: Augmentation | None = None
    late_from: int = 0

    def batches(self, plan: Sequence[Indices], *, epoch: int | None) -> Iterator[tuple[Tensor, Targets]]:
        loader = DataLoader(
            _AugmentedViews(self.cache, self._augmentation(epoch), epoch),
            batch_sampler=[[(int(row), place) for place, row in enumerate(rows)] for rows in plan],
            num_workers=self.workers,
            pin_memory=self.workers > 0 and torch.cuda.is_available(),
        )
        for rows, (_, pixels) in zip(plan, loader, strict=True):
            yield pixels, self.targets.of(torch.from_numpy(rows))

    def _augmentation(self, epoch: int | None) -> Augmentation:
        is_late = self.late is not None and epoch is not None and epoch >= self.late_from
        return self.late if self.late is not None and is_late else self.augmentation


class _AugmentedViews(Dataset[tuple[int, Tensor]]):
    """Rows of a pixel cache, by (row, place in the batch)."""

    def __init__(self, cache: ExampleCache, augmentation: Augmentation, epoch: int | None) -> None:
        self._cache, self._augmentation, self._epoch = cache, augmentation, epoch

    def __getitem__(self, key: tuple[int, int]) -> tuple[int, Tensor]:
        row, place = key
        pixels = np.asarray(self._cache.values[row, 0])
        if self._epoch is None:
            return row, torch.from_numpy(pixels.copy())
        view = self._epoch * 4096 + place + 1
        return row, torch.from_numpy(self._augmentation.view(pixels, image=row, view=view))


def to_network(inputs: Tensor, device: torch.device) -> Tensor:
    """Move a batch to where the network is; pixels (uint8 N x size x size x 3) are normalised there."""
    moved = inputs.to(device, non_blocking=True)
    if moved.dtype == torch.uint8:
        return normalise(moved).contiguous(memory_format=torch.channels_last)
    return moved
