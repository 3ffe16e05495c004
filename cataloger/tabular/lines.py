"""The lines of a text file, none of them longer than memory can hold."""

import errno
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

MAX_LINE = 8_000_000
"""Characters of a line; what is longer is no row of a table."""


def open_text(path: Path) -> TextIO:
    """Open a file in UTF-8, with or without a byte order mark; bytes that are not UTF-8 become surrogates.

    Raises OSError, also for what is no regular file.
    """
    require_regular(path)
    return path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")


def require_regular(path: Path) -> None:
    """Raise OSError for a pipe, which is waited for until somebody writes to it, or a device, which has no end."""
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # of a folder the system says more when it is opened
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))


def read_lines(file: TextIO) -> Iterator[tuple[int, str, bool]]:
    """Yield the number of each line, from 1, the line with its end, and whether it is whole or was cut off."""
    number = 0
    while text := file.readline(MAX_LINE):
        number += 1
        is_whole = len(text) < MAX_LINE or text.endswith(("\n", "\r"))
        yield number, text, is_whole
        while not is_whole:
            rest = file.readline(MAX_LINE)
            is_whole = len(rest) < MAX_LINE or rest.endswith(("\n", "\r"))
