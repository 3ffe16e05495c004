"""How good predictions are: accuracy with intervals, macro F1, recall, calibration error. Plain numpy.

Partial labels: a top-k hit is any accepted label among the k best. Macro F1, per-class recall and the
calibration error use rows with exactly one accepted label; macro F1 and recall only classes with at least
`MIN_SUPPORT` such rows.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cataloger.classify.base import calibrated_probabilities
from cataloger.records import Floats

Bools = npt.NDArray[np.bool_]

MIN_SUPPORT = 20
BINS = 15
Z95 = 1.959964
BOOTSTRAP = 200


@dataclass(frozen=True, slots=True)
class Share:
    """A measured share with its 95% interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Report:
    """Measurements of one group of labelled images. recall: label -> share of its rows that rank first."""

    images: int
    top1: Share
    top5: Share
    macro_f1: Share
    classes: int
    ece: Share
    recall: dict[str, Share]


def measure(logits: Floats, accepted: Bools, labels: Sequence[str], *, temperature: float) -> Report:
    """Measure logits (N x labels) against the accepted labels (bool N x labels)."""
    order = np.argsort(-logits, axis=1, kind="stable")
    hits = np.take_along_axis(accepted, order, axis=1)
    single = accepted.sum(axis=1) == 1
    truth, guess = accepted[single].argmax(axis=1), order[single, 0]
    confidence = calibrated_probabilities(logits[single], temperature).max(axis=1)
    scored = _scored_classes(truth, len(labels))
    return Report(
        images=len(logits),
        top1=wilson(int(hits[:, 0].sum()), len(hits)),
        top5=wilson(int(hits[:, :5].any(axis=1).sum()), len(hits)),
        macro_f1=_bootstrapped(lambda rows: macro_f1(truth[rows], guess[rows], scored), len(truth)),
        classes=len(scored),
        ece=_bootstrapped(
            lambda rows: expected_calibration_error(confidence[rows], (truth == guess)[rows]), len(truth)
        ),
        recall={labels[c]: wilson(int((guess[truth == c] == c).sum()), int((truth == c).sum())) for c in scored},
    )


def wilson(successes: int, trials: int) -> Share:
    """Return a share with its 95% score interval (Wilson, 1927)."""
    if trials == 0:
        return Share(math.nan, math.nan, math.nan)
    share, z2 = successes / trials, Z95**2
    centre = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    margin = Z95 / (1 + z2 / trials) * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials**2))
    return Share(share, centre - margin, centre + margin)


def macro_f1(truth: npt.NDArray[np.int64], guess: npt.NDArray[np.int64], classes: Sequence[int]) -> float:
    """Return the mean F1 of `classes`; a class without a true or a guessed row counts as 0."""
    scores = []
    for c in classes:
        right = int(((truth == c) & (guess == c)).sum())
        total = int((truth == c).sum() + (guess == c).sum())
        scores.append(2 * right / total if total else 0.0)
    return float(np.mean(scores)) if scores else math.nan


def expected_calibration_error(confidence: npt.NDArray[np.float64], correct: Bools) -> float:
    """Return the ECE over BINS equal-width bins (Naeini et al., 2015)."""
    if not len(confidence):
        return math.nan
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = [
        abs(confidence[bins == b].mean() - correct[bins == b].mean()) * (bins == b).mean()
        for b in range(BINS)
        if (bins == b).any()
    ]
    return float(sum(gaps))


def _scored_classes(truth: npt.NDArray[np.int64], count: int) -> list[int]:
    support = np.bincount(truth, minlength=count)
    return [int(c) for c in np.flatnonzero(support >= MIN_SUPPORT)]


def _bootstrapped(statistic: Callable[[npt.NDArray[np.int64]], float], rows: int) -> Share:
    """Return a statistic with its 95% percentile bootstrap interval; the resampling is seeded."""
    random = np.random.default_rng(0)
    value = statistic(np.arange(rows))
    if rows == 0 or math.isnan(value):
        return Share(math.nan, math.nan, math.nan)
    draws = [statistic(random.integers(rows, size=rows)) for _ in range(BOOTSTRAP)]
    low, high = np.percentile(draws, [2.5, 97.5])
    return Share(value, float(low), float(high))
