"""Paired comparisons against values worked out by hand and against plain loops."""

import math

import numpy as np
import pytest

from cataloger.training.metrics.paired_tests import difference_of_ece, difference_of_f1, difference_of_hits, mcnemar


def test_mcnemar_counts_the_ways_a_fair_coin_can_fall():
    # Two of ten: (1 + 10 + 45) of 1024 ways on one side, and as many on the other.
    assert mcnemar(2, 8) == pytest.approx(2 * 56 / 1024)
    assert mcnemar(8, 2) == mcnemar(2, 8)


@pytest.mark.parametrize(("a", "b"), [(0, 0), (3, 3), (4, 5)])
def test_mcnemar_never_exceeds_1(a, b):
    assert mcnemar(a, b) == pytest.approx(1.0)


def test_mcnemar_of_many_images_agrees_with_the_normal_theory():
    only_a, only_b = 30_300, 29_700
    z = (only_a - only_b - 1) / math.sqrt(only_a + only_b)
    assert mcnemar(only_a, only_b) == pytest.approx(math.erfc(z / math.sqrt(2)), rel=0.01)


def test_the_difference_of_accuracies_has_a_paired_interval():
    # 1000 images; A alone right on 30, B alone on 70: the difference is 0.04 with variance (0.1 - 0.04 ** 2) / 1000.
    a = np.array([True] * 530 + [False] * 470)
    b = np.array([True] * 500 + [False] * 30 + [True] * 70 + [False] * 400)
    difference = difference_of_hits(a, b)
    margin = 1.96 * math.sqrt((0.1 - 0.04**2) / 1000)
    assert difference.value == pytest.approx(0.04)
    assert (difference.low, difference.high) == pytest.approx((0.04 - margin, 0.04 + margin), abs=0.003)


def test_equal_models_do_not_differ():
    random = np.random.default_rng(0)
    truth, guess = random.integers(3, size=200), random.integers(3, size=200)
    confidence, right = random.random(200), truth == guess
    for difference in (
        difference_of_hits(right, right),
        difference_of_f1(truth, guess, guess, [0, 1, 2]),
        difference_of_ece((confidence, right), (confidence, right)),
    ):
        assert (difference.value, difference.low, difference.high) == (0.0, 0.0, 0.0)


def test_the_difference_of_f1_and_ece_is_that_of_resampled_rows():
    random = np.random.default_rng(7)
    truth = random.integers(3, size=300)
    guesses = [np.where(random.random(300) < share, truth, random.integers(3, size=300)) for share in (0.5, 0.8)]

    def macro(rows, guess):
        scores = []
        for c in range(3):
            right = sum(1 for r in rows if truth[r] == guess[r] == c)
            total = sum(1 for r in rows if truth[r] == c) + sum(1 for r in rows if guess[r] == c)
            scores.append(2 * right / total)
        return sum(scores) / 3

    draws = [random.integers(300, size=300) for _ in range(300)]
    slow = [macro(rows, guesses[1]) - macro(rows, guesses[0]) for rows in draws]
    fast = difference_of_f1(truth, *guesses, [0, 1, 2])
    assert fast.value == pytest.approx(macro(range(300), guesses[1]) - macro(range(300), guesses[0]))
    assert (fast.low, fast.high) == pytest.approx(tuple(np.percentile(slow, [2.5, 97.5])), abs=0.02)
