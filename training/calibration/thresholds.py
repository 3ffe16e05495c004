"""From which confidence on a category may be accepted, so that a wanted share of the accepted answers is right.

A category has few validation images, and a share measured on eight of them is noise. So each category's precision is
drawn towards that of all answers of the same confidence, as if WEIGHT more images of it had been seen that are right
as often as those (a Bayesian estimate with the pooled precision as its prior).
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cataloger.records import Floats

WEIGHT = 10.0

Bools = npt.NDArray[np.bool_]


def fit_thresholds(
    confidence: Floats, best: npt.NDArray[np.int64], right: Bools, *, labels: Sequence[str], target: float
) -> dict[str, float]:
    """Return for each label the smallest confidence from which its answers are right in a share of `target`.

    confidence, best, right: of N answers, the confidence of the best label, its position in `labels`, and whether it
    is right. A label that no confidence is enough for, or that was never the best, is missing.
    """
    order = np.argsort(-confidence, kind="stable")
    confidence, best, right = confidence[order], best[order], right[order]
    pooled = np.cumsum(right) / np.arange(1, len(right) + 1)
    thresholds = {}
    for position, label in enumerate(labels):
        rows = np.flatnonzero(best == position)
        seen = np.arange(1, len(rows) + 1)
        precision = (np.cumsum(right[rows]) + WEIGHT * pooled[rows]) / (seen + WEIGHT)
        enough = np.flatnonzero(precision >= target)
        if len(enough):
            thresholds[label] = float(confidence[rows[enough[-1]]])
    return thresholds
