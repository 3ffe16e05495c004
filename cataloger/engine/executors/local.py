"""Fetching, decoding and classifying in this process, its threads and its decoding processes.

A machine of a cluster does the same with what it is given. Iterator to iterator, so memory does not depend on the
number of items.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from types import TracebackType
from typing import Protocol, Self

from cataloger.engine.executors.base import ExecutorHooks, OnImage, Work
from cataloger.engine.executors.image_log import log_decoded
from cataloger.engine.executors.pictures import SharedAnswers, SharedBytes
from cataloger.fetch import Remote, fetch_together
from cataloger.imaging import DecodePool
from cataloger.inference import Classifier, Engine, classify
from cataloger.model import Bundle, Calibration
from cataloger.options import Limits
from cataloger.records import Batch, Failure, Image, Item, Result
from cataloger.utils import Stopwatch, failpoints

STOP_SECONDS = 0.2
"""Until a stop is noticed while a batch is classified."""
GRACE_SECONDS = 10.0
"""That a batch has after a stop; its images are tagged by the next run."""


class Decoder(Protocol):
    """Turns items into images; see `cataloger.imaging.decode_pool.DecodePool` behind
    `cataloger.fetch.prefetch.fetch`. It is called several times in a run. What has its result already, has that."""

    def __call__(self, items: Iterable[Item | Failure], /) -> Iterator[Image | Result]: ...


@dataclass(frozen=True, slots=True)
class Stages:
    """What becomes of each input. threads: batches classified at once. batch_size: images classified together.

    calibration_of: how the scores of an image become an answer; None as the classifier's bundle says. shared: what
    `decode` puts inputs with the same bytes together with, if it does.
    """

    decode: Decoder
    classifier: Classifier
    threads: int = 1
    batch_size: int = 8
    top_k: int = 5
    calibration_of: Callable[[Item], Calibration] | None = None
    shared: SharedBytes | None = None


@contextmanager
def open_local(
    work: Work,
    bundle: Bundle,
    engine: Engine,
    decoder_of: Callable[[DecodePool, SharedBytes], Decoder],
    hooks: ExecutorHooks,
) -> Iterator["LocalExecutor"]:
    """Give an executor for one source. decoder_of: returns what fetches and decodes with a pool."""
    shared = SharedBytes(SharedAnswers(bundle.labels, work.calibration_of, work.run.top_k), hooks.recorded)
    with ExitStack() as stack:
        # The children start while the model is loaded here.
        workers = work.run.workers or work.processors
        pool = stack.enter_context(DecodePool(bundle.preprocess, work.limits, workers=workers))
        stages = Stages(
            decoder_of(pool, shared),
            stack.enter_context(closing(engine.open(bundle))),
            threads=work.processors,
            batch_size=work.run.batch_size or engine.batch_size,
            top_k=work.run.top_k,
            calibration_of=work.calibration_of,
            shared=shared,
        )
        yield stack.enter_context(LocalExecutor(stages, hooks.stop, hooks.watch))


def decoding(
    pool: DecodePool,
    limits: Limits,
    watch: Stopwatch,
    *,
    remote: Remote | None,
    within: bytes | None,
    shared: SharedBytes | None = None,
) -> Decoder:
    """Return what fetches and decodes. within: see `fetch`. shared: has inputs with the same bytes decoded once."""

    def decode(items: Iterable[Item | Failure]) -> Iterator[Image | Result]:
        fetched = watch.over("reading", fetch_together(items, limits, remote, watch, within))
        return pool.decode(chain.from_iterable(fetched) if shared is None else shared.new(fetched))

    return decode


class LocalExecutor:
    """Brings inputs to results here; a context manager, which has the threads that classify.

    stop: after it, a batch that takes long is given up. watch: receives the time of the stages.
    """

    def __init__(self, stages: Stages, stop: threading.Event, watch: Stopwatch) -> None:
        self._stages = stages
        self._stop = stop
        self._watch = watch
        self._threads = ThreadPoolExecutor(stages.threads, thread_name_prefix="classify")
        self._has_given_up = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # After an error the results are not waited for: a large batch takes long.
        self._threads.shutdown(wait=error is None, cancel_futures=error is not None)

    @property
    def device(self) -> str:
        """Where the model runs, e.g. "cpu"."""
        return self._stages.classifier.device

    def run(self, items: Iterable[Item | Failure], on_image: OnImage) -> Iterator[list[Result]]:
        """Decode and classify; failures come as they are, predictions when their batch is done."""
        if self._stages.shared is None:
            yield from self._results(items, on_image)
            return
        self._stages.shared.begin()
        for results in self._results(items, on_image):
            yield self._stages.shared.settle(results)

    def _results(self, items: Iterable[Item | Failure], on_image: OnImage) -> Iterator[list[Result]]:
        futures: deque[Future[list[Result]]] = deque()
        images: list[Image] = []
        decoded = self._stages.decode(items)
        while (subject := self._next(decoded)) is not None:
            if not isinstance(subject, Failure):
                on_image(subject.item)
            if not isinstance(subject, Image):
                yield [subject]
                continue
            log_decoded(subject)
            images.append(subject)
            if len(images) == self._stages.batch_size:
                failpoints.reach("after_decode")
                futures.append(self._submit(images))
                images = []
            while futures and (futures[0].done() or len(futures) > self._stages.threads + 1):
                yield self._wait(futures.popleft())
        if images:
            futures.append(self._submit(images))
        while futures:
            yield self._wait(futures.popleft())

    def _next(self, decoded: Iterator[Image | Result]) -> Image | Result | None:
        with self._watch.stage("decoding"):
            return next(decoded, None)

    def _submit(self, images: list[Image]) -> Future[list[Result]]:
        batch, stages = Batch(tuple(images)), self._stages
        work = partial(classify, stages.classifier, batch, top_k=stages.top_k, calibration_of=stages.calibration_of)
        return self._threads.submit(self._watch.apart, "classifying", work)

    def _wait(self, future: Future[list[Result]]) -> list[Result]:
        with self._watch.stage("classifying"):
            try:
                return future.result() if self._ends(future) else []
            finally:
                # It refers to its error and that to this frame; threads would live until the next collection.
                del future

    def _ends(self, future: Future[list[Result]]) -> bool:
        """Wait for a batch; False if it does not end some time after a stop: then nothing is classified any more."""
        stopped_at: float | None = None
        while not self._has_given_up and not wait([future], timeout=STOP_SECONDS).done:
            if self._stop.is_set():
                stopped_at = stopped_at or time.monotonic()
                if time.monotonic() - stopped_at > GRACE_SECONDS:
                    self._has_given_up = True
                    self._stages.classifier.close()
        return not self._has_given_up
