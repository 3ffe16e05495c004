"""Figures of classes against values worked out by hand, and against plain loops on random data."""

import numpy as np
import pytest

from cataloger.training.metrics.per_class import averages, class_reports, confusion_matrix, sum_by
from cataloger.utils import wilson

TRUTH = np.array([0, 0, 0, 1, 1, 2])
GUESS = np.array([0, 0, 1, 1, 1, 1])


def test_the_confusion_matrix_has_the_labels_as_rows():
    assert confusion_matrix(TRUTH, GUESS, 4).tolist() == [
        [2, 1, 0, 0],
        [0, 2, 0, 0],
        [0, 1, 0, 0],
        [0, 0, 0, 0],
    ]


def test_precision_recall_and_f1_of_each_class_by_hand():
    reports = class_reports(confusion_matrix(TRUTH, GUESS, 4), ("a", "b", "c", "d"))
    a, b, c = reports  # d occurs nowhere
    assert (a.label, a.support, a.predicted, a.recall, a.precision) == ("a", 3, 2, wilson(2, 3), wilson(2, 2))
    assert (b.support, b.predicted, b.recall, b.precision) == (2, 4, wilson(2, 2), wilson(2, 4))
    assert [each.f1.value for each in reports] == pytest.approx([0.8, 2 / 3, 0.0])
    assert (c.support, c.predicted) == (1, 0)
    assert np.isnan(c.precision.value)


def test_a_class_that_is_only_predicted_has_no_recall():
    matrix = confusion_matrix(np.array([0, 0]), np.array([0, 1]), 2)
    (_, b) = class_reports(matrix, ("a", "b"))
    assert (b.support, b.predicted) == (0, 1)
    assert np.isnan(b.recall.value)
    assert averages(matrix, []).macro_all.value == pytest.approx(2 / 3)


def test_the_interval_of_macro_f1_is_that_of_resampled_rows():
    random = np.random.default_rng(3)
    truth = random.integers(4, size=400)
    guess = np.where(random.random(400) < 0.7, truth, random.integers(4, size=400))

    def slow_macro(rows):
        scores = []
        for c in range(4):
            right = sum(1 for r in rows if truth[r] == guess[r] == c)
            total = sum(1 for r in rows if truth[r] == c) + sum(1 for r in rows if guess[r] == c)
            scores.append(2 * right / total)
        return sum(scores) / 4

    fast = averages(confusion_matrix(truth, guess, 4), [0, 1, 2, 3]).macro
    draws = [slow_macro(random.integers(400, size=400)) for _ in range(300)]
    assert fast.value == pytest.approx(slow_macro(range(400)))
    assert (fast.low, fast.high) == pytest.approx(tuple(np.percentile(draws, [2.5, 97.5])), abs=0.012)


def test_columns_of_the_same_class_are_added_up():
    counts = np.array([[1, 2, 3], [4, 5, 6]])
    assert sum_by(counts, np.array([2, 0, 2]), 4).tolist() == [[2, 0, 4, 0], [5, 0, 10, 0]]
