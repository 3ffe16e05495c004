"""What waits for later in a run, within a bound of memory."""

import random
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from cataloger.engine.outages import Place

T = TypeVar("T")
KEPT = 10_000
"""Inputs that are kept in memory; for more than that the source is scanned again."""


class Backlog(Generic[T]):
    """Inputs that wait, in their order, as many as are kept."""

    def __init__(self) -> None:
        self.left: Counter[Place | None] = Counter()
        """What found no room, counted by what it waited for."""
        self._kept: list[T] = []

    def __len__(self) -> int:
        return len(self._kept)

    def has_room(self) -> bool:
        """True when one more may be added."""
        return len(self._kept) < KEPT

    def add(self, waiting: T) -> None:
        """Append one."""
        self._kept.append(waiting)

    def take(self) -> list[T]:
        """Return all that wait; the backlog is empty then."""
        kept, self._kept = self._kept, []
        return kept

    def sample(self, size: int, group: Callable[[T], Place | None]) -> list[T]:
        """Take at most `size` of each group, chosen at random, in their order; those of the group None stay."""
        groups: dict[Place, list[int]] = {}
        for number, waiting in enumerate(self._kept):
            if (place := group(waiting)) is not None:
                groups.setdefault(place, []).append(number)
        # Any will do; nothing secret depends on it.
        chosen = {n for numbers in groups.values() for n in _at_most(numbers, size)}
        taken = [self._kept[number] for number in sorted(chosen)]
        self._kept = [waiting for number, waiting in enumerate(self._kept) if number not in chosen]
        return taken


def _at_most(numbers: list[int], size: int) -> Iterable[int]:
    return numbers if len(numbers) <= size else random.sample(numbers, size)
