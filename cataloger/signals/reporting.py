"""What is sent when a command has ended: metrics, a command of the user, a notification. None of it touches data."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cataloger.errors import INTERRUPTED_STATUS, OutputError, UsageError
from cataloger.references import dereferenced, is_reference
from cataloger.signals.failure_command import run_failure_command
from cataloger.signals.summary import RunSummary
from cataloger.web_options import WebOptions

WHAT_SIGNS = "the key that signs notifications"
QUIET_STATUSES = (0, INTERRUPTED_STATUS)
"""Exit statuses that are no failure: somebody has stopped the run, and the next one goes on."""


@dataclass(frozen=True, slots=True)
class SignalOptions:
    """What is to be sent at the end of a command.

    metrics: file. on_failure: command of the shell. notify: web address, or where it is kept. notify_secret: where
    the secret is kept.
    """

    metrics: Path | None = None
    on_failure: str | None = field(default=None, repr=False)
    notify: str | None = field(default=None, repr=False)
    notify_secret: str | None = None

    def __post_init__(self) -> None:
        if self.metrics is not None and not self.metrics.absolute().parent.is_dir():
            raise UsageError(f"--metrics {self.metrics}: there is no folder {self.metrics.absolute().parent}")
        if self.metrics is not None and self.metrics.is_dir():
            raise UsageError(f"--metrics {self.metrics} is a folder; name a file in it")
        if self.on_failure is not None and not self.on_failure.strip():
            raise UsageError("--on-failure is empty; write a command of the shell")
        if (self.notify is None) is not (self.notify_secret is None):
            raise UsageError("--notify and --notify-secret need each other: every notification is signed")
        self.target()

    def target(self) -> tuple[str, bytes] | None:
        """Return address and secret of notifications. Raises UsageError, ConfigError; no message holds them."""
        if self.notify is None or self.notify_secret is None:
            return None
        if not is_reference(self.notify_secret):
            raise UsageError("--notify-secret: write env:NAME or file:PATH; a secret itself would be seen by others")
        secret = dereferenced(self.notify_secret, "--notify-secret", WHAT_SIGNS).strip()
        url = dereferenced(self.notify, "--notify", "a web address").strip()
        try:
            parsed = urlsplit(url)
            is_valid = parsed.scheme in ("http", "https") and bool(parsed.hostname) and parsed.port != 0
        except ValueError:
            is_valid = False
        if not is_valid:
            raise UsageError("--notify is not a web address; it must look like https://alerts.example/cataloger")
        return url, secret.encode()


@dataclass(slots=True)
class Reporter:
    """Sends what is wanted, once. web: how notifications are sent, as images are downloaded.

    jobs: what became of each, as `cataloger run --json` has them; None for a command without jobs. output: what such
    a command prints with --json; None without it. is_metrics_lost: whether the file of metrics could not be written.
    """

    command: str
    options: SignalOptions
    web: WebOptions = field(default_factory=WebOptions)
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
        """Send everything; return what went wrong, one line each. Nothing keeps the others from being sent."""
        body = json.dumps(summary.as_json(), default=str).encode()
        steps: list[Callable[[], str | None]] = []
        if self.options.metrics is not None:
            steps.append(lambda: self._write_metrics(summary))
        if self.options.on_failure is not None and summary.exit_status not in QUIET_STATUSES:
            command = self.options.on_failure
            steps.append(lambda: run_failure_command(command, body, summary.exit_status))
        if self.options.notify is not None:
            steps.append(lambda: self._notify(body))
        return [problem for step in steps if (problem := step()) is not None]

    def _write_metrics(self, summary: RunSummary) -> str | None:
        from cataloger.signals.metrics import write_metrics

        assert self.options.metrics is not None
        try:
            write_metrics(self.options.metrics, summary)
        except OutputError as error:
            self.is_metrics_lost = True
            return f"--metrics: {error}"
        return None

    def _notify(self, body: bytes) -> str | None:
        from cataloger.signals.notification import notify  # it loads the HTTP client

        target = self.options.target()
        assert target is not None
        url, secret = target
        return notify(url, body, secret, self.web)
