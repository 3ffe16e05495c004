"""What is sent when a command has ended. None of it touches data."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cataloger.errors import OutputError, UsageError
from cataloger.signals.summary import RunSummary


@dataclass(frozen=True, slots=True)
class SignalOptions:
    """What is to be sent at the end of a command. metrics: file."""

    metrics: Path | None = None

    def __post_init__(self) -> None:
        if self.metrics is not None and not self.metrics.absolute().parent.is_dir():
            raise UsageError(f"--metrics {self.metrics}: there is no folder {self.metrics.absolute().parent}")
        if self.metrics is not None and self.metrics.is_dir():
            raise UsageError(f"--metrics {self.metrics} is a folder; name a file in it")


@dataclass(slots=True)
class Reporter:
    """Sends what is wanted, once.

    jobs: what became of each, as `cataloger run --json` has them; None for a command without jobs. output: what such
    a command prints with --json; None without it. is_metrics_lost: whether the file of metrics could not be written.
    """

    command: str
    options: SignalOptions
    began: float = field(default_factory=time.time)
    jobs: Sequence[Mapping[str, Any]] | None = None
    output: Mapping[str, Any] | None = None
    is_metrics_lost: bool = False

    def summary(self, exit_status: int, error: str | None) -> RunSummary:
        """Return the summary of the command. error: the line that has ended it."""
        ended = time.time()
        jobs = self.jobs
        if jobs is None:
            seconds = round(ended - self.began, 3)
            end: dict[str, Any] = {"exit_status": exit_status, "signal": None, "not_run": None, "seconds": seconds}
            jobs = [{"name": None, "command": self.command, **end, "output": self.output}]
        return RunSummary(self.command, exit_status, error, self.began, ended, jobs)

    def send(self, summary: RunSummary) -> list[str]:
        """Send everything; return what went wrong, one line each."""
        problems = [] if self.options.metrics is None else [self._write_metrics(summary)]
        return [problem for problem in problems if problem is not None]

    def _write_metrics(self, summary: RunSummary) -> str | None:
        from cataloger.signals.metrics import write_metrics

        assert self.options.metrics is not None
        try:
            write_metrics(self.options.metrics, summary)
        except OutputError as error:
            self.is_metrics_lost = True
            return f"--metrics: {error}"
        return None
