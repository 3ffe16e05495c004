"""How much one host is asked at a time, so that a catalog is a good guest."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from cataloger.errors import ImageError


class HostPlaces:
    """Limits the connections per host, and requests a second; waiting for one ends with `stop`."""

    def __init__(self, per_host: int, rate: float | None = None) -> None:
        self._per_host = per_host
        self._distance = 0.0 if rate is None else 1.0 / rate
        self._next: dict[str, float] = {}
        self._taken: Counter[str] = Counter()
        self._changed = threading.Condition()
        self._stopped = False

    @contextmanager
    def take(self, host: str) -> Iterator[None]:
        """Wait for a place and for the turn of a request; give the place back at the end. Raises ImageError."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._taken[host] < self._per_host)
            self._taken[host] += 1
        try:
            with self._changed:
                self._wait_for_turn(host)
                if self._stopped:
                    raise ImageError("fetch.connection", "the run was stopped before the image was downloaded")
            yield
        finally:
            with self._changed:
                self._taken -= Counter({host: 1})
                self._changed.notify_all()

    def _wait_for_turn(self, host: str) -> None:
        """Wait until the rate of a host allows another request; each caller has a moment of its own."""
        if self._distance:
            moment = max(time.monotonic(), self._next.get(host, 0.0))
            self._next[host] = moment + self._distance
            while not self._stopped and (left := moment - time.monotonic()) > 0:
                self._changed.wait(min(left, threading.TIMEOUT_MAX))

    def stop(self) -> None:
        """End all waits; nothing is given any more."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def all_free(self) -> bool:
        """Tell whether nobody has a place."""
        with self._changed:
            return not self._taken.total()
