"""Calibrations as bundles hold them."""

from dataclasses import replace

import pytest

from cataloger.errors import UsageError
from cataloger.model.calibration import Calibration, ShopFigures

FULL = Calibration(1.5, 0.95, {"Hat": 0.8}, 0.7)
SHOP = replace(FULL, least_log_sum_exp=-0.5, learned_in=ShopFigures("/photos", 80, 60, 57))


@pytest.mark.parametrize("calibration", [Calibration(), Calibration(2.0), FULL, SHOP])
def test_a_calibration_is_read_as_it_was_written(calibration):
    assert Calibration.from_json(calibration.to_json()) == calibration


def test_what_is_not_set_is_not_written():
    assert Calibration(2.0).to_json() == {"temperature": 2.0}


@pytest.mark.parametrize(
    ("label", "confidence", "is_known", "expected"),
    [
        ("Hat", 0.8, True, "accept"),
        ("Hat", 0.79, True, "review"),
        ("Top", 0.99, True, "review"),
        ("Hat", 0.99, False, "abstain"),
    ],
)
def test_decisions(label, confidence, is_known, expected):
    assert FULL.decide(label, confidence, is_known=is_known) == expected
    assert Calibration(1.5).decide(label, confidence, is_known=is_known) is None


@pytest.mark.parametrize("values", [{"temperature": 0.0}, {"temperature": float("nan")}, {"target_precision": 1.0}])
def test_nonsense_is_refused(values):
    with pytest.raises(UsageError):
        Calibration(**values)
