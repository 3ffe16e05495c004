"""From items to recorded results: plan, fetch, decode, batch, classify, write.

Iterator to iterator, so memory does not depend on the size of the catalog. The parts are passed in; this module
depends on neither databases nor models. Each input ends as one result, a prediction or a failure.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from cataloger.errors import OutageError
from cataloger.hooks import Hooks
from cataloger.inference import Classifier, classify
from cataloger.options import RunOptions
from cataloger.records import Batch, Failure, Image, Item, Planned, Prediction, Result
from cataloger.utils import Stopwatch, failpoints

WRITE_EVERY_RESULTS = 256
WRITE_EVERY_SECONDS = 2.0


class Sink(Protocol):
    """Where results go; one call is one transaction."""

    def write(self, results: list[Result]) -> None:
        """Record results durably, all or none."""
        ...


class Decoder(Protocol):
    """Turns items into images; see `cataloger.imaging.decode_pool.DecodePool` behind
    `cataloger.fetch.prefetch.fetch`."""

    def __call__(self, items: Iterable[Item | Failure], /) -> Iterator[Image | Failure]: ...


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a run. threads: batches classified at once. batch_size: the best one for the classifier."""

    plan: Callable[[Iterable[Item | Failure]], Iterator[Planned]]
    decode: Decoder
    classifier: Classifier
    sink: Sink
    threads: int = 1
    batch_size: int = 8


@dataclass(slots=True)
class RunReport:
    """What a run did so far; `done` and `failed` count recorded results.

    skipped: reason -> items that needed nothing. failures: code -> number. failed_first: code -> where the first of
    them is. failed_why: code -> what is wrong with that one. left_out: reason -> what a scan met and did not take;
    extensions begin with a dot. categories: best label -> number.
    decisions: accept, review, abstain -> number; empty if the model does not decide.
    watch: the time of its stages; together they make up the whole run.
    interrupted: stopped by request; everything recorded is complete.
    """

    done: int = 0
    failed: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    planned: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    failed_first: dict[str, str] = field(default_factory=dict)
    failed_why: dict[str, str] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    categories: Counter[str] = field(default_factory=Counter)
    decisions: Counter[str] = field(default_factory=Counter)
    watch: Stopwatch = field(default_factory=Stopwatch)
    interrupted: bool = False

    @property
    def attempted(self) -> int:
        """Items with a new result."""
        return self.done + self.failed

    @property
    def failure_rate(self) -> float:
        """Failed share of the items attempted; 0.0 when there was none."""
        return self.failed / self.attempted if self.attempted else 0.0

    def plan(self) -> dict[str, int]:
        """Return how many items a dry run would do or skip, by reason."""
        return {**self.planned, **self.skipped}

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain JSON values; seconds are rounded to milliseconds."""
        return {
            "done": self.done,
            "failed": self.failed,
            "skipped": sum(self.skipped.values()),
            "skipped_by_reason": dict(self.skipped),
            "planned_by_reason": dict(self.planned),
            "failures": dict(self.failures.most_common()),
            "failed_first": self.failed_first,
            "failed_why": self.failed_why,
            "left_out": dict(self.left_out.most_common()),
            "categories": dict(self.categories.most_common()),
            "decisions": dict(self.decisions.most_common()),
            "seconds": {stage: round(value, 3) for stage, value in self.watch.seconds.items()},
            "interrupted": self.interrupted,
        }


RunHooks = Hooks[[RunReport]]
"""The progress callback receives the report, after writes. What is in flight at a stop is still written."""


def run(
    items: Iterable[Item | Failure],
    parts: Parts,
    options: RunOptions,
    *,
    hooks: RunHooks,
    report: RunReport,
) -> None:
    """Bring every item to a recorded result; `report` is kept up to date throughout.

    Raises OutageError after `options.outage_after` transient failures in a row; those are not recorded.
    """
    runner = _Runner(parts, options, hooks, report)
    with _classifying(parts.threads) as executor:
        for result in runner.results(runner.wanted(items), executor):
            runner.record(result)
        runner.finish()
    report.interrupted = hooks.stop.is_set()


@contextmanager
def _classifying(threads: int) -> Iterator[ThreadPoolExecutor]:
    """Give threads to classify in. After an error their results are not waited for: a large batch takes long."""
    executor = ThreadPoolExecutor(threads, thread_name_prefix="classify")
    try:
        yield executor
    except BaseException:
        executor.shutdown(wait=False, cancel_futures=True)
        raise
    executor.shutdown()


class _Runner:
    def __init__(self, parts: Parts, options: RunOptions, hooks: RunHooks, report: RunReport) -> None:
        self.parts = parts
        self.options = options
        self.batch_size = options.batch_size or parts.batch_size
        self.hooks = hooks
        self.report = report
        self.unwritten: list[Result] = []
        # Transient failures in a row. They wait for an input that can be read: if this is an outage, they are never
        # recorded. Predictions do not count, since they come late, a whole batch of them after it was read.
        self.transient_failures: list[Failure] = []
        self.written_at = time.monotonic()

    def wanted(self, items: Iterable[Item | Failure]) -> Iterator[Item | Failure]:
        """Yield the items to do, up to the limit, and count the others."""
        started = 0
        plan = self.parts.plan(items)
        while (planned := self._next_planned(plan)) is not None:
            if self.hooks.stop.is_set() or started == self.options.limit:
                return
            if planned.do:
                started += 1
                self.report.planned[planned.reason] += 1
                yield planned.subject
            else:
                self.report.skipped[planned.reason] += 1
                self.hooks.progress(self.report)

    def results(self, items: Iterator[Item | Failure], executor: ThreadPoolExecutor) -> Iterator[Result]:
        """Decode and classify; failures come as they are, predictions when their batch is done."""
        futures: deque[Future[list[Result]]] = deque()
        images: list[Image] = []
        decoded = self.parts.decode(items)
        while (subject := self._next(decoded)) is not None:
            if isinstance(subject, Failure):
                yield subject
                continue
            self._clear_outage_window()
            images.append(subject)
            if len(images) == self.batch_size:
                failpoints.reach("after_decode")
                futures.append(self._submit(executor, images))
                images = []
            while futures and (futures[0].done() or len(futures) > self.parts.threads + 1):
                yield from self._wait(futures.popleft())
        if images:
            futures.append(self._submit(executor, images))
        while futures:
            yield from self._wait(futures.popleft())

    def record(self, result: Result) -> None:
        """Collect a result and write when there are enough; stop in an outage."""
        if isinstance(result, Failure) and result.is_transient:
            self.transient_failures.append(result)
            if len(self.transient_failures) >= self.options.outage_after:
                self._stop_for_outage()
            return
        if isinstance(result, Failure):
            self._clear_outage_window()
        self.unwritten.append(result)
        is_late = time.monotonic() - self.written_at > WRITE_EVERY_SECONDS
        if len(self.unwritten) >= WRITE_EVERY_RESULTS or is_late:
            self.flush()

    def flush(self) -> None:
        """Write the results that are not written yet."""
        results, self.unwritten = self.unwritten, []
        if results:
            with self.report.watch.stage("writing"):
                self.parts.sink.write(results)
            self._count(results)
        self.written_at = time.monotonic()
        self.hooks.progress(self.report)

    def finish(self) -> None:
        """Write what is left, the last transient failures too: they were too few for an outage."""
        self._clear_outage_window()
        self.flush()

    def _clear_outage_window(self) -> None:
        """Record earlier transient failures: an input could be read, so they are no outage."""
        self.unwritten += self.transient_failures
        self.transient_failures.clear()

    def _stop_for_outage(self) -> None:
        last = self.transient_failures[-1]
        self.flush()
        raise OutageError(
            f"{len(self.transient_failures)} inputs in a row could not be read, the last one {last.item.uri}: "
            f"{last.message} ({last.code}). The storage seems to be down; these failures were not recorded. "
            "Run again when it is available."
        )

    def _count(self, results: list[Result]) -> None:
        for result in results:
            if isinstance(result, Prediction):
                self.report.done += 1
                self.report.categories[result.labels[0]] += 1
                if result.decision is not None:
                    self.report.decisions[result.decision] += 1
            else:
                self.report.failed += 1
                self.report.failures[result.code] += 1
                self.report.failed_first.setdefault(result.code, result.item.uri or result.item.key)
                self.report.failed_why.setdefault(result.code, result.message)

    def _next_planned(self, plan: Iterator[Planned]) -> Planned | None:
        with self.report.watch.stage("planning"):
            return next(plan, None)

    def _next(self, decoded: Iterator[Image | Failure]) -> Image | Failure | None:
        with self.report.watch.stage("decoding"):
            return next(decoded, None)

    def _submit(self, executor: ThreadPoolExecutor, images: list[Image]) -> Future[list[Result]]:
        batch = Batch(tuple(images))
        work = partial(classify, self.parts.classifier, batch, top_k=self.options.top_k)
        return executor.submit(self.report.watch.apart, "classifying", work)

    def _wait(self, future: Future[list[Result]]) -> list[Result]:
        with self.report.watch.stage("classifying"):
            try:
                return future.result()
            finally:
                del (
                    future
                )  # it refers to its error and that to this frame; threads would live until the next collection
