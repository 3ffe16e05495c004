"""A command with flags that has a name."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

NAME = re.compile(r"\w[\w-]*")


@dataclass(frozen=True, slots=True)
class NamedJob:
    """A command and what it is called with.

    command: e.g. "sync" or "runs prune". flags: flag without dashes -> value, which may be a secret.
    """

    name: str
    command: str
    flags: Mapping[str, Any] = field(repr=False)
    arguments: tuple[str, ...] = ()

    @staticmethod
    def is_name(text: str) -> bool:
        """True for what can be the name of a job, which stands on command lines and in tables."""
        return bool(NAME.fullmatch(text))
