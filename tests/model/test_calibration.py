"""Calibrations as bundles hold them."""

import pytest

from cataloger.errors import UsageError
from cataloger.model.calibration import Calibration

FULL = Calibration(1.5, 0.95, {"Hat": 0.8}, 0.7)


@pytest.mark.parametrize("calibration", [Calibration(), Calibration(2.0), FULL])
def test_a_calibration_is_read_as_it_was_written(calibration):
    assert Calibration.from_json(calibration.to_json()) == calibration


def test_what_is_not_set_is_not_written():
    assert Calibration(2.0).to_json() == {"temperature": 2.0}


@pytest.mark.parametrize(
    ("label", "confidence", "familiarity", "expected"),
    [
        ("Hat", 0.8, 0.7, "accept"),
        ("Hat", 0.79, 0.7, "review"),
        ("Top", 0.99, 0.7, "review"),
        ("Hat", 0.99, 0.69, "abstain"),
        ("Hat", 0.99, None, "accept"),
    ],
)
def test_decisions(label, confidence, familiarity, expected):
    assert FULL.decide(label, confidence, familiarity) == expected
    assert Calibration(1.5).decide(label, confidence, familiarity) is None


@pytest.mark.parametrize("values", [{"temperature": 0.0}, {"temperature": float("nan")}, {"target_precision": 1.0}])
def test_nonsense_is_refused(values):
    with pytest.raises(UsageError):
        Calibration(**values)
