"""Named points of the work at which a test acts: kills the process, stops it, fails. Nothing happens without one.

Points: "after_decode" (a batch is decoded), "before_commit" and "after_commit" (of results, or of a page of an undo),
"before_close" (the work of a run is done); of a table without transactions, "after_intended" and "after_made".
"""

from collections.abc import Callable

_actions: dict[str, Callable[[], object]] = {}


def reach(point: str) -> None:
    """Do what a test has set for a point, if anything."""
    if _actions and (action := _actions.get(point)):
        action()


def set_action(point: str, action: Callable[[], object]) -> None:
    """Have something done whenever a point is reached, in this process and those that are forked from it."""
    _actions[point] = action


def clear() -> None:
    """Take back everything that was set."""
    _actions.clear()
