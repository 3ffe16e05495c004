"""The bytes of items, read ahead by a few threads, in order and within a bound."""

import errno
import hashlib
import os
import stat
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from cataloger.errors import DatabaseError, ImageError, UnavailableError
from cataloger.fetch.containment import lies_in
from cataloger.fetch.download_buffer import BUFFER_BYTES, Downloaded
from cataloger.options import Limits
from cataloger.records import Failure, Fetched, Item
from cataloger.sources import OUTSIDE_ROOT, change_tokens, key_of
from cataloger.utils import Stopwatch, visible

if TYPE_CHECKING:
    from cataloger.fetch.http import Downloader
    from cataloger.fetch.object_store import ObjectReader

THREADS = 4
LOOK_AHEAD = 128
"""Items, read or on their way, until the oldest must be there."""
STOP_SECONDS = 0.2  # until a stop is noticed
TOGETHER = (32, 8_000_000)
"""How many of them, and how many bytes, are given on at once when they are there."""
GROUPS = {"blob": (32, 8_000_000), "file": (8, 2_000_000)}
"""Kind of item -> how many neighbours, and how many bytes, a thread reads in one go: blobs with one statement."""
ONE_FILE = (errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL, errno.EISDIR, errno.ENXIO, errno.EOVERFLOW, errno.EFBIG)
"""Errors that speak of one file and not of the storage that it lies in."""

BlobReader = Callable[[Sequence[Item]], dict[str, bytes]]
Answer = Fetched | Downloaded | Failure


@dataclass(frozen=True, slots=True)
class Remote:
    """The origin of the bytes of items that are not files. blobs: bytes by key; missing rows are left out.

    objects: reads object stores. revalidate: ask `web` and `objects` whether unchanged addresses still show the same
    images. stop: once it is set, downloads that are still running are cancelled.
    """

    web: "Downloader | None" = None
    objects: "ObjectReader | None" = None
    blobs: BlobReader | None = None
    threads: int = THREADS
    revalidate: bool = False
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def is_far(self) -> bool:
        """True when bytes may take long to arrive."""
        return self.web is not None or self.objects is not None

    def close(self) -> None:
        """Cancel what is on its way."""
        for each in (self.web, self.objects):
            if each is not None:
                each.close()

    def validators(self, item: Item) -> str:
        """Ask where an item comes from for what tells its version; "" if that is not known."""
        if item.stored is not None:
            return "" if self.objects is None else self.objects.validators(item)
        return "" if self.web is None else self.web.validators(item)


def fetch(
    items: Iterable[Item | Failure],
    limits: Limits,
    remote: Remote | None = None,
    watch: Stopwatch | None = None,
    within: bytes | None = None,
) -> Iterator[Fetched | Failure]:
    """Yield the inputs with their bytes one by one; see `fetch_together`."""
    for answers in fetch_together(items, limits, remote, watch, within):
        yield from answers


def fetch_together(
    items: Iterable[Item | Failure],
    limits: Limits,
    remote: Remote | None = None,
    watch: Stopwatch | None = None,
    within: bytes | None = None,
) -> Iterator[list[Fetched | Failure]]:
    """Read items ahead, in order; at most `limits.bytes_in_flight` bytes, or one group, wait to be taken.

    What has arrived is yielded together; nothing is waited for to have more of it.
    watch: receives the processor time of reading. within: folder that files must lie in, whatever links say; None:
    anywhere. Failures among the items pass through. Codes: io.missing, io.permission, io.not_a_file, io.error
    (transient), source.outside_root, decode.too_many_bytes (permanent), and those of `cataloger.fetch.http` and of
    `cataloger.fetch.object_store`.
    After the last item `remote` can be used again; it is closed if that was not reached.
    """
    remote, watch = remote or Remote(), watch or Stopwatch()
    waiting: deque[_Task] = deque()
    waiting_bytes = ahead = 0
    is_done = False
    with ThreadPoolExecutor(remote.threads, thread_name_prefix="fetch") as executor:
        try:
            for group in _groups(items, limits):
                count = len(group.items)
                while waiting and (ahead + count > LOOK_AHEAD or waiting_bytes + group.size > limits.bytes_in_flight):
                    if not _arrives(waiting[0].future, remote):
                        return
                    answers, size, taken = _take(waiting)
                    yield answers
                    waiting_bytes, ahead = waiting_bytes - size, ahead - taken
                work = partial(_fetch_group, group.items, limits, remote, within)
                waiting.append(_Task(executor.submit(watch.apart, "reading", work), group.size, count))
                waiting_bytes, ahead = waiting_bytes + group.size, ahead + count
            while waiting and _arrives(waiting[0].future, remote):
                yield _take(waiting)[0]
            is_done = not waiting
        finally:
            if not is_done:
                remote.close()
            for task in waiting:
                task.future.add_done_callback(_discard)
                task.future.cancel()


class _Task(NamedTuple):
    """What a thread was given to read. size: bytes set aside for it. items: their number."""

    future: Future[list[Answer]]
    size: int
    items: int


def _arrives(future: Future[list[Answer]], remote: Remote) -> bool:
    """Wait for a result; False if the run is stopped before it arrives: a slow server can take minutes."""
    while not wait([future], timeout=STOP_SECONDS).done:
        if remote.is_far and remote.stop.is_set():
            return False
    return True


def _discard(future: Future[list[Answer]]) -> None:
    """Close the temporary files of downloads that are no longer needed."""
    if not future.cancelled() and future.exception() is None:
        for answer in future.result():
            if isinstance(answer, Downloaded):
                answer.close()


@dataclass(slots=True)
class _Group:
    """Neighbours that one thread reads one after the other. size: bytes expected."""

    kind: str
    items: list[Item | Failure] = field(default_factory=list)
    size: int = 0

    def has_room(self, kind: str, size: int) -> bool:
        """True when one more may join. Downloads and failures stay alone."""
        count, most = GROUPS.get(kind, (0, 0))
        return kind == self.kind and len(self.items) < count and self.size + size <= most


def _groups(items: Iterable[Item | Failure], limits: Limits) -> Iterator[_Group]:
    """Put neighbours of a kind together; one alone may be of any size."""
    group: _Group | None = None
    for item in items:
        kind, size = _kind(item), _expected_size(item, limits)
        if group is not None and not group.has_room(kind, size):
            yield group
            group = None
        group = group or _Group(kind)
        group.items.append(item)
        group.size += size
        if kind not in GROUPS:  # a download need not wait for what comes next
            yield group
            group = None
    if group is not None:
        yield group


def _kind(item: Item | Failure) -> str:
    if isinstance(item, Failure):
        return "failure"
    if item.blob is not None:
        return "blob"
    if item.stored is not None:
        return "object"
    return "file" if item.url is None else "url"


def _take(waiting: "deque[_Task]") -> tuple[list[Fetched | Failure], int, int]:
    """Take the first task, which is done, and some that are done behind it.

    Return their answers, the bytes that were set aside for them, and the number of their items.
    """
    most, most_bytes = TOGETHER
    answers: list[Fetched | Failure] = []
    size = taken = joined = 0
    while not answers or (waiting and _may_join(waiting[0], most - len(answers), most_bytes - joined)):
        task = waiting.popleft()
        size, taken = size + task.size, taken + task.items
        for answer in task.future.result():
            answers.append(answer.read() if isinstance(answer, Downloaded) else answer)
            joined += len(each.data) if isinstance(each := answers[-1], Fetched) else 0
    return answers, size, taken


def _may_join(task: "_Task", most: int, most_bytes: int) -> bool:
    """True where a task is done and what it has read fits in."""
    if task.items > most or not task.future.done() or task.future.exception() is not None:
        return False
    return sum(_bytes_of(answer) for answer in task.future.result()) <= most_bytes


def _bytes_of(answer: Answer) -> int:
    if isinstance(answer, Fetched):
        return len(answer.data)
    return answer.size if isinstance(answer, Downloaded) else 0


def _expected_size(item: Item | Failure, limits: Limits) -> int:
    """Bytes to reserve before an item is queued: the threads read it whether it is taken or not."""
    if isinstance(item, Failure):
        return 0
    if item.blob is not None:
        return min(item.blob.size, limits.max_bytes)
    if item.stored is not None and item.stored.size is not None:
        return min(item.stored.size, limits.max_bytes)
    if item.path is None:
        return BUFFER_BYTES  # larger bodies wait on the disk
    size = change_tokens.file_size(item.version)  # the scan has just asked for it
    try:
        return min(os.stat(item.path).st_size if size is None else size, limits.max_bytes)
    except OSError:
        return 0


def _fetch_group(group: list[Item | Failure], limits: Limits, remote: Remote, within: bytes | None) -> list[Answer]:
    first = group[0]
    if isinstance(first, Failure):
        return [first]
    if first.blob is not None:
        return _read_blobs([item for item in group if isinstance(item, Item)], limits, remote)
    if first.stored is not None:
        assert remote.objects is not None, "a source of objects comes with their reader"
        return [remote.objects.get(first)]
    if first.url is not None:
        assert remote.web is not None, "a source of URLs comes with a downloader"
        return [remote.web.get(first)]
    return [read_file(item, limits, within) for item in group if isinstance(item, Item)]


def _read_blobs(items: list[Item], limits: Limits, remote: Remote) -> list[Answer]:
    assert remote.blobs is not None, "a source of blobs comes with their reader"
    fitting = [item for item in items if item.blob is not None and item.blob.size <= limits.max_bytes]
    try:
        found = remote.blobs(fitting) if fitting else {}
    except UnavailableError:
        raise
    except DatabaseError as error:
        if len(items) == 1:
            return [Failure(items[0], "io.error", f"the database cannot give the image: {error}")]
        return [answer for item in items for answer in _read_blobs([item], limits, remote)]
    return [_of_blob(item, found.get(item.key), limits) for item in items]


def _of_blob(item: Item, data: bytes | None, limits: Limits) -> Fetched | Failure:
    size = item.blob.size if item.blob is not None else 0
    if max(size, len(data or b"")) > limits.max_bytes:
        return _too_large(item, limits)
    if data is None:
        return Failure(item, "io.missing", "the row or its image is no longer in the table")
    return Fetched(item, data, hashlib.sha256(data).hexdigest())


def _too_large(item: Item, limits: Limits) -> Failure:
    error = ImageError.too_many_bytes(limits.max_bytes)
    return Failure(item, error.code, str(error))


def read_file(item: Item, limits: Limits, within: bytes | None = None) -> Fetched | Failure:
    """Read the file of an item; errors become failures. within: see `fetch`."""
    assert item.path is not None, "an item is a file, a URL, a blob or an object"
    try:
        # Non-blocking, so that a pipe with an image's name cannot hold the run up.
        descriptor = os.open(item.path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        try:
            # Not by way of fdopen alone: it raises for a folder, and then leaves the descriptor open.
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                return Failure(item, "io.not_a_file", "it is not a regular file")
            if within is not None and not lies_in(descriptor, item.path, within):
                return Failure(item, OUTSIDE_ROOT, "a link leads out of the source's folder; --follow-links reads it")
            data = _read(descriptor, found.st_size, limits.max_bytes + 1)
        finally:
            os.close(descriptor)
    except OSError as error:
        return _failure(item, error)
    if len(data) > limits.max_bytes:
        return _too_large(item, limits)
    return Fetched(item, data, hashlib.sha256(data).hexdigest())


def _read(descriptor: int, size: int, most: int) -> bytes:
    """Read a file to its end, at most `most` bytes. size: what it should have; a larger buffer costs fresh pages."""
    data = os.read(descriptor, min(size + 1, most))
    if len(data) == size:
        return data
    with os.fdopen(descriptor, "rb", closefd=False) as file:  # it is growing, or its file system reads in parts
        return data + file.read(most - len(data))


def _shown(item: Item) -> str:
    """Return the name of a file, for the end of a message, if it holds what cannot be seen."""
    name = key_of(item.path or b"")
    shown = visible(name)
    return "" if shown == name else f", nor does one of its name when that is cleaned: {shown}"


def _failure(item: Item, error: OSError) -> Failure:
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return Failure(item, "io.missing", f"the file does not exist{_shown(item)}")
    if error.errno in (errno.EACCES, errno.EPERM):
        return Failure(item, "io.permission", "the file may not be read by this user")
    is_storage = error.errno not in ONE_FILE
    return Failure(item, "io.error", f"the file cannot be read: {error.strerror}", may_be_outage=is_storage)
