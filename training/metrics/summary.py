"""How good predictions are: accuracy, F1, recall and calibration, each with an interval. Plain numpy.

Partial labels: a top-k hit is any accepted label among the k best; AURC counts a hit of the best label as right.
F1, per-class recall and the calibration error use rows with exactly one accepted label; `macro_f1` and `recall` only
classes with at least `MIN_SUPPORT` such rows, `macro_f1_all` and `weighted_f1` every class that has one.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cataloger.records import Floats
from cataloger.training.metrics.calibration import (
    Bools,
    area_under_risk_coverage,
    calibration_error,
    calibration_error_by_chance,
    expected_calibration_error,
)
from cataloger.training.metrics.confidence_intervals import Ints
from cataloger.training.metrics.per_class import averages, confusion_matrix, macro_f1
from cataloger.training.metrics.predictions import Predictions
from cataloger.utils import UNKNOWN, Share, wilson

__all__ = (
    "MetricsReport",
    "Share",
    "Single",
    "expected_calibration_error",
    "macro_f1",
    "measure",
    "measure_predictions",
    "wilson",
)

MIN_SUPPORT = 20


@dataclass(frozen=True, slots=True)
class MetricsReport:
    """Measurements of one group of labelled images. recall: label -> share of its rows that rank first.

    classes: those that macro_f1 is over. classes_all: those with an image, which macro_f1_all is over. ece_by_chance:
    what ece would be on so many images if the confidences were perfect. aurc: area under the risk-coverage curve. A
    share is nan when it cannot be known, as top5 where fewer labels were stored.
    """

    images: int
    top1: Share
    top3: Share
    top5: Share
    macro_f1: Share
    classes: int
    macro_f1_all: Share
    classes_all: int
    weighted_f1: Share
    ece: Share
    ece_by_chance: float
    aurc: float
    recall: dict[str, Share]


@dataclass(frozen=True, slots=True)
class Single:
    """The rows with exactly one accepted label. rows: bool N. truth, guess: positions of labels, one per row."""

    rows: Bools
    truth: Ints
    guess: Ints
    confidence: Floats

    @classmethod
    def of(cls, predictions: Predictions, accepted: Bools) -> "Single":
        """Find them. accepted: bool N x labels."""
        rows = accepted.sum(axis=1) == 1
        return cls(rows, accepted[rows].argmax(axis=1), predictions.ranked[rows, 0], predictions.confidence[rows, 0])

    def confusion(self, classes: int) -> Ints:
        """Return the confusion matrix, classes x classes."""
        return confusion_matrix(self.truth, self.guess, classes)


def measure(logits: Floats, accepted: Bools, labels: Sequence[str], *, temperature: float) -> MetricsReport:
    """Measure logits (N x labels) against the accepted labels (bool N x labels)."""
    return measure_predictions(Predictions.of_logits(logits, labels, temperature), accepted)


def measure_predictions(predictions: Predictions, accepted: Bools) -> MetricsReport:
    """Measure predictions against the accepted labels (bool N x labels)."""
    hits, labels = predictions.hits(accepted), predictions.labels
    single = Single.of(predictions, accepted)
    matrix = single.confusion(len(labels))
    support = matrix.sum(axis=1)
    scored = np.flatnonzero(support >= MIN_SUPPORT).tolist()
    f1 = averages(matrix, scored)
    return MetricsReport(
        images=len(hits),
        top1=_top(hits, 1, predictions),
        top3=_top(hits, 3, predictions),
        top5=_top(hits, 5, predictions),
        macro_f1=f1.macro,
        classes=len(scored),
        macro_f1_all=f1.macro_all,
        classes_all=int((support > 0).sum()),
        weighted_f1=f1.weighted,
        ece=calibration_error(single.confidence, single.truth == single.guess),
        ece_by_chance=calibration_error_by_chance(single.confidence),
        aurc=area_under_risk_coverage(predictions.confidence[:, 0], hits[:, 0]) if len(hits) else math.nan,
        recall={labels[c]: wilson(int(matrix[c, c]), int(support[c])) for c in scored},
    )


def _top(hits: Bools, k: int, predictions: Predictions) -> Share:
    if predictions.depth < min(k, len(predictions.labels)):
        return UNKNOWN
    return wilson(int(hits[:, :k].any(axis=1).sum()), len(hits))
