"""Reliability, coverage and AURC against values worked out by hand."""

import numpy as np
import pytest

from cataloger.training.metrics.calibration import (
    BINS,
    area_under_risk_coverage,
    at_confidence,
    calibration_error,
    calibration_error_by_chance,
    coverage_curve,
    expected_calibration_error,
    reliability,
)
from cataloger.utils import wilson

CONFIDENCE = np.array([0.9, 0.8, 0.7, 0.6])
CORRECT = np.array([True, True, False, True])


def test_the_area_is_the_mean_risk_of_the_most_confident():
    # Risks of the first 1, 2, 3, 4 images: 0, 0, 1/3, 1/4.
    assert area_under_risk_coverage(CONFIDENCE, CORRECT) == pytest.approx((1 / 3 + 1 / 4) / 4)


def test_images_of_equal_confidence_share_their_errors_in_any_order():
    confidence = np.array([0.5, 0.5])
    expected = (0.5 + 0.5) / 2
    for correct in ([True, False], [False, True]):
        assert area_under_risk_coverage(confidence, np.array(correct)) == pytest.approx(expected)


def test_what_is_left_above_a_confidence():
    point = at_confidence(CONFIDENCE, CORRECT, 0.7)
    assert (point.images, point.coverage, point.accuracy) == (3, 0.75, wilson(2, 3))
    assert at_confidence(CONFIDENCE, CORRECT, 0.95).images == 0


def test_the_curve_goes_from_the_most_confident_image_to_all():
    curve = coverage_curve(CONFIDENCE, CORRECT)
    assert [point.coverage for point in curve] == [0.25, 0.5, 0.75, 1.0]
    assert [point.accuracy.value for point in curve] == pytest.approx([1, 1, 2 / 3, 3 / 4])


def test_the_curve_of_many_images_stays_short():
    random = np.random.default_rng(0)
    curve = coverage_curve(random.random(5000), random.random(5000) < 0.5)
    assert len(curve) == 100
    assert curve[-1].coverage == 1.0


def test_a_bin_has_its_mean_confidence_and_accuracy():
    bins = reliability(np.array([0.34, 0.36, 1.0]), np.array([True, False, True]))
    assert [(each.images, each.confidence, each.accuracy.value) for each in bins] == [
        (2, pytest.approx(0.35), 0.5),
        (1, 1.0, 1.0),
    ]
    assert (bins[0].low, bins[0].high) == (5 / BINS, 6 / BINS)


def test_the_calibration_error_is_that_of_the_bins():
    random = np.random.default_rng(1)
    confidence = random.random(500)
    correct = random.random(500) < confidence**2
    bins = reliability(confidence, correct)
    expected = sum(each.images * abs(each.accuracy.value - each.confidence) for each in bins) / 500
    assert expected_calibration_error(confidence, correct) == pytest.approx(expected)
    share = calibration_error(confidence, correct)
    assert share.low < share.value < share.high


def test_the_calibration_error_by_chance_is_what_binomial_counts_give():
    confidence = np.repeat([0.9, 0.7, 0.45], 1000)
    # The mean distance of a binomial share from its probability p is close to sqrt(2 p (1 - p) / (pi n)).
    expected = sum(np.sqrt(2 * p * (1 - p) / (np.pi * 1000)) / 3 for p in (0.9, 0.7, 0.45))
    assert calibration_error_by_chance(confidence) == pytest.approx(expected, rel=0.1)
    assert calibration_error_by_chance(np.repeat(confidence, 100)) == pytest.approx(expected / 10, rel=0.1)
    assert np.isnan(calibration_error_by_chance(np.zeros(0)))


def test_nothing_measured_has_no_curve():
    empty = np.zeros(0)
    assert coverage_curve(empty, empty.astype(bool)) == ()
    assert reliability(empty, empty.astype(bool)) == ()
