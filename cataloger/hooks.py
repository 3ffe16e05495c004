"""Hooks of a caller in long work: to stop it, and to follow its progress."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, ParamSpec

P = ParamSpec("P")


def ignore(*_args: Any, **_options: Any) -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True)
class Hooks(Generic[P]):
    """What a command checks and calls while it runs. P: what its progress callback receives; each command says which.

    stop: set it to end early; what has begun is ended properly. progress: called whenever something is done.
    """

    stop: threading.Event = field(default_factory=threading.Event)
    progress: Callable[P, None] = ignore
