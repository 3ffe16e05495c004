"""Operations on runs that have ended and on sources: compare, undo, prune, recalibrate, move, rename, delete.

Imports `ledger` and what lies below it, `sinks`, `writeback`.
"""

from typing import TYPE_CHECKING

from cataloger.utils import lazy_names

if TYPE_CHECKING:
    from cataloger.history.diff import Difference, DifferenceSummary, Part, PastAnswer, compare
    from cataloger.history.known_pictures import KnownPictures
    from cataloger.history.move_source import relocate_source, rename_source
    from cataloger.history.prune import prune_runs
    from cataloger.history.recalibrate import RecalibrationReport, count_to_recompute, recalibrate_results
    from cataloger.history.recompute import MovedResults, OutdatedResults
    from cataloger.history.source_deletion import DeletionReport, count_recorded, delete_source
    from cataloger.history.undo import UndoReport, undo_run

__all__ = [
    "DeletionReport",
    "Difference",
    "DifferenceSummary",
    "KnownPictures",
    "MovedResults",
    "OutdatedResults",
    "Part",
    "PastAnswer",
    "RecalibrationReport",
    "UndoReport",
    "compare",
    "count_recorded",
    "count_to_recompute",
    "delete_source",
    "prune_runs",
    "recalibrate_results",
    "relocate_source",
    "rename_source",
    "undo_run",
]

__getattr__ = lazy_names(
    __name__,
    {
        "diff": (
            "Difference",
            "DifferenceSummary",
            "Part",
            "PastAnswer",
            "compare",
        ),
        "known_pictures": ("KnownPictures",),
        "move_source": (
            "relocate_source",
            "rename_source",
        ),
        "prune": ("prune_runs",),
        "recalibrate": (
            "RecalibrationReport",
            "count_to_recompute",
            "recalibrate_results",
        ),
        "recompute": ("MovedResults", "OutdatedResults"),
        "source_deletion": (
            "DeletionReport",
            "count_recorded",
            "delete_source",
        ),
        "undo": (
            "UndoReport",
            "undo_run",
        ),
    },
)
