"""Memory that a decoding process shares with its parent: encoded images go one way in it, their pixels the other.

A socket holds less than a photo, so that each side would have to wait for the other to be scheduled in the middle of
every one. Here only a few bytes go through the socket, which say how much lies in the memory.
"""

import mmap
import os
import tempfile
from contextlib import suppress
from typing import IO, Self

KEPT_BYTES = 4 << 20
"""Bytes that are kept between uses; more are returned to the system."""
MARK = 64
"""Bytes before the first one that `put` writes to; the mark is one of them."""


class SharedMemory:
    """`size` bytes of a file without a name; pages that nobody has written to cost nothing.

    file: to be inherited by a child, which maps it in its turn.
    """

    def __init__(self, file: IO[bytes], size: int) -> None:
        self.file = file
        self._map = mmap.mmap(file.fileno(), MARK + size)

    @property
    def mark(self) -> int:
        """A number of 0 to 255 that either side may set and see at any time: one byte is never half written."""
        return self._map[0]

    @mark.setter
    def mark(self, value: int) -> None:
        self._map[0] = value

    @classmethod
    def create(cls, size: int) -> Self:
        """Make a new one. Raises OSError."""
        file = nameless_file()
        try:
            file.truncate(MARK + size)
            return cls(file, size)
        except BaseException:
            file.close()
            raise

    def put(self, data: bytes | memoryview, start: int = 0) -> int:
        """Write `data` from byte `start` on; return the number of bytes."""
        size = len(data)
        self._map[MARK + start : MARK + start + size] = data
        return size

    def take(self, size: int, start: int = 0) -> bytes:
        """Return a copy of so many bytes from byte `start` on."""
        return self._map[MARK + start : MARK + start + size]

    def forget(self, size: int) -> None:
        """Give all pages back to the system, where it can take them, if an unusually large image lay in them."""
        if size > KEPT_BYTES and hasattr(mmap, "MADV_REMOVE"):
            with suppress(OSError):  # sandboxes such as gVisor know no such advice; the pages are only kept, then
                self._map.madvise(mmap.MADV_REMOVE)

    def close(self) -> None:
        """Unmap it, and close the file, here. It may be closed already."""
        self._map.close()
        self.file.close()


def nameless_file() -> IO[bytes]:
    """Return a file that only its descriptors lead to, in memory where the system has such files. Raises OSError."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("cataloger"), "r+b", buffering=0)
    return tempfile.TemporaryFile()  # closed by `close`
