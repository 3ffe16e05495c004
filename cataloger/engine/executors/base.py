"""What a run needs of whatever reads, decodes and classifies its inputs."""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from cataloger.records import Failure, Item, Result

OnImage = Callable[[Item], None]
"""Receives the item of each image that could be decoded, before its result comes, at once where that is possible."""


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
