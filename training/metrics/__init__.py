"""Figures of predictions with their intervals: accuracy, calibration, classes, paired tests.

Runs on numpy. Imports `inference`.
"""

from cataloger.training.metrics.calibration import (
    Bools,
    CoveragePoint,
    ReliabilityBin,
    at_confidence,
    coverage_curve,
    expected_calibration_error,
    reliability,
)
from cataloger.training.metrics.confidence_intervals import Ints, between
from cataloger.training.metrics.group_intervals import ImageGroups
from cataloger.training.metrics.paired_tests import difference_of_ece, difference_of_f1, difference_of_hits, mcnemar
from cataloger.training.metrics.per_class import ClassReport, class_reports, macro_f1
from cataloger.training.metrics.predictions import NOT_RANKED, Predictions
from cataloger.training.metrics.summary import MetricsReport, Single, measure_predictions
from cataloger.utils import UNKNOWN, Z95, Share, wilson

__all__ = [
    "NOT_RANKED",
    "UNKNOWN",
    "Z95",
    "Bools",
    "ClassReport",
    "CoveragePoint",
    "ImageGroups",
    "Ints",
    "MetricsReport",
    "Predictions",
    "ReliabilityBin",
    "Share",
    "Single",
    "at_confidence",
    "between",
    "class_reports",
    "coverage_curve",
    "difference_of_ece",
    "difference_of_f1",
    "difference_of_hits",
    "expected_calibration_error",
    "macro_f1",
    "mcnemar",
    "measure_predictions",
    "reliability",
    "wilson",
]
