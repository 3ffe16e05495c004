"""How a caller takes part in long work: stopping it, and seeing how far it is."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, ParamSpec

P = ParamSpec("P")


def ignore(*_args: Any, **_options: Any) -> None:
    """Take note of nothing."""


@dataclass(frozen=True, slots=True)
class Hooks(Generic[P]):
    """What a command looks at and calls while it works. P: what its progress is told; each command says which.

    stop: set it to end early; what has begun is ended properly. progress: called whenever something is done.
    """

    stop: threading.Event = field(default_factory=threading.Event)
    progress: Callable[P, None] = ignore
