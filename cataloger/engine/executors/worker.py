"""What a worker of a cluster is: a local executor for the chunks that it is given. Nothing here knows Ray."""

import socket
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from types import MappingProxyType
from typing import Any, cast

from cataloger import __version__
from cataloger.engine.executors.base import ExecutorHooks, Work
from cataloger.engine.executors.bundles import known_bundle, received_bundle
from cataloger.engine.executors.local import Decoder, LocalExecutor, open_local
from cataloger.engine.executors.pictures import SharedBytes
from cataloger.errors import CatalogerError, UsageError
from cataloger.fetch import Remote, fetch_together
from cataloger.hooks import ignore
from cataloger.imaging import DecodePool
from cataloger.inference import choose_engine
from cataloger.records import Failure, Fetched, Item, PictureScores, Result, item_of
from cataloger.utils import Stopwatch, reuse_buffers, work_in_batch

ANSWERS_DEPEND_ON = ("onnxruntime", "pillow", "numpy")


def versions() -> dict[str, str]:
    """Return the versions of what answers depend on."""
    found = {"cataloger": __version__, "python": sys.version.split()[0]}
    for name in ANSWERS_DEPEND_ON:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


class Worker:
    """Answers chunks, one after the other. Its first call is `about`, then `start`; `run` as often as wanted.

    What is wrong is returned and not raised, so that it can be read by another version.
    """

    def __init__(self) -> None:
        self._opened = ExitStack()
        self._executor: LocalExecutor | None = None
        self._reader: _Reader | None = None

    def about(self, digest: str) -> dict[str, Any]:
        """Return who this is, as plain values. digest: of the bundle that may have to be sent."""
        return {"versions": versions(), "host": socket.gethostname(), "has_bundle": known_bundle(digest) is not None}

    def start(self, work: Work, digest: str, files: Mapping[str, bytes] | None) -> dict[str, Any]:
        """Get ready for chunks. files: of the bundle, where the machine does not have it."""
        reuse_buffers()
        work_in_batch()
        try:
            return self._open(work, digest, files)
        except CatalogerError as error:
            return {"error": str(error), "is_usage": isinstance(error, UsageError)}
        except OSError as error:
            return {"error": f"the model bundle cannot be kept: {error.strerror} ({error.filename})"}

    def read(self, subjects: Sequence[Item | Fetched]) -> list[str] | str:
        """Read inputs that `run` will be called with; return the hashes of their bytes, or why there are none."""
        assert self._reader is not None, "a worker is started first"
        try:
            return self._reader.read(subjects)
        except CatalogerError as error:
            return str(error)

    def run(
        self, subjects: Sequence[Item | Fetched], known: Mapping[str, PictureScores] = MappingProxyType({})
    ) -> list[Result] | str:
        """Return the result of each input, in their order; or why there are none, after which this is of no use.

        known: what is recorded of pictures among them, by hash.
        """
        assert self._executor is not None, "a worker is started first"
        assert self._reader is not None, "a worker is started first"
        self._reader.shared.learn(known)
        # A downloaded item has another version than before, and so is another object.
        positions = {item_of(subject).key: number for number, subject in enumerate(subjects)}
        sent = cast("Sequence[Item]", subjects)  # bytes that were sent along stay as they are: `_Reader` knows them
        try:
            found = [result for some in self._executor.run(sent, ignore) for result in some]
        except CatalogerError as error:
            return str(error)
        return sorted(found, key=lambda result: positions[result.item.key])

    def close(self) -> None:
        """End the decoding processes and free the model."""
        self._opened.close()

    def _open(self, work: Work, digest: str, files: Mapping[str, bytes] | None) -> dict[str, Any]:
        engine = choose_engine(work.run.device)
        bundle = engine.bundle(received_bundle(digest, files), work.run.precision)
        hooks = ExecutorHooks(threading.Event(), Stopwatch(), ignore)
        remote = self._opened.enter_context(_remote(work))

        def decoder_of(pool: DecodePool, shared: SharedBytes) -> Decoder:
            reader = self._reader = _Reader(work, remote, shared)
            return lambda subjects: pool.decode(shared.new(reader.fetched(subjects)))

        local = open_local(work, bundle, engine, decoder_of, hooks)
        self._executor = self._opened.enter_context(local)
        return {"device": self._executor.device, "precision": bundle.precision}


class _Reader:
    """Reads what was not sent. What has been read before it is decoded is kept, within a bound of bytes."""

    def __init__(self, work: Work, remote: Remote | None, shared: SharedBytes) -> None:
        self.shared = shared
        self._work = work
        self._remote = remote
        self._kept: dict[str, Fetched | Failure] = {}
        self._bytes = 0

    def read(self, subjects: Sequence[Item | Fetched]) -> list[str]:
        """Read inputs ahead; return the hashes of the bytes of those that could be read."""
        hashes = [each.content_hash for each in subjects if isinstance(each, Fetched)]
        for together in self._fetch([each for each in subjects if isinstance(each, Item)]):
            for each in together:
                size = len(each.data) if isinstance(each, Fetched) else 0
                if self._bytes + size <= self._work.limits.bytes_in_flight:  # others are read again
                    self._kept[each.item.key] = each
                    self._bytes += size
                if isinstance(each, Fetched):
                    hashes.append(each.content_hash)
        return hashes

    def fetched(self, subjects: Iterable[Any]) -> Iterator[Sequence[Fetched | Failure]]:
        """Yield inputs with their bytes, some together."""
        rest: list[Item] = []
        for subject in subjects:
            known = subject if isinstance(subject, Fetched) else self._kept.pop(subject.key, None)
            if known is None:
                rest.append(subject)
                continue
            if isinstance(known, Fetched) and known is not subject:
                self._bytes -= len(known.data)
            yield [known]
        yield from self._fetch(rest)

    def _fetch(self, items: Sequence[Item]) -> Iterator[list[Fetched | Failure]]:
        return fetch_together(items, self._work.limits, self._remote, within=self._work.within)


@contextmanager
def _remote(work: Work) -> Iterator[Remote | None]:
    if work.web is None:
        yield None
        return
    from cataloger.fetch import Downloader

    with Downloader(work.web, work.limits) as downloader:
        yield Remote(web=downloader, threads=2 * work.web.per_host)
