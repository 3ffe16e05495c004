"""From which confidence on a category is accepted."""

import numpy as np
import pytest

from cataloger.adaptation.thresholds import FLOOR, WEIGHT, Answers, fit_thresholds


def fitted(confidence, right, best=None, groups=None):
    best = np.zeros(len(confidence), dtype=np.int64) if best is None else np.array(best)
    groups = np.arange(len(confidence)) if groups is None else np.array(groups)
    answers = Answers(np.array(confidence), best, np.array(right, dtype=bool), groups)
    return fit_thresholds(answers, labels=("Hat", "Top"), target=0.9)


def test_the_threshold_is_the_lowest_confidence_that_keeps_the_precision():
    # 40 right answers from 0.99 down to 0.60, then only wrong ones: 40 / 44 is the last that is 0.9 or more.
    confidence = np.concatenate([np.linspace(0.99, 0.60, 40), np.linspace(0.59, 0.50, 10)])
    found = fitted(confidence, [True] * 40 + [False] * 10, groups=[0] * 50)
    assert found == {"Hat": pytest.approx(confidence[43])}


def test_a_category_that_is_never_sure_enough_has_no_threshold():
    assert fitted([0.9, 0.8, 0.7, 0.6], [False, True, False, False]) == {}


def test_a_category_that_was_never_the_best_has_no_threshold():
    assert "Top" not in fitted([0.9] * 30, [True] * 30)


def test_few_images_of_a_category_are_judged_by_the_others_too():
    # Ten sure answers for Hat are right, one for Top is wrong; Top alone would be 0 of 1.
    confidence, right = [0.9] * 20 + [0.95], [True] * 20 + [False]
    best = [0] * 20 + [1]
    by_hand = (0 + WEIGHT * 0.0) / (1 + WEIGHT)  # of all answers as sure as 0.95 none is right
    assert by_hand < 0.9
    assert set(fitted(confidence, right, best)) == {"Hat"}
    # One right answer for Top among as sure ones for Hat is believed.
    assert set(fitted([0.9] * 21, [True] * 21, best)) == {"Hat", "Top"}


def test_the_wanted_precision_is_kept_on_images_that_were_not_seen():
    random = np.random.default_rng(1)
    truth = random.uniform(size=(2, 6000))  # calibrated: an answer of confidence c is right with probability c
    right = random.uniform(size=(2, 6000)) < truth
    best = random.integers(5, size=(2, 6000))
    labels = tuple("abcde")
    answers = Answers(truth[0], best[0], right[0], np.arange(6000))
    thresholds = fit_thresholds(answers, labels=labels, target=0.9)
    accepted = truth[1] >= np.array([thresholds.get(labels[i], 2.0) for i in best[1]])
    assert accepted.mean() > 0.1
    assert right[1][accepted].mean() == pytest.approx(0.9, abs=0.03)


def test_no_threshold_is_below_the_floor():
    confidence = np.linspace(0.9, 0.2, 60)
    assert fitted(confidence, [True] * 60) == {"Hat": FLOOR}


def shops_that_differ(random, shops):
    """Confidences that are right for most shops and far too high in every fourth."""
    confidence, groups = random.uniform(0.5, 1.0, size=100 * shops), np.repeat(np.arange(shops), 100)
    chance = np.where(groups % 4, np.minimum(1.0, confidence + 0.05), confidence - 0.25)
    return confidence, random.uniform(size=len(chance)) < chance, groups


def test_what_shops_that_were_left_out_get_wrong_raises_the_thresholds():
    confidence, right, shops = shops_that_differ(np.random.default_rng(2), 40)
    (alone,) = fitted(confidence, right, groups=np.zeros_like(shops)).values()
    (left_out,) = fitted(confidence, right, groups=shops).values()
    assert left_out >= alone
    new_confidence, new_right, _ = shops_that_differ(np.random.default_rng(3), 200)
    assert new_right[new_confidence >= left_out].mean() >= 0.9 - 0.02


def test_the_same_answers_have_the_same_thresholds_in_any_order():
    confidence, right, shops = shops_that_differ(np.random.default_rng(4), 20)
    order = np.random.default_rng(5).permutation(len(shops))
    assert fitted(confidence, right, groups=shops) == fitted(confidence[order], right[order], groups=shops[order])
