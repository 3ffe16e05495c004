"""What a run needs of whatever reads, decodes and classifies its inputs."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from cataloger.adaptation import SourceCalibration
from cataloger.model import Calibration
from cataloger.options import Limits, RunOptions, WebOptions
from cataloger.records import Failure, Item, PictureScores, Result
from cataloger.utils import Stopwatch

OnImage = Callable[[Item], None]
"""Receives the item of each image that could be decoded, before its result comes, at once where that is possible."""


class RecordedPictures(Protocol):
    """What is recorded of pictures."""

    @property
    def has_any(self) -> bool:
        """False where nothing was recorded when the run began."""
        ...

    def find(self, hashes: Sequence[str], /) -> Mapping[str, PictureScores]:
        """Return what is known of pictures by the SHA-256 of their bytes; those that are not known are left out."""
        ...


class Executor(Protocol):
    """Brings inputs to results: fetches, decodes and classifies them, here or elsewhere."""

    @property
    def device(self) -> str:
        """Where the model runs, e.g. "cpu"."""
        ...

    def run(self, items: Iterable[Item | Failure], on_image: OnImage, /) -> Iterator[list[Result]]:
        """Yield a result for each input, some at a time; failures among the inputs pass through.

        The inputs are taken as there is room for them, so that what has come of the first ones can decide about the
        later ones. It may be called again when it has ended. After a stop, what does not end soon has no result.
        """
        ...


@dataclass(frozen=True, slots=True)
class Work:
    """What an executor does with each input.

    web: None for sources without web addresses; its `per_host` is the share of one worker. within: see `fetch`.
    processors: that it may keep busy.
    """

    calibration: SourceCalibration
    run: RunOptions
    limits: Limits
    web: WebOptions | None = None
    within: bytes | None = None
    processors: int = 1

    def calibration_of(self, item: Item) -> Calibration:
        """Return how the scores of an image become its answer."""
        return self.calibration.of(item.department)


@dataclass(frozen=True, slots=True)
class ExecutorHooks:
    """What an executor reports to. warn: receives what people should know. recorded: what it may answer with."""

    stop: threading.Event
    watch: Stopwatch
    warn: Callable[[str], None]
    recorded: RecordedPictures | None = None
