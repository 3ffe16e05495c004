"""From which confidence on a category may be accepted, so that a wanted share of the accepted answers is right.

A category has few validation images, and a share measured on eight of them is noise. So each category's precision is
drawn towards that of all answers of the same confidence, as if WEIGHT more images of it had been seen that are right
as often as those (a Bayesian estimate with the pooled precision as its prior).

Thresholds learned on some shops promise too much for others. So they are first learned leaving groups of images out
(shops, products, whatever stays together), and measured on what was left out; a precision above the target is asked
for until what was left out reaches the target.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cataloger.records import Floats

WEIGHT = 10.0

FLOOR = 0.5
"""The least threshold. An answer below it has likelier alternatives, all together, than itself."""

FOLDS = 10
ASKED = np.arange(-10, 10) / 10
"""Precisions that are tried one after the other: from the target, in shares of the way to certainty."""
LEAST_LEFT_OUT = 30
"""Accepted images of groups left out, below which their precision says nothing."""

Bools = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """The best answers for N labelled images.

    confidence: of the best label. best: its position among the labels. right: whether it is right. groups: a number,
    the same for images that belong together.
    """

    confidence: Floats
    best: Indices
    right: Bools
    groups: Indices

    def rows(self, rows: Bools) -> "Answers":
        """Return a part of them."""
        return Answers(self.confidence[rows], self.best[rows], self.right[rows], self.groups[rows])


def fit_thresholds(answers: Answers, *, labels: Sequence[str], target: float) -> dict[str, float]:
    """Return for each label the smallest confidence from which its answers are right in a share of `target`.

    The share holds for groups that were left out of the learning, as far as the images can tell. A label that no
    confidence is enough for, or that was never the best, is missing.
    """
    wanted = [float(target + (1.0 - target) * share) for share in ASKED]
    chosen = next((each for each in wanted if _holds(answers, len(labels), asked=each, target=target)), wanted[-1])
    lowest = _lowest(answers, len(labels), chosen)
    return {label: float(lowest[row]) for row, label in enumerate(labels) if np.isfinite(lowest[row])}


def _holds(answers: Answers, labels: int, *, asked: float, target: float) -> bool:
    """Tell whether thresholds for a precision of `asked` reach the target in groups that were left out."""
    folds = _folds(answers.groups)
    accepted = np.zeros(len(folds), dtype=np.bool_)
    for fold in range(FOLDS):
        out = folds == fold
        lowest = _lowest(answers.rows(~out), labels, asked)
        accepted[out] = answers.confidence[out] >= lowest[answers.best[out]]
    count = int(accepted.sum())
    if count < LEAST_LEFT_OUT:
        return asked >= target
    return float(answers.right[accepted].mean()) >= target


def _folds(groups: Indices) -> Indices:
    """Deal the groups to folds, always in the same way."""
    names, position = np.unique(groups, return_inverse=True)
    dealt = np.random.default_rng(0).permutation(len(names)) % FOLDS
    folds: Indices = dealt[position]
    return folds


def _lowest(answers: Answers, labels: int, target: float) -> Floats:
    """Return the threshold of each label, of all answers; infinity where there is none."""
    order = np.argsort(-answers.confidence, kind="stable")
    confidence, best, right = answers.confidence[order], answers.best[order], answers.right[order]
    pooled = np.cumsum(right) / np.arange(1, len(right) + 1)
    lowest = np.full(labels, np.inf)
    for label in range(labels):
        rows = np.flatnonzero(best == label)
        seen = np.arange(1, len(rows) + 1)
        precision = (np.cumsum(right[rows]) + WEIGHT * pooled[rows]) / (seen + WEIGHT)
        enough = np.flatnonzero(precision >= target)
        if len(enough):
            lowest[label] = max(FLOOR, float(confidence[rows[enough[-1]]]))
    return lowest
