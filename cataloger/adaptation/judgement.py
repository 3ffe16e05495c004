"""What scores answer for labelled images, and whether some answer better than others beyond chance."""

import math

import numpy as np

from cataloger.adaptation.cross_validation import Ints
from cataloger.adaptation.labelled_scores import LabelledScores, Sample
from cataloger.adaptation.score_maps import Bools
from cataloger.adaptation.temperature import losses
from cataloger.adaptation.thresholds import Answers, fit_thresholds
from cataloger.inference import calibrated_probabilities
from cataloger.records import Floats

FLIPS = 2_000
"""Draws of the test against chance."""


def is_right(scores: Floats, accepted: Bools) -> Bools:
    """Return for each image whether its best label is a right one."""
    rows = np.arange(len(scores))
    right: Bools = accepted[rows, scores.argmax(axis=1)]
    return right


def compared(plain: Floats, mapped: Floats, sample: LabelledScores) -> tuple[int, int, float]:
    """Return products that won and lost, and the chance of that much for a map that gains nothing.

    Labels must be likelier than by the model as it is, and more answers right than wrong by the change: the second
    alone would need many more labels to be told from chance, the first alone may only be a better confidence.
    """
    gain = is_right(mapped, sample.accepted).astype(float) - is_right(plain, sample.accepted)
    by_product = _sums(gain, sample.groups)
    won, lost = int((by_product > 0).sum()), int((by_product < 0).sum())
    likelier = _sums(losses(plain, sample.accepted) - losses(mapped, sample.accepted), sample.groups)
    by_likelihood = _sign_flips(likelier)
    return won, lost, by_likelihood if won > lost else max(by_likelihood, _sign_test(won, lost))


def _sign_flips(gains: Floats) -> float:
    """Return the chance of a mean as high as that of some gains if each was as likely to be a loss (permutation)."""
    signs = np.random.default_rng(0).choice(np.array([-1.0, 1.0]), (FLIPS, len(gains)))
    return float((1 + (signs @ gains >= gains.sum()).sum()) / (1 + FLIPS))


def _sums(values: Floats, groups: Ints) -> Floats:
    _, inverse = np.unique(groups, return_inverse=True)
    found = np.zeros(int(inverse.max()) + 1)
    np.add.at(found, inverse, values)
    return found


def _sign_test(won: int, lost: int) -> float:
    """Return the chance that a fair coin shows `won` heads or more in `won + lost` throws."""
    total = won + lost
    return sum(math.comb(total, heads) for heads in range(won, total + 1)) / 2**total if total else 1.0


def decided(scores: Floats, sample: Sample, target: float) -> tuple[Bools, Bools, dict[str, float]]:
    """Return which answers are right, which are accepted, and the thresholds by which they are.

    scores: float64 N x K, calibrated. target: share of the accepted ones that shall be right.
    """
    labelled = sample.labelled
    probabilities = calibrated_probabilities(scores, 1.0)
    best, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    right = is_right(scores, labelled.accepted)
    answers = Answers(confidence, best, right, labelled.groups).rows(sample.known)
    thresholds = fit_thresholds(answers, labels=labelled.labels, target=target)
    limits = np.array([thresholds.get(label, math.inf) for label in labelled.labels])
    return right, sample.known & (confidence >= limits[best]), thresholds
