"""stderr as JSON lines, whoever writes to it: this process, its children, and libraries in C.

stderr becomes a pipe. A small process of its own reads it, hands on what is a record already, and makes a record of
every other line. It is a process and no thread, since `cataloger run` forks, which a program with threads must not.
It ends with the last process that has stderr open.
"""

import atexit
import json
import os
import select
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn

from cataloger.signals.json_log import as_line, tell_crash

IGNORED = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGTTOU,
    signal.SIGPIPE,
)
LONGEST_LINE = 1_000_000
"""Bytes after which a line is cut that does not end."""
LONGEST_WAIT = 10.0
"""Seconds that the end of this process waits for the last lines, which a child that lives on keeps from coming."""
EVENT = "stderr"
LEVELS = ((b"cataloger: error: ", "error"), (b"Traceback ", "error"), (b"Usage: ", "error"), (b"Error: ", "error"))


@dataclass(slots=True)
class _Reader:
    """The process that reads. pid: None if there is none. owner: the process that has started it."""

    pid: int | None = None
    owner: int | None = None


_reader = _Reader()


def turn_into_lines() -> None:
    """From now on every line that is written to stderr becomes a line of JSON. Once is enough, also for forks.

    Does nothing where `sys.stderr` is not the stream of the process. There must be no other thread.
    """
    if _reader.pid is not None or not _is_the_stream():
        return
    sys.stdout.flush()
    sys.stderr.flush()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(writing)
        _read(reading)
    os.dup2(writing, 2)
    os.close(reading)
    os.close(writing)
    _reader.pid, _reader.owner = pid, os.getpid()
    sys.excepthook = tell_crash
    atexit.register(end_lines)


def end_lines() -> None:
    """Wait until all lines are written; only in the process that has begun, at its very end."""
    if _reader.pid is None or _reader.owner != os.getpid():
        return
    sys.stderr.flush()
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    os.close(nothing)
    end = time.monotonic() + LONGEST_WAIT
    with suppress(ChildProcessError):
        while os.waitpid(_reader.pid, os.WNOHANG)[0] == 0 and time.monotonic() < end:
            time.sleep(0.005)
    _reader.pid = None


def _is_the_stream() -> bool:
    try:
        return sys.stderr.fileno() == 2
    except (OSError, ValueError, AttributeError):
        return False


def _read(reading: int) -> NoReturn:
    """Be the process that reads: until no other has the pipe open."""
    status = 1
    try:
        for ignored in IGNORED:
            signal.signal(ignored, signal.SIG_IGN)
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1):  # whoever waits for the end of stdout waits for the end of the command
            os.dup2(nothing, stream)
        rest = b""
        while chunk := os.read(reading, 65536):
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > LONGEST_LINE:
                lines, rest = [*lines, rest], b""
            _write(b"".join(map(record_of, lines)))
        _write(record_of(rest))
        status = 0
    finally:
        os._exit(status)


def record_of(line: bytes) -> bytes:
    """Return a line with its break as it is if it is a record, else as a record; nothing for an empty one."""
    if not line.strip():
        return b""
    if line.startswith(b'{"time": '):
        with suppress(ValueError):
            json.loads(line)
            return line + b"\n"
    level = next((level for begin, level in LEVELS if line.startswith(begin)), "warning")
    return as_line(line.decode("utf-8", "backslashreplace"), EVENT, level).encode("ascii") + b"\n"


def _write(data: bytes) -> None:
    """Write all of it; drop it where stderr is lost, so that nobody who writes to the pipe has to wait."""
    rest = memoryview(data)
    with suppress(OSError):
        while rest:
            try:
                rest = rest[os.write(2, rest) :]
            except BlockingIOError:
                select.select([], [2], [])
