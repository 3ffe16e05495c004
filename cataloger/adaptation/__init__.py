"""Right in one shop: the labels that it sells, its departments, and what its labelled images teach about the scores.

Runs on numpy. Imports `inference`, `model`, `tabular`, `utils`.
"""

from typing import TYPE_CHECKING

from cataloger.utils import lazy_names

if TYPE_CHECKING:
    from cataloger.adaptation.selection_files import IGNORE, changed_selection
    from cataloger.adaptation.source_calibration import Departments, LabelSelection, SourceCalibration

__all__ = [
    "IGNORE",
    "Departments",
    "LabelSelection",
    "SourceCalibration",
    "changed_selection",
]


__getattr__ = lazy_names(
    __name__,
    {
        "selection_files": ["IGNORE", "changed_selection"],
        "source_calibration": ["Departments", "LabelSelection", "SourceCalibration"],
    },
)
