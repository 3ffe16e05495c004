"""Bootstrap intervals against the normal theory that they must agree with on many images."""

import math

import numpy as np
import pytest

from cataloger.training.metrics.calibration import calibration_error
from cataloger.training.metrics.confidence_intervals import between, resampled_counts, resampled_rows


def test_the_bootstrap_of_a_share_agrees_with_its_standard_error():
    counts = np.array([700, 300])
    share = between(0.7, resampled_counts(counts)[:, 0] / 1000)
    margin = 1.96 * math.sqrt(0.7 * 0.3 / 1000)
    assert share.low == pytest.approx(0.7 - margin, abs=0.004)
    assert share.high == pytest.approx(0.7 + margin, abs=0.004)


def test_resampling_counts_is_resampling_rows():
    rows = np.repeat([0, 1, 2], [50, 30, 20])
    by_rows = resampled_rows(lambda drawn: float((rows[drawn] == 2).mean()), 100)
    by_counts = resampled_counts(np.array([50, 30, 20]))[:, 2] / 100
    assert by_counts.mean() == pytest.approx(by_rows.mean(), abs=0.006)
    assert by_counts.std() == pytest.approx(by_rows.std(), abs=0.004)


def test_every_draw_has_as_many_rows_as_there_are():
    assert set(resampled_counts(np.array([3, 4, 5])).sum(axis=1)) == {12}


def test_the_same_data_gives_the_same_interval():
    confidence = np.linspace(0.4, 0.99, 200)
    correct = confidence > 0.6
    assert calibration_error(confidence, correct) == calibration_error(confidence, correct)
