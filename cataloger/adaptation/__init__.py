"""Right in one shop: the labels that it sells, its departments, and what its labelled images teach about the scores.

Runs on numpy. Imports `inference`, `model`, `tabular`, `utils`.
"""

from typing import TYPE_CHECKING

from cataloger.utils import lazy_names

if TYPE_CHECKING:
    from cataloger.adaptation.abstaining import ABSTAINED, abstain_limit, learn_abstaining
    from cataloger.adaptation.label_progress import STEP, LabelProgress, Measured, Standing, measure_labels, weigh
    from cataloger.adaptation.labelled_scores import LabelledScores
    from cataloger.adaptation.learning import Adapted, learn_adaptation, learn_unlabelled
    from cataloger.adaptation.selection_files import IGNORE, changed_selection
    from cataloger.adaptation.source_calibration import Departments, LabelSelection, SourceCalibration
    from cataloger.adaptation.temperature import fit_temperature, negative_log_likelihood
    from cataloger.adaptation.thresholds import Answers, fit_thresholds

__all__ = [
    "ABSTAINED",
    "IGNORE",
    "STEP",
    "Adapted",
    "Answers",
    "Departments",
    "LabelProgress",
    "LabelSelection",
    "LabelledScores",
    "Measured",
    "SourceCalibration",
    "Standing",
    "abstain_limit",
    "changed_selection",
    "fit_temperature",
    "fit_thresholds",
    "learn_abstaining",
    "learn_adaptation",
    "learn_unlabelled",
    "measure_labels",
    "negative_log_likelihood",
    "weigh",
]


__getattr__ = lazy_names(
    __name__,
    {
        "abstaining": ["ABSTAINED", "abstain_limit", "learn_abstaining"],
        "label_progress": ["STEP", "LabelProgress", "Measured", "Standing", "measure_labels", "weigh"],
        "labelled_scores": ["LabelledScores"],
        "learning": ["Adapted", "learn_adaptation", "learn_unlabelled"],
        "selection_files": ["IGNORE", "changed_selection"],
        "source_calibration": ["Departments", "LabelSelection", "SourceCalibration"],
        "temperature": ["fit_temperature", "negative_log_likelihood"],
        "thresholds": ["Answers", "fit_thresholds"],
    },
)
