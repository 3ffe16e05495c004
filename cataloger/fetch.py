"""The bytes of items, read ahead by a few threads, in order and within a bound."""

import errno
import hashlib
import os
import stat
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from cataloger.options import Limits
from cataloger.records import Failure, Fetched, Item

THREADS = 4
LOOK_AHEAD = 64


def fetch(items: Iterable[Item | Failure], limits: Limits, *, threads: int = THREADS) -> Iterator[Fetched | Failure]:
    """Read items ahead, in order; at most `limits.bytes_in_flight` bytes are held that nobody has taken.

    Failures among the items pass through. Codes: io.missing, io.permission, io.not_a_file, io.error (transient),
    decode.too_many_bytes (for good).
    """
    waiting: deque[tuple[Future[Fetched | Failure], int]] = deque()
    held = 0
    with ThreadPoolExecutor(threads, thread_name_prefix="fetch") as executor:
        try:
            for item in items:
                size = _expected_size(item, limits)
                while waiting and (len(waiting) >= LOOK_AHEAD or held + size > limits.bytes_in_flight):
                    future, freed = waiting.popleft()
                    yield future.result()
                    held -= freed
                waiting.append((executor.submit(_fetch, item, limits), size))
                held += size
            while waiting:
                yield waiting.popleft()[0].result()
        finally:
            for future, _ in waiting:
                future.cancel()


def _expected_size(item: Item | Failure, limits: Limits) -> int:
    """Bytes to set aside before a file is queued: the threads read it whether anyone takes it or not."""
    if isinstance(item, Failure) or item.path is None:
        return 0
    try:
        return min(os.stat(item.path).st_size, limits.max_bytes)
    except OSError:
        return 0


def _fetch(item: Item | Failure, limits: Limits) -> Fetched | Failure:
    if isinstance(item, Failure):
        return item
    return read_file(item, limits)


def read_file(item: Item, limits: Limits) -> Fetched | Failure:
    """Read the file of an item; what goes wrong becomes a failure."""
    assert item.path is not None, "only files can be fetched yet"
    try:
        # Non-blocking, so that a pipe with an image's name cannot hold the run up.
        descriptor = os.open(item.path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        try:
            # Not by way of fdopen alone: it raises for a folder, and then leaves the descriptor open.
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return Failure(item, "io.not_a_file", "it is not a regular file")
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                data = file.read(limits.max_bytes + 1)
        finally:
            os.close(descriptor)
    except OSError as error:
        return _failure(item, error)
    if len(data) > limits.max_bytes:
        return Failure(
            item, "decode.too_many_bytes", f"the file is larger than the {limits.max_bytes:,} bytes allowed"
        )
    return Fetched(item, data, hashlib.sha256(data).hexdigest())


def _failure(item: Item, error: OSError) -> Failure:
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return Failure(item, "io.missing", "the file does not exist (any more)")
    if error.errno in (errno.EACCES, errno.EPERM):
        return Failure(item, "io.permission", "the file may not be read by this user")
    return Failure(item, "io.error", f"the file cannot be read: {error.strerror}")
