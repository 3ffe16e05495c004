"""Measurements against values worked out by hand."""

import numpy as np
import pytest

from cataloger.adaptation import fit_temperature, negative_log_likelihood
from cataloger.training.metrics.summary import expected_calibration_error, macro_f1, measure, wilson


def test_wilson_interval_equals_the_published_example():
    # 81 of 263: Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
    share = wilson(81, 263)
    assert (round(share.low, 4), round(share.high, 4)) == (0.2553, 0.3662)


def test_macro_f1_by_hand():
    truth, guess = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])
    assert macro_f1(truth, guess, [0, 1]) == pytest.approx((2 / 3 + 4 / 5) / 2)


def test_calibration_error_by_hand():
    confidence, correct = np.array([0.95, 0.95, 0.5, 0.5]), np.array([True, False, True, False])
    assert expected_calibration_error(confidence, correct) == pytest.approx(0.5 * 0.45 + 0.5 * 0.0)


def test_any_accepted_label_is_a_hit_and_only_single_labels_count_for_f1():
    logits = np.array([[3.0, 2.0, 1.0]] * 20 + [[1.0, 2.0, 3.0]], dtype=np.float32)
    accepted = np.array([[True, False, False]] * 20 + [[False, False, True]])
    accepted[20, 0] = True
    report = measure(logits, accepted, ("a", "b", "c"), temperature=1.0)
    assert report.top1.value == 1.0
    assert report.classes == 1
    assert set(report.recall) == {"a"}


def test_the_fitted_temperature_recovers_the_true_one():
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, size=(20_000, 6)).astype(np.float32)
    noise = random.gumbel(size=logits.shape)
    truth = (logits + noise).argmax(axis=1)
    accepted = np.eye(6, dtype=bool)[truth]
    assert fit_temperature(logits * 2.5, accepted) == pytest.approx(2.5, rel=0.03)


def test_a_row_that_accepts_everything_costs_nothing():
    logits = np.array([[1.0, -2.0]], dtype=np.float32)
    assert negative_log_likelihood(logits, np.array([[True, True]]), 1.0) == pytest.approx(0.0)


def test_wilson_stays_within_0_and_1():
    assert (wilson(0, 7).low, wilson(7, 7).high) == (0.0, 1.0)


def test_the_ranks_3_and_5_count_what_is_among_them():
    logits = np.tile(np.arange(7, 0, -1, dtype=np.float32), (4, 1))  # labels come in the order of their numbers
    accepted = np.zeros((4, 7), dtype=bool)
    accepted[np.arange(4), [0, 2, 4, 6]] = True
    report = measure(logits, accepted, "abcdefg", temperature=1.0)
    assert (report.top1.value, report.top3.value, report.top5.value) == (0.25, 0.5, 0.75)


def test_macro_and_weighted_f1_of_all_classes_by_hand():
    # Class a: 3 images, 2 found, 1 of them wrongly elsewhere; class b: 1 image, found.
    logits = np.array([[2, 1], [2, 1], [1, 2], [1, 2]], dtype=np.float32)
    accepted = np.array([[1, 0], [1, 0], [1, 0], [0, 1]], dtype=bool)
    report = measure(logits, accepted, ("a", "b"), temperature=1.0)
    f1_a, f1_b = 2 * 1.0 * (2 / 3) / (1.0 + 2 / 3), 2 * 0.5 * 1.0 / (0.5 + 1.0)
    assert report.macro_f1_all.value == pytest.approx((f1_a + f1_b) / 2)
    assert report.weighted_f1.value == pytest.approx((3 * f1_a + f1_b) / 4)
    assert report.classes_all == 2
    assert np.isnan(report.macro_f1.value)


def test_what_cannot_be_measured_is_not_a_number():
    report = measure(np.zeros((0, 3), dtype=np.float32), np.zeros((0, 3), dtype=bool), "abc", temperature=1.0)
    assert report.images == 0
    for share in (report.top1, report.macro_f1_all, report.weighted_f1, report.ece):
        assert np.isnan(share.value)
    assert np.isnan(report.aurc)
