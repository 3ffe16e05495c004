"""What a command has done, for programs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


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
