"""What became of jobs: one summary and one exit status."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cataloger.errors import FAILURES_STATUS, INTERRUPTED_STATUS
from cataloger.jobs.job import NamedJob

NotRun = Literal["listed", "interrupted", "no_dry_run"]
"""Why a job was not run: only a list was asked for, an earlier one was interrupted, its command has no dry run."""

SEVERITY = (0, 5, 3, 4, 1, 2, INTERRUPTED_STATUS)
"""Exit statuses from the best to the worst. 2 is worse than 1, since it does not get better by itself."""


@dataclass(frozen=True, slots=True)
class JobOutcome:
    """What became of a job.

    exit_status: None if it was not run; then not_run says why. signal: name of the one that ended its process.
    output: what its command prints with --json, None if that is nothing.
    """

    job: NamedJob
    exit_status: int | None = None
    seconds: float | None = None
    signal: str | None = None
    output: Any = None
    not_run: NotRun | None = None

    def count(self, name: str) -> int | None:
        """Return a number of its output, e.g. of images that are done; None if there is none."""
        value = self.output.get(name) if isinstance(self.output, dict) else None
        return value if isinstance(value, int) else None

    def as_json(self) -> dict[str, Any]:
        """Return it as plain JSON values; nothing of its flags, among which are secrets."""
        return {
            "name": self.job.name,
            "command": self.job.command,
            "exit_status": self.exit_status,
            "seconds": None if self.seconds is None else round(self.seconds, 3),
            "signal": self.signal,
            "not_run": self.not_run,
            "output": self.output,
        }


@dataclass(frozen=True, slots=True)
class JobsReport:
    """What became of all jobs that were asked for, in their order. seconds: from the first to the last.

    timed_out: the time of all of them was over, so that the present one was stopped, and no other was begun.
    """

    outcomes: Sequence[JobOutcome]
    seconds: float = 0.0
    timed_out: bool = False

    @property
    def interrupted(self) -> bool:
        """True if a job was stopped, or not begun, since somebody asked to stop."""
        return any(each.exit_status == INTERRUPTED_STATUS or each.not_run == "interrupted" for each in self.outcomes)

    @property
    def exit_status(self) -> int:
        """The worst of the jobs; one that the time limit has stopped counts as not all done."""
        statuses = [each.exit_status for each in self.outcomes if each.exit_status is not None]
        if self.timed_out:
            statuses = [FAILURES_STATUS, *(each for each in statuses if each != INTERRUPTED_STATUS)]
        elif self.interrupted:
            return INTERRUPTED_STATUS
        return max(statuses, key=_severity, default=0)

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        return {
            "exit_status": self.exit_status,
            "interrupted": self.interrupted,
            "timed_out": self.timed_out,
            "seconds": round(self.seconds, 3),
            "jobs": [each.as_json() for each in self.outcomes],
        }


def _severity(status: int) -> int:
    return SEVERITY.index(status) if status in SEVERITY else SEVERITY.index(1)
