"""Confusion matrix, and precision, recall and F1 of each class, from rows with one true and one predicted class."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cataloger.records import Floats
from cataloger.training.metrics.confidence_intervals import Ints, between, resampled_counts
from cataloger.utils import UNKNOWN, Share, wilson


@dataclass(frozen=True, slots=True)
class ClassReport:
    """One class. support: images that carry its label. predicted: images that the model puts there."""

    label: str
    support: int
    predicted: int
    precision: Share
    recall: Share
    f1: Share


@dataclass(frozen=True, slots=True)
class Averages:
    """F1 over classes. macro: of the classes given. macro_all: of all with an image. weighted: by their images."""

    macro: Share
    macro_all: Share
    weighted: Share


def confusion_matrix(truth: Ints, guess: Ints, classes: int) -> Ints:
    """Return int64 classes x classes: row = true class, column = predicted class, cell = images."""
    cells: Ints = np.bincount(truth * classes + guess, minlength=classes * classes)
    return cells.reshape(classes, classes)


def f1_scores(right: Floats, support: Floats, predicted: Floats) -> Floats:
    """Return 2 x right / (support + predicted), and 0 for a class with neither; any shape."""
    total = support + predicted
    scores: Floats = np.divide(2 * right, total, out=np.zeros(total.shape), where=total > 0)
    return scores


def macro_f1(truth: Ints, guess: Ints, classes: Sequence[int]) -> float:
    """Return the mean F1 of `classes`; a class without a true or a guessed row counts as 0."""
    if not len(classes):
        return math.nan
    matrix = confusion_matrix(truth, guess, int(max(truth.max(), guess.max(), *classes)) + 1)
    return float(_all_f1(matrix)[list(classes)].mean())


def averages(matrix: Ints, classes: Sequence[int]) -> Averages:
    """Return the averages of F1 with bootstrap intervals. classes: those that `macro` is over."""
    if not matrix.sum():
        return Averages(UNKNOWN, UNKNOWN, UNKNOWN)
    draws = _Draws(matrix)
    scores, support = _all_f1(matrix), matrix.sum(axis=1)
    present = np.flatnonzero(support)
    weights = draws.support / draws.support.sum(axis=1, keepdims=True)
    return Averages(
        macro=_mean(scores, draws, classes),
        macro_all=_mean(scores, draws, present.tolist()),
        weighted=between(float(scores @ support / support.sum()), (draws.f1 * weights).sum(axis=1)),
    )


def class_reports(matrix: Ints, labels: Sequence[str]) -> tuple[ClassReport, ...]:
    """Return a report of each class that occurs, as true or as predicted, in the order of the labels."""
    if not matrix.sum():
        return ()
    support, predicted, right = matrix.sum(axis=1), matrix.sum(axis=0), matrix.diagonal()
    scores, draws = _all_f1(matrix), _Draws(matrix)
    return tuple(
        ClassReport(
            label=labels[c],
            support=int(support[c]),
            predicted=int(predicted[c]),
            precision=wilson(int(right[c]), int(predicted[c])),
            recall=wilson(int(right[c]), int(support[c])),
            f1=between(float(scores[c]), draws.f1[:, c]),
        )
        for c in np.flatnonzero(support + predicted).tolist()
    )


class _Draws:
    """Bootstrap samples of a confusion matrix. support, f1: float64 DRAWS x classes."""

    def __init__(self, matrix: Ints) -> None:
        truth, guess = np.nonzero(matrix)
        counts = resampled_counts(matrix[truth, guess])
        self.support = sum_by(counts, truth, len(matrix))
        right = sum_by(counts[:, truth == guess], truth[truth == guess], len(matrix))
        self.f1 = f1_scores(right, self.support, sum_by(counts, guess, len(matrix)))


def sum_by(counts: Ints, owner: Ints, classes: int) -> Floats:
    """Add up the columns that belong to the same class: draws x cells -> float64 draws x classes."""
    sums = np.zeros((len(counts), classes))
    order = np.argsort(owner, kind="stable")
    present, starts = np.unique(owner[order], return_index=True)
    if len(present):
        sums[:, present] = np.add.reduceat(counts[:, order], starts, axis=1)
    return sums


def _all_f1(matrix: Ints) -> Floats:
    return f1_scores(matrix.diagonal().astype(float), matrix.sum(axis=1), matrix.sum(axis=0))


def _mean(scores: Floats, draws: _Draws, classes: Sequence[int]) -> Share:
    """Return the mean F1 of classes. A class that a draw leaves without rows has no F1 there, and does not count."""
    chosen = list(classes)
    if not chosen:
        return UNKNOWN
    present = draws.support[:, chosen] > 0
    sums = (draws.f1[:, chosen] * present).sum(axis=1)
    return between(float(scores[chosen].mean()), sums / np.maximum(present.sum(axis=1), 1))
