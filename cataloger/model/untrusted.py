"""What a bundle holds was written by others: every file is opened, and every refusal worded, here.

A bundle may come from anywhere. So a name stays within its folder, what is opened is a regular file of a bounded size
(a pipe would wait for ever, a device has no end), and a message about it is one line that a terminal shows as it is.
"""

import hashlib
import os
import stat
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from cataloger.errors import BundleError
from cataloger.utils import one_line

LARGEST_FILE = 2**30
"""Bytes of any file of a bundle. The largest network of ours has some hundred million."""

REMEDY = "the bundle is damaged: get it again, or export it again"
_LINE_BREAKS_AND_CONTROLS = {"Cc", "Cs", "Zl", "Zp"}


def refusal(file: Path, problem: object, *, field: str = "", remedy: str = REMEDY) -> BundleError:
    """Make the error of a file: one line with the file, the field in it, the problem and what to do.

    problem: of a field, or a predicate of the file; what libraries say in it may be anything.
    """
    where = f"{one_line(file)}: {one_line(field, 120)}:" if field else one_line(file)
    return BundleError(f"{where} {one_line(problem, 300)}; {remedy}")


def unprintable(text: str) -> str | None:
    """Return the first character that no name may have, as an escape: a control, a line break, half a surrogate."""
    for character in text:
        if unicodedata.category(character) in _LINE_BREAKS_AND_CONTROLS:
            return character.encode("unicode_escape", "backslashreplace").decode()
    return None


def is_plain_name(name: str) -> bool:
    """True for the name of a file directly in a folder, on any system."""
    is_inside = name not in ("", ".", "..") and not set(name) & set("/\\:")
    return is_inside and len(name) <= 255 and unprintable(name) is None


@contextmanager
def opened(path: Path, *, largest: int = LARGEST_FILE) -> Iterator[BufferedReader]:
    """Open a file of a bundle for reading; errors of reading are the caller's.

    Raises BundleError when it is missing, cannot be read, is no regular file or has more than `largest` bytes.
    """
    with reading(path):
        _require_regular(path, path.stat().st_mode)
        # Should a pipe have taken its place by now, this does not wait for its other end.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        _require_regular(path, status.st_mode)
        if status.st_size > largest:
            raise refusal(path, f"has {status.st_size:,} bytes; at most {largest:,} are read")
        yield file


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn errors of the system while a file is read into a BundleError."""
    try:
        yield
    except FileNotFoundError as error:
        raise refusal(path, "is missing") from error
    except OSError as error:
        raise refusal(path, f"cannot be read: {error.strerror}", remedy="make it readable") from error


def read_file(path: Path, *, largest: int = LARGEST_FILE) -> bytes:
    """Return what a file of a bundle holds. Raises BundleError, as `opened` does."""
    with reading(path), opened(path, largest=largest) as file:
        return file.read(os.fstat(file.fileno()).st_size)  # `largest` would take that memory for any file


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal. Raises BundleError where it is none that can be read."""
    with reading(path), opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _require_regular(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe, a device or a socket"
        raise refusal(path, f"is {kind}, not a file")
