"""Runs jobs one after the other, each in a process of its own.

What a job does to its memory, or its end by a signal, concerns no other job. The process is a fork of this one, which
has loaded the command line and nothing heavy: that takes milliseconds where a new interpreter takes half a second of
processor time, and secrets among the flags appear in no list of processes. A fork has none of the threads of its
parent, so that whoever runs jobs must have none.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

from cataloger.errors import INTERRUPTED_STATUS
from cataloger.jobs.job import NamedJob
from cataloger.jobs.outcomes import JobOutcome
from cataloger.utils import STOP_REQUEST, end_with_parent, stop_signals

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, STOP_REQUEST)
FATAL = 1


@dataclass(frozen=True, slots=True)
class Child:
    """The process of a job, seen from inside. to_parent: descriptor that takes its JSON."""

    job: NamedJob
    to_parent: int

    def tell(self, values: Any) -> None:
        """Give the parent the result of the command. May be called once."""
        with os.fdopen(self.to_parent, "w", encoding="utf-8", closefd=False) as file:
            json.dump(values, file, default=str)

    def print_to_parent(self) -> None:
        """Let what is printed on stdout go to the parent, which must be JSON."""
        os.dup2(self.to_parent, 1)


class JobRunner:
    """Runs jobs until it is asked to stop.

    call: runs a job in its own process and returns its exit status. stop: may be called by a handler of signals.
    is_stopped: whether it was.
    """

    def __init__(self, call: Callable[[Child], int]) -> None:
        self._call = call
        self._pid: int | None = None
        self.is_stopped = False

    def stop(self) -> None:
        """Ask the job that runs to stop, and begin no other. The second time the job ends at once."""
        self.is_stopped = True
        if self._pid is not None:
            os.kill(self._pid, STOP_REQUEST)

    def run(self, jobs: Iterable[NamedJob]) -> Iterator[JobOutcome]:
        """Run the jobs; yield what became of each when it has ended."""
        for job in jobs:
            yield JobOutcome(job, not_run="interrupted") if self.is_stopped else self._run(job)

    def _run(self, job: NamedJob) -> JobOutcome:
        start = time.monotonic()
        reading, writing = os.pipe()
        with _blocked_signals():
            parent = os.getpid()
            self._pid = os.fork()
            if self._pid == 0:
                os.close(reading)
                self._live(Child(job, writing), parent)
        os.close(writing)
        with os.fdopen(reading, encoding="utf-8", errors="replace") as file:
            text = file.read()
        status = self._wait(self._pid)
        ended_by = None if status >= 0 else signal.Signals(-status).name
        if status < 0:
            status = INTERRUPTED_STATUS if self.is_stopped else FATAL
        return JobOutcome(job, status, time.monotonic() - start, ended_by, _parsed(text))

    def _wait(self, pid: int) -> int:
        """Wait for the end of a job; return its exit status, or the negative number of the signal that ended it."""
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        with _blocked_signals():  # from here on the number may belong to another process
            self._pid = None
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def _live(self, child: Child, parent: int) -> NoReturn:
        """Be the process of a job, from its begin to its end. Entered with the signals blocked."""
        status = FATAL
        try:
            _begin(parent)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
            status = self._call(child)
        except KeyboardInterrupt:
            status = INTERRUPTED_STATUS
        finally:
            if (error := sys.exc_info()[1]) is not None:
                sys.excepthook(type(error), error, error.__traceback__)
            # Not the way back through the frames of the parent, which are copies here.
            os._exit(status)


def _begin(parent: int) -> None:
    """Make a fork a process on its own: handlers, group, streams."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in set(stop_signals()) - {signal.SIGINT}:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(STOP_REQUEST, signal.default_int_handler)
    os.setpgid(0, 0)  # so that Ctrl-C reaches the parent alone, which passes it on
    end_with_parent(signal.SIGTERM, parent)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)  # a job in the night asks nobody, and a group in the background cannot read a terminal
    os.close(nothing)


@contextmanager
def _blocked_signals() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:  # of a process that was ended while it printed
        return None
