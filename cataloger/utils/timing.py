"""Where the time of a run goes: waiting and processor time of its stages."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

BRIEF = 50e-6
"""Seconds."""


class Stopwatch:
    """Adds up the time of stages.

    seconds: stage -> time that the run's own thread spent in it, working or waiting. A stage inside another one
    counts for itself alone, so that the sum is the time of all. cpu: stage -> processor seconds, those of other
    threads included that `apart` was used in.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.cpu: dict[str, float] = defaultdict(float)
        self._stages: list[str] = []
        self._wall = self._processor = 0.0
        self._lock = threading.Lock()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time of the block, in the run's own thread only."""
        self._charge()
        self._stages.append(name)
        try:
            yield
        finally:
            self._charge()
            self._stages.pop()

    def over(self, name: str, values: Iterable[T]) -> Iterator[T]:
        """Count the time that an iterator takes for its next value."""
        iterator = iter(values)
        while True:
            with self.stage(name):
                try:
                    value = next(iterator)
                except StopIteration:
                    return
            yield value

    def apart(self, name: str, work: Callable[[], T]) -> T:
        """Do some work in another thread than the run's own; count its processor time."""
        begun = time.thread_time()
        try:
            return work()
        finally:
            spent = time.thread_time() - begun
            with self._lock:
                self.cpu[name] += spent

    def _charge(self) -> None:
        """Give the time since the last call to the innermost stage."""
        wall = time.monotonic()
        # Asking for the thread's time takes longer than most moments between two calls, which hold no waiting.
        # The next longer interval corrects this, since it counts from what was assumed.
        brief = wall - self._wall < BRIEF
        processor = self._processor + wall - self._wall if brief else time.thread_time()
        if self._stages:
            self.seconds[self._stages[-1]] += wall - self._wall
            with self._lock:
                self.cpu[self._stages[-1]] += processor - self._processor
        self._wall, self._processor = wall, processor
