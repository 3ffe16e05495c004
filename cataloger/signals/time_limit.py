"""The longest time of a whole command: when it is over, the command stops as after Ctrl-C."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from cataloger.errors import UsageError
from cataloger.signals.json_log import tell

LONGEST = 31_536_000.0


@dataclass(slots=True)
class TimeLimit:
    """Whether the time is over."""

    is_over: bool = False


@contextmanager
def limit_time(seconds: float | None, stop: Callable[[], None]) -> Iterator[TimeLimit]:
    """Call `stop` once when so many seconds are over; no time limit with None. Only in the main thread.

    By a timer of the process, which forks do not inherit, and not by a thread, which a process that forks must not
    have. Raises UsageError.
    """
    limit = TimeLimit()
    if seconds is None:
        yield limit
        return
    if not 0 < seconds <= LONGEST:
        raise UsageError(f"--timeout must be more than 0 and at most {LONGEST:.0f} seconds, not {seconds:g}")

    def ring(*_: object) -> None:
        limit.is_over = True
        tell(f"cataloger: --timeout: {seconds:g} seconds are over; stopping", "run.timeout", "warning")
        stop()

    previous = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield limit
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
