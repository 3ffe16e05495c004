"""Two models on the same images: differences B minus A with paired 95% intervals, by a bootstrap over images."""

import math
from collections.abc import Sequence

import numpy as np

from cataloger.records import Floats
from cataloger.training.metrics.calibration import Bools, bins_of, error_of_bins, expected_calibration_error
from cataloger.training.metrics.confidence_intervals import Ints, between, resampled_counts, resampled_rows
from cataloger.training.metrics.per_class import confusion_matrix, f1_scores, sum_by
from cataloger.utils import UNKNOWN, Share


def mcnemar(only_a: int, only_b: int) -> float:
    """Return the exact two-sided p-value of McNemar's test (1947).

    only_a, only_b: images that only this model gets right. It is the chance that a fair coin falls at least as
    unevenly; 1.0 when the models never differ.
    """
    total, fewer = only_a + only_b, min(only_a, only_b)
    if total == 0:
        return 1.0
    steps = np.arange(1, fewer + 1)
    # Logarithms of the binomial coefficients 0 .. fewer: the numbers themselves leave the range of a float.
    logs = np.concatenate([[0.0], np.cumsum(np.log(total - steps + 1) - np.log(steps))]) - total * math.log(2)
    return min(1.0, 2 * float(np.exp(logs).sum()))


def difference_of_hits(a: Bools, b: Bools) -> Share:
    """Return the difference of two accuracies. a, b: bool N, whether each image is right."""
    if not len(a):
        return UNKNOWN
    counts = np.array([(a & ~b).sum(), (a == b).sum(), (b & ~a).sum()])
    draws = resampled_counts(counts) @ np.array([-1, 0, 1]) / len(a)
    return between(float((counts[2] - counts[0]) / len(a)), draws)


def difference_of_f1(truth: Ints, a: Ints, b: Ints, classes: Sequence[int]) -> Share:
    """Return the difference of two macro F1 over `classes`. truth, a, b: classes of N images, given and predicted."""
    if not len(truth) or not len(classes):
        return UNKNOWN
    width = int(max(truth.max(), a.max(), b.max())) + 1
    cells, counts = np.unique(np.stack([truth, a, b]), axis=1, return_counts=True)
    draws = resampled_counts(counts)
    support = sum_by(draws, cells[0], width)
    present = support[:, classes] > 0
    means = []
    for guess in (cells[1], cells[2]):
        right = sum_by(draws[:, cells[0] == guess], guess[cells[0] == guess], width)
        scores = f1_scores(right, support, sum_by(draws, guess, width))[:, classes] * present
        means.append(scores.sum(axis=1) / np.maximum(present.sum(axis=1), 1))
    value = _macro_f1(truth, b, classes, width) - _macro_f1(truth, a, classes, width)
    return between(value, means[1] - means[0])


def difference_of_ece(a: tuple[Floats, Bools], b: tuple[Floats, Bools]) -> Share:
    """Return the difference of two calibration errors. a, b: confidence, and whether it is right, of each image."""
    if not len(a[0]):
        return UNKNOWN
    (first, first_gaps), (second, second_gaps) = ((bins_of(each[0]), each[0] - each[1]) for each in (a, b))
    draws = resampled_rows(
        lambda rows: error_of_bins(second[rows], second_gaps[rows]) - error_of_bins(first[rows], first_gaps[rows]),
        len(first),
    )
    return between(expected_calibration_error(*b) - expected_calibration_error(*a), draws)


def _macro_f1(truth: Ints, guess: Ints, classes: Sequence[int], width: int) -> float:
    matrix = confusion_matrix(truth, guess, width)
    scores = f1_scores(matrix.diagonal().astype(float), matrix.sum(axis=1), matrix.sum(axis=0))
    return float(scores[list(classes)].mean())
