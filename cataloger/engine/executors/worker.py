"""What a worker of a cluster is: a local executor for the chunks that it is given. Nothing here knows Ray."""

import socket
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any, cast

from cataloger import __version__
from cataloger.engine.executors.base import ExecutorHooks, Work
from cataloger.engine.executors.bundles import known_bundle, received_bundle
from cataloger.engine.executors.local import Decoder, LocalExecutor, decoding, open_local
from cataloger.errors import CatalogerError, UsageError
from cataloger.fetch import Remote
from cataloger.hooks import ignore
from cataloger.imaging import DecodePool
from cataloger.inference import choose_engine
from cataloger.records import Failure, Fetched, Image, Item, Result, item_of
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

    def run(self, subjects: Sequence[Item | Fetched]) -> list[Result] | str:
        """Return the result of each input, in their order; or why there are none, after which this is of no use."""
        assert self._executor is not None, "a worker is started first"
        # A downloaded item has another version than before, and so is another object.
        positions = {item_of(subject).key: number for number, subject in enumerate(subjects)}
        sent = cast("Sequence[Item]", subjects)  # bytes that were sent along stay as they are: `_decoding` knows them
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
        local = open_local(work, bundle, engine, lambda pool: _decoding(pool, work, remote, hooks.watch), hooks)
        self._executor = self._opened.enter_context(local)
        return {"device": self._executor.device, "precision": bundle.precision}


def _decoding(pool: DecodePool, work: Work, remote: Remote | None, watch: Stopwatch) -> Decoder:
    """Return what decodes a chunk, and fetches what was not sent with it."""
    fetched = decoding(pool, work.limits, watch, remote=remote, within=work.within)

    def decode(subjects: Iterable[Any]) -> Iterator[Image | Failure]:
        given = list(subjects)
        return pool.decode(given) if given and isinstance(given[0], Fetched) else fetched(given)

    return decode


@contextmanager
def _remote(work: Work) -> Iterator[Remote | None]:
    if work.web is None:
        yield None
        return
    from cataloger.fetch import Downloader

    with Downloader(work.web, work.limits) as downloader:
        yield Remote(web=downloader, threads=2 * work.web.per_host)
