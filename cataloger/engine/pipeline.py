"""The parts of a run, and how its results are recorded: some at a time, each time in one transaction.

The parts are passed in; this module depends on neither databases nor models.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from cataloger.engine.executors import Executor, SharedAnswers
from cataloger.engine.outages import Outages
from cataloger.engine.run_report import RunHooks, RunReport
from cataloger.options import RunOptions
from cataloger.records import Failure, Item, Planned, Prediction, Result
from cataloger.utils import printable, visible

logger = logging.getLogger(__name__)

WRITE_EVERY_RESULTS = 2048
"""Where results come fast; else WRITE_EVERY_SECONDS decides."""
WRITE_EVERY_SECONDS = 2.0


class Sink(Protocol):
    """Where results go; one call is one transaction."""

    def write(self, results: list[Result]) -> Sequence[Result]:
        """Record results durably, all or none; return them, a failure in the place of one that cannot be recorded."""
        ...


class Planner(Protocol):
    """Decides about inputs; see `cataloger.ledger.planner.Ledger`."""

    def plan(self, subjects: Iterable[Item | Failure], /, *, again: bool = False) -> Iterator[Planned]:
        """Yield a decision for each input, in order. again: a second scan of the same run."""
        ...

    def release(self, subject: Item | Failure, /) -> None:
        """Forget that an input was planned: it will not be recorded, unless it is planned again."""
        ...


class WithoutRetries:
    """Plans as another planner does, but what has failed is not tried again: the shards have just done that.

    What this run has recorded itself is unchanged; duplicates have been counted by the run of their shard.
    """

    def __init__(self, planner: Planner) -> None:
        self._planner = planner

    def plan(self, subjects: Iterable[Item | Failure], *, again: bool = False) -> Iterator[Planned]:
        """Yield a decision for each input, in order. again: as for the other planner."""
        for planned in self._planner.plan(subjects, again=again):
            if planned.do and planned.reason == "retry":
                self._planner.release(planned.subject)
                yield replace(planned, do=False, reason="failed_before")
            elif planned.reason.startswith("duplicate"):
                yield replace(planned, reason="unchanged")
            else:
                yield planned

    def release(self, subject: Item | Failure) -> None:
        """Forget that an input was planned."""
        self._planner.release(subject)


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a run.

    require_root: raises SourceError when the root of the source is not there any more. outages: what is known of them
    already. answers: how inputs that share a picture are answered; without it, each is asked for.
    """

    planner: Planner
    executor: Executor
    sink: Sink
    require_root: Callable[[], None] = lambda: None
    outages: Outages | None = None
    answers: SharedAnswers | None = None


class Pipeline:
    """What records the results of one run over one source."""

    def __init__(self, parts: Parts, options: RunOptions, hooks: RunHooks, report: RunReport) -> None:
        self.parts = parts
        self.options = options
        self.hooks = hooks
        self.report = report
        self._unwritten: list[Result] = []
        self._written_at = time.monotonic()

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


def _log(recorded: Sequence[Result]) -> None:
    """Say, with -v, which images failed and why; with -vv also what each of the others shows."""
    if not logger.isEnabledFor(logging.INFO):
        return
    for result in recorded:
        where = visible(result.item.uri or result.item.key)
        values: dict[str, object] = {"key": result.item.key, "uri": result.item.uri}
        if isinstance(result, Failure):
            values |= {"event": "image.failed", "code": result.code, "is_transient": result.is_transient}
            logger.info("failed: %s: %s: %s", where, result.code, printable(result.message), extra=values)
        elif logger.isEnabledFor(logging.DEBUG):
            _log_answer(result, where, values)


def _log_answer(result: Prediction, where: str, values: dict[str, object]) -> None:
    answers = list(zip(result.labels, result.confidences, strict=True))
    values |= {"event": "image.tagged", "answers": [[label, round(sure, 4)] for label, sure in answers]}
    values |= {"decision": result.decision, "familiarity": result.familiarity}
    text = ", ".join(f"{label} {sure:.2f}" for label, sure in answers)
    decided = f"; {result.decision}" if result.decision else ""
    logger.debug("%s: %s%s", where, text, decided, extra=values)
