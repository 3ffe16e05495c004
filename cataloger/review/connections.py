"""Connections that cost the server a bounded amount: of time without a request, of descriptors, of lines in its log.

Uvicorn waits for a request forever once its first byte has arrived, and takes every connection. Here a connection
has to bring its request in time; and when all places are taken, the one that has waited longest for its request
makes room, so that whoever asks for something gets in.
"""

import asyncio
import logging
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

REQUEST_SECONDS = 10.0
"""From the beginning of a connection, or the answer before, until a request has arrived with its body."""
ANSWER_SECONDS = 120.0
"""From then on until its answer has been taken; a slow picture needs a part of it."""
MOST_CONNECTIONS = 256
BACKLOG = 128
"""Connections that are accepted at once, before any is closed for it."""
OTHER_DESCRIPTORS = 100 + 2 * BACKLOG
QUIET_SECONDS = 60.0

logger = logging.getLogger(__name__)


def most_connections() -> int:
    """Return how many there may be at once: fewer where the process may open few files."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return max(8, min(MOST_CONNECTIONS, soft - OTHER_DESCRIPTORS))


class BoundedProtocol(H11Protocol):
    """One connection."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._timer: asyncio.TimerHandle | None = None
        self.since = time.monotonic()

    @property
    def is_waiting(self) -> bool:
        """True while no complete request has arrived that is not answered yet."""
        return self.cycle is None or self.cycle.response_complete or bool(self.cycle.more_body)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin; make room for it where there is none."""
        super().connection_made(transport)
        self._restart(REQUEST_SECONDS)
        kept = [c for c in self.connections if isinstance(c, BoundedProtocol) and not c.transport.is_closing()]
        if len(kept) > most_connections():
            self._end(min((c for c in kept if c.is_waiting), key=lambda c: c.since))  # at the worst this one

    def handle_events(self) -> None:
        """Take what has arrived."""
        super().handle_events()
        if not self.is_waiting:
            self._restart(ANSWER_SECONDS)

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self._restart(REQUEST_SECONDS)
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def _restart(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.since = time.monotonic()
        self._timer = self.loop.call_later(seconds, self._end, self)

    @staticmethod
    def _end(connection: "BoundedProtocol") -> None:
        logger.warning(
            "connections were closed that brought no request within %g seconds, or to make room; at most %d are kept",
            REQUEST_SECONDS,
            most_connections(),
        )
        connection.transport.abort()


class _Repeated(logging.Filter):
    """Lets a message pass once in a while: an attack repeats it without end."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether it is written."""
        now, text = time.monotonic(), f"{record.msg} {record.exc_info[1] if record.exc_info else ''}"
        is_new = now - self._last.get(text, -QUIET_SECONDS) >= QUIET_SECONDS
        if is_new:
            self._last = {other: at for other, at in self._last.items() if now - at < QUIET_SECONDS} | {text: now}
        return is_new


@contextmanager
def no_repetitions() -> Iterator[None]:
    """Write a message of connections once a minute at most, whoever of uvicorn, asyncio and us writes it."""
    repeated = _Repeated()
    loggers = [logging.getLogger(name) for name in ("uvicorn.error", "asyncio", __name__)]
    for each in loggers:
        each.addFilter(repeated)
    try:
        yield
    finally:
        for each in loggers:
            each.removeFilter(repeated)
