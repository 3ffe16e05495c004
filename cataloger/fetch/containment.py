"""Whether an opened file lies in a folder: by what it is, not by its path, which links may lead anywhere."""

import fcntl
import os
from pathlib import Path

_LONGEST_PATH = 1024
"""Bytes of the answer to F_GETPATH."""


def lies_in(descriptor: int, path: bytes, folder: bytes) -> bool:
    """Tell whether an opened file lies in a folder, all links resolved. path: that it was opened by. Raises OSError.

    The file cannot be exchanged any more, unlike what its path leads to.
    """
    root = os.path.realpath(folder)
    real = _real_path(descriptor, path)
    return real is not None and real.startswith(root.rstrip(b"/") + b"/")


def _real_path(descriptor: int, path: bytes) -> bytes | None:
    """Return the path of an opened file as the system knows it; None if it cannot be told."""
    link = f"/proc/self/fd/{descriptor}"
    if os.path.lexists(link):
        return os.fsencode(Path(link).readlink())
    if hasattr(fcntl, "F_GETPATH"):  # macOS
        return fcntl.fcntl(descriptor, fcntl.F_GETPATH, bytes(_LONGEST_PATH)).rstrip(b"\0")
    real = os.path.realpath(path)
    is_same = os.path.samestat(os.fstat(descriptor), Path(os.fsdecode(real)).lstat())
    return real if is_same else None
