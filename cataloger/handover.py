"""Memory that a decoding process shares with its parent: an encoded image goes one way in it, its pixels the other.

A socket holds less than a photo, so that each side would have to wait for the other to be scheduled in the middle of
every one. Here only a few bytes go through the socket, which say how much lies in the memory.
"""

import mmap
import os
import tempfile
from contextlib import suppress
from typing import IO, Self

HELD = 4 << 20
"""Bytes that are kept between two images; a larger one gives its pages back."""


class SharedMemory:
    """`size` bytes of a file without a name; pages that nobody has written to cost nothing.

    file: to be inherited by a child, which maps it in its turn.
    """

    def __init__(self, file: IO[bytes], size: int) -> None:
        self.file = file
        self._map = mmap.mmap(file.fileno(), size)

    @classmethod
    def create(cls, size: int) -> Self:
        """Make a new one. Raises OSError."""
        file = _nameless_file()
        try:
            file.truncate(size)
            return cls(file, size)
        except BaseException:
            file.close()
            raise

    def put(self, data: bytes | memoryview) -> int:
        """Write to its beginning; return the number of bytes."""
        size = len(data)
        self._map[:size] = data
        return size

    def take(self, size: int) -> bytes:
        """Return a copy of so many bytes of its beginning."""
        return self._map[:size]

    def forget(self, size: int) -> None:
        """Give the pages of an unusually large image back to the system, where it can take them."""
        if size > HELD and hasattr(mmap, "MADV_REMOVE"):
            with suppress(OSError):  # sandboxes such as gVisor know no such advice; the pages are only kept, then
                self._map.madvise(mmap.MADV_REMOVE)

    def close(self) -> None:
        """Unmap it, and close the file, here. It may be closed already."""
        self._map.close()
        self.file.close()


def _nameless_file() -> IO[bytes]:
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("cataloger"), "r+b", buffering=0)
    return tempfile.TemporaryFile()  # closed by `close`
