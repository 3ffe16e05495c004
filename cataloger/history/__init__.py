"""Operations on runs that have ended: compare, undo, prune, recalibrate, move a source.

Imports `ledger` and what lies below it, `sinks`, `writeback`.
"""

from cataloger.history.diff import Difference, DifferenceSummary, Part, PastAnswer, compare
from cataloger.history.move_source import relocate_source
from cataloger.history.prune import prune_runs
from cataloger.history.recalibrate import RecalibrationReport, recalibrate_results
from cataloger.history.undo import UndoReport, undo_run

__all__ = [
    "Difference",
    "DifferenceSummary",
    "Part",
    "PastAnswer",
    "RecalibrationReport",
    "UndoReport",
    "compare",
    "prune_runs",
    "recalibrate_results",
    "relocate_source",
    "undo_run",
]
