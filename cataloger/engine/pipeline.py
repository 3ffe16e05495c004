"""From items to recorded results: fetch, decode, batch, classify, write.

Iterator to iterator, so memory does not depend on the number of items. The parts are passed in; this module depends
on neither databases nor models.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from cataloger.engine.outages import Outages
from cataloger.engine.run_report import RunHooks, RunReport
from cataloger.inference import Classifier, classify
from cataloger.model import Calibration
from cataloger.options import RunOptions
from cataloger.records import Batch, Failure, Image, Item, Planned, Result
from cataloger.utils import failpoints, printable, visible

logger = logging.getLogger(__name__)

WRITE_EVERY_RESULTS = 2048
"""Where results come fast; else WRITE_EVERY_SECONDS decides."""
WRITE_EVERY_SECONDS = 2.0
STOP_SECONDS = 0.2
"""Until a stop is noticed while a batch is classified."""
GRACE_SECONDS = 10.0
"""That a batch has after a stop; its images are tagged by the next run."""


class Sink(Protocol):
    """Where results go; one call is one transaction."""

    def write(self, results: list[Result]) -> Sequence[Result]:
        """Record results durably, all or none; return them, a failure in the place of one that cannot be recorded."""
        ...


class Decoder(Protocol):
    """Turns items into images; see `cataloger.imaging.decode_pool.DecodePool` behind
    `cataloger.fetch.prefetch.fetch`. It is called several times in a run."""

    def __call__(self, items: Iterable[Item | Failure], /) -> Iterator[Image | Failure]: ...


class Planner(Protocol):
    """Decides about inputs; see `cataloger.ledger.planner.Ledger`."""

    def plan(self, subjects: Iterable[Item | Failure], /, *, again: bool = False) -> Iterator[Planned]:
        """Yield a decision for each input, in order. again: a second scan of the same run."""
        ...

    def release(self, subject: Item | Failure, /) -> None:
        """Forget that an input was planned: it will not be recorded, unless it is planned again."""
        ...


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a run. threads: batches classified at once. batch_size: the best one for the classifier.

    require_root: raises SourceError when the root of the source is not there any more. outages: what is known of them
    already. calibration_of: how the scores of an image become an answer; None as the classifier's bundle says.
    """

    planner: Planner
    decode: Decoder
    classifier: Classifier
    sink: Sink
    threads: int = 1
    batch_size: int = 8
    require_root: Callable[[], None] = lambda: None
    outages: Outages | None = None
    calibration_of: Callable[[Item], Calibration] | None = None


class Pipeline:
    """The stages of one run over one source. executor: threads to classify in."""

    def __init__(
        self,
        parts: Parts,
        options: RunOptions,
        hooks: RunHooks,
        report: RunReport,
        executor: ThreadPoolExecutor,
    ) -> None:
        self.parts = parts
        self.options = options
        self.hooks = hooks
        self.report = report
        self._executor = executor
        self._batch_size = options.batch_size or parts.batch_size
        self._unwritten: list[Result] = []
        self._written_at = time.monotonic()
        self._has_given_up = False

    def results(self, items: Iterable[Item | Failure], on_image: Callable[[Item], None]) -> Iterator[Result]:
        """Decode and classify; failures come as they are, predictions when their batch is done.

        on_image: receives each item that could be decoded, at once.
        """
        futures: deque[Future[list[Result]]] = deque()
        images: list[Image] = []
        decoded = self.parts.decode(items)
        while (subject := self._next(decoded)) is not None:
            if isinstance(subject, Failure):
                yield subject
                continue
            on_image(subject.item)
            images.append(subject)
            if len(images) == self._batch_size:
                failpoints.reach("after_decode")
                futures.append(self._submit(images))
                images = []
            while futures and (futures[0].done() or len(futures) > self.parts.threads + 1):
                yield from self._wait(futures.popleft())
        if images:
            futures.append(self._submit(images))
        while futures:
            yield from self._wait(futures.popleft())

    def add(self, results: Iterable[Result]) -> None:
        """Collect results, and write when there are enough."""
        for result in results:
            self._unwritten.append(result)
            is_late = time.monotonic() - self._written_at > WRITE_EVERY_SECONDS
            if len(self._unwritten) >= WRITE_EVERY_RESULTS or is_late:
                self.flush()

    def flush(self) -> None:
        """Write the results that are not written yet."""
        results, self._unwritten = self._unwritten, []
        if results:
            with self.report.watch.stage("writing"):
                recorded = self.parts.sink.write(results)
            self.report.count(recorded)
            _log(recorded)
        self._written_at = time.monotonic()
        self.hooks.progress(self.report)

    def _next(self, decoded: Iterator[Image | Failure]) -> Image | Failure | None:
        with self.report.watch.stage("decoding"):
            return next(decoded, None)

    def _submit(self, images: list[Image]) -> Future[list[Result]]:
        batch = Batch(tuple(images))
        parts, top_k = self.parts, self.options.top_k
        work = partial(classify, parts.classifier, batch, top_k=top_k, calibration_of=parts.calibration_of)
        return self._executor.submit(self.report.watch.apart, "classifying", work)

    def _wait(self, future: Future[list[Result]]) -> list[Result]:
        with self.report.watch.stage("classifying"):
            try:
                return future.result() if self._ends(future) else []
            finally:
                del (
                    future
                )  # it refers to its error and that to this frame; threads would live until the next collection

    def _ends(self, future: Future[list[Result]]) -> bool:
        """Wait for a batch; False if it does not end some time after a stop: then nothing is classified any more."""
        stopped_at: float | None = None
        while not self._has_given_up and not wait([future], timeout=STOP_SECONDS).done:
            if self.hooks.stop.is_set():
                stopped_at = stopped_at or time.monotonic()
                if time.monotonic() - stopped_at > GRACE_SECONDS:
                    self._has_given_up = True
                    self.parts.classifier.close()
        return not self._has_given_up


@contextmanager
def classifying(threads: int) -> Iterator[ThreadPoolExecutor]:
    """Give threads to classify in. After an error their results are not waited for: a large batch takes long."""
    executor = ThreadPoolExecutor(threads, thread_name_prefix="classify")
    try:
        yield executor
    except BaseException:
        executor.shutdown(wait=False, cancel_futures=True)
        raise
    executor.shutdown()


def _log(recorded: Sequence[Result]) -> None:
    """Say, with -v, which images failed and why; with -vv also what each of the others shows."""
    if not logger.isEnabledFor(logging.INFO):
        return
    for result in recorded:
        where = visible(result.item.uri or result.item.key)
        if isinstance(result, Failure):
            logger.info("failed: %s: %s: %s", where, result.code, printable(result.message))
        else:
            logger.debug("%s: %s %.2f", where, result.labels[0], result.confidences[0])
