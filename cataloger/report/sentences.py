"""What changed since an earlier run, one sentence for each kind of change."""

from collections.abc import Iterator

from cataloger.report.changes import Moves
from cataloger.utils import counted


def sentences(moves: Moves) -> list[str]:
    """Return what there is to say, the most important first; one sentence where nothing has changed."""
    return list(_changes(moves)) or ["Nothing has changed."]


def _changes(moves: Moves) -> Iterator[str]:
    counts = moves.counts
    if new := counts.get("new", 0):
        yield f"{counted(new, 'image')} {_are(new)} new."
    if missing := counts.get("gone", 0):
        yield f"{counted(missing, 'image')} {'were' if missing != 1 else 'was'} removed from the source."
    if moved := counts.get("moved", 0):
        yield f"{counted(moved, 'image')} moved to another category{_most_often(moves)}{_by_people(moves)}."
    if failed := counts.get("failed", 0):
        yield f"{counted(failed, 'image')} that had a category {_have(failed)} failed since."
    if recovered := counts.get("recovered", 0):
        yield f"{counted(recovered, 'image')} that had failed {_have(recovered)} a category now."
    if moves.corrected:
        yield f"People corrected or confirmed {counted(moves.corrected, 'image')}."


def _most_often(moves: Moves) -> str:
    """Name the most frequent move if it stands out."""
    if not moves.moves or moves.moves[0][2] < 2:
        return ""
    before, after, count = moves.moves[0]
    return f", most often from {before} to {after} ({count:,})"


def _by_people(moves: Moves) -> str:
    if not moves.by_people:
        return ""
    is_all = moves.by_people == moves.counts.get("moved")
    return f", {'all' if is_all else f'{moves.by_people:,}'} of them by corrections"


def _are(number: int) -> str:
    return "are" if number != 1 else "is"


def _have(number: int) -> str:
    return "have" if number != 1 else "has"
