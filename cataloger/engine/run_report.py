"""What a run over one or several sources has done so far."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from cataloger.engine.outages import Outage
from cataloger.hooks import Hooks
from cataloger.records import Prediction, Result
from cataloger.utils import Stopwatch


@dataclass(slots=True)
class RunReport:
    """What a run did so far; `done` and `failed` count recorded results.

    skipped: reason -> items that needed nothing. failures: code -> number. failed_first: code -> where the first of
    them is. failed_why: code -> what is wrong with that one. left_out: reason -> what a scan met and did not take;
    extensions begin with a dot. categories: best label -> number.
    decisions: accept, review, abstain -> number; empty if the model does not decide.
    outages: the places that were out. watch: the time of its stages; together they make up the whole run.
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
    outages: list[Outage] = field(default_factory=list)
    watch: Stopwatch = field(default_factory=Stopwatch)
    interrupted: bool = False

    def count(self, results: Sequence[Result]) -> None:
        """Count results that are recorded."""
        for result in results:
            if isinstance(result, Prediction):
                self.done += 1
                self.categories[result.labels[0]] += 1
                if result.decision is not None:
                    self.decisions[result.decision] += 1
            else:
                self.failed += 1
                self.failures[result.code] += 1
                self.failed_first.setdefault(result.code, result.item.uri or result.item.key)
                self.failed_why.setdefault(result.code, result.message)

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
            "outages": [asdict(outage) for outage in self.outages],
            "seconds": {stage: round(value, 3) for stage, value in self.watch.seconds.items()},
            "interrupted": self.interrupted,
        }


RunHooks = Hooks[[RunReport]]
"""The progress callback receives the report, after writes. What is in flight at a stop is still written."""
