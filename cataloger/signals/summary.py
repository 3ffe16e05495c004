"""What a command has done, for programs: the document that notifications and commands of the user get."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cataloger import __version__

VERSION = 1
"""Of the document; a new one may add keys."""


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What a command has done.

    error: the line that has ended it, None without one. began, ended: seconds since 1970. jobs: what became of each,
    as `cataloger run --json` has them; a command without jobs is one without a name.
    """

    command: str
    exit_status: int
    error: str | None
    began: float
    ended: float
    jobs: Sequence[Mapping[str, Any]]

    @property
    def seconds(self) -> float:
        """From its begin to its end."""
        return max(0.0, self.ended - self.began)

    def as_json(self) -> dict[str, Any]:
        """Return the summary as plain JSON values."""
        return {
            "version": VERSION,
            "cataloger": __version__,
            "command": self.command,
            "exit_status": self.exit_status,
            "error": self.error,
            "began": _iso(self.began),
            "ended": _iso(self.ended),
            "seconds": round(self.seconds, 3),
            "jobs": list(self.jobs),
        }


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
