"""stdout and stderr that may be full, closed or unread: the work goes on, and the end of the command tells it."""

import errno
import io
import logging
import os
import select
import sys
from typing import Any, TextIO

import typer

from cataloger.errors import INTERRUPTED_STATUS, CatalogerError, LostOutputError
from cataloger.signals import is_json, tell
from cataloger.utils import one_line, printable

STANDARD = (0, 1, 2)
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
"""What a disk says that takes no more, wherever that happens: no fault of ours, so that one line says it."""

LONGEST = 300
"""Characters of a file's name in a line."""


def tell_error(error: CatalogerError | OSError) -> str:
    """Print what has ended a command as one line on stderr, and below it what is to be copied; return the line."""
    logging.getLogger("cataloger").debug("the error in full:", exc_info=error)
    if isinstance(error, CatalogerError):
        line, rest = one_line(error), [printable(each) for each in error.lines]
    else:
        name = (
            "a file cannot be written" if error.filename is None else one_line(os.fsdecode(error.filename), LONGEST)
        )
        line, rest = f"{name}: {error.strerror}", []
    tell(f"cataloger: error: {line}", "error", "error", lines=rest)
    if not is_json():
        for each in rest:
            typer.echo(each, err=True)
    return line


class TolerantOutput(io.RawIOBase):
    """Writes to a stream until that fails, and drops what comes afterwards.

    raw: the stream, None for one that was closed when the process began. lost: the first error, None while all was
    written. An error would otherwise break off work in the middle of its report, and Python would replace the exit
    status by 120 where it flushes the stream at the very end.
    """

    def __init__(self, raw: Any) -> None:
        super().__init__()
        self.lost: OSError | None = None
        self._raw = raw

    def writable(self) -> bool:
        """True."""
        return True

    def isatty(self) -> bool:
        """True for a terminal."""
        return self._raw is not None and bool(self._raw.isatty())

    def fileno(self) -> int:
        """Return the number of the stream; raises OSError if it was closed from the start."""
        if self._raw is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return int(self._raw.fileno())

    def write(self, data: Any) -> int:
        """Write all of it, or drop it; never raises OSError."""
        rest = memoryview(data).cast("B")
        size = len(rest)
        if self.lost is None:
            try:
                while len(rest):
                    rest = rest[self._write_some(rest) :]
            except OSError as error:
                self.lost = error
        return size

    def _write_some(self, data: memoryview) -> int:
        if self._raw is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        written = self._raw.write(data)
        if written is None:  # whoever started us made the pipe non-blocking, and it is full at the moment
            select.select([], [self._raw], [])
        return int(written or 0)


def tolerate_lost_output() -> TolerantOutput:
    """Replace stdout and stderr by such as never fail; return what is below stdout."""
    _occupy_standard_numbers()
    stdout, sys.stdout = _tolerant(sys.stdout)
    _, sys.stderr = _tolerant(sys.stderr)
    return stdout


def open_standard() -> None:
    """Make stdout and stderr anew, over what their numbers are now, e.g. in a fork."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        now = getattr(sys, name)
        stream = open(number, "w", encoding=now.encoding, errors="backslashreplace", closefd=False)  # noqa: SIM115
        stream.reconfigure(
            line_buffering=number == 2 or stream.line_buffering, write_through=getattr(now, "write_through", False)
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)  # keeps it open where something else is put over it


def redirect_stdout(path: str) -> None:
    """Let what is written to the number of stdout go to a file, e.g. /dev/null."""
    file = os.open(path, os.O_WRONLY)
    os.dup2(file, 1)
    os.close(file)


def final_status(stdout: TolerantOutput, status: Any) -> Any:
    """Flush everything and return the exit status of the process. status: that of the work.

    Work that has a status other than 0 keeps it; lost output makes 0 the status of LostOutputError.
    """
    sys.stdout.flush()
    error = stdout.lost
    # Ctrl-C reaches the reader of a pipe, too: its end is no news then.
    if error is not None and not (status == INTERRUPTED_STATUS and isinstance(error, BrokenPipeError)):
        tell(f"cataloger: error: the output cannot be written: {error.strerror}", "error", "error")
    sys.stderr.flush()
    return status or (0 if error is None else LostOutputError.exit_code)


def _occupy_standard_numbers() -> None:
    """Open what was closed, so that no database or picture gets the number that printing writes to."""
    for number in STANDARD:
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one


def _tolerant(stream: Any) -> tuple[TolerantOutput, TextIO]:
    buffer = getattr(stream, "buffer", None)
    below = TolerantOutput(getattr(buffer, "raw", buffer))
    is_unbuffered = bool(getattr(stream, "write_through", False))  # python -u
    binary: Any = below if is_unbuffered else io.BufferedWriter(below)
    text = io.TextIOWrapper(
        binary,
        encoding=getattr(stream, "encoding", None) or "utf-8",
        # File names may contain bytes that no encoding can decode; they must be printable nevertheless.
        errors="backslashreplace",
        line_buffering=bool(getattr(stream, "line_buffering", False)),
        write_through=is_unbuffered,
    )
    return below, text
