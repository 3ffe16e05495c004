"""Memory that the decoding processes of a command share, so that large images wait for each other.

A budget is a file without a name whose first bytes stand for its units; whoever decodes locks as many of them as its
image needs. The system unlocks what a process had locked when that ends, however it ends.
"""

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self

from cataloger.imaging.shared_memory import nameless_file

UNITS = 16
GATE = UNITS
"""Is locked by whoever collects units: two that hold a half each would wait for each other forever."""
PAUSE = 0.005
"""Seconds between two looks for a free unit."""


class DecodeBudget:
    """`total` bytes for all processes that share `descriptor`. An image of up to one unit takes nothing of them."""

    def __init__(self, descriptor: int, total: int) -> None:
        self._descriptor = descriptor
        self._unit = max(1, total // UNITS)

    @contextmanager
    def hold(self, need: int, waiting: Callable[[], None], done: Callable[[], None]) -> Iterator[None]:
        """Wait until so many bytes are free, and hold them. waiting, done: called before and after a wait."""
        count = 0 if need <= self._unit else min(UNITS, -(-need // self._unit))
        mine: list[int] = []
        try:
            if count:
                waiting()
                self._collect(count, mine)
                done()
            yield
        finally:
            for unit in mine:
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, unit)

    def _collect(self, count: int, mine: list[int]) -> None:
        fcntl.lockf(self._descriptor, fcntl.LOCK_EX, 1, GATE)
        try:
            while len(mine) < count:
                free = next((unit for unit in range(UNITS) if unit not in mine and self._takes(unit)), None)
                if free is None:
                    time.sleep(PAUSE)
                else:
                    mine.append(free)
        finally:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, GATE)

    def _takes(self, unit: int) -> bool:
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, unit)
        except (BlockingIOError, PermissionError):
            return False
        return True


class SharedBudget:
    """The file behind a `DecodeBudget`, for a process to give to its children; a context manager."""

    def __init__(self) -> None:
        self._file = nameless_file()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        """Return the descriptor that the children inherit."""
        return self._file.fileno()

    def close(self) -> None:
        """Close it here; children that still run keep it."""
        self._file.close()
