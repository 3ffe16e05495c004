"""What labels are worth: weighted to the catalog, with intervals, and whether more of them pay."""

import numpy as np
import pytest
from shifted_shops import COUNT, labelled, shop

from cataloger.adaptation import Standing, measure_labels, weigh
from cataloger.errors import TrainingError
from cataloger.model import Calibration


def measured(images, *, seed=0, weights=None, **shift):
    scores, truth = shop(images, seed=seed, **shift)
    best = scores.argmax(axis=1)
    standing = Standing(best, best == truth, np.ones(images) if weights is None else weights(best, truth))
    return measure_labels(labelled(scores, truth), standing, Calibration(), target=0.9)


def test_it_says_what_is_right_now_and_what_an_adaptation_would_make_of_it():
    found = measured(80, bias=np.array([6.0, 0, 0, 0, 0, 0]))
    assert found.images == 80
    assert found.gains
    assert found.adapted.right.value > found.now.right.value + 0.3
    assert found.now.right.low < found.now.right.value < found.now.right.high
    assert found.now.accepted_right.value == 1.0


def test_more_labels_pay_while_a_map_is_learned_and_hardly_when_it_is():
    mixing = np.roll(np.eye(COUNT), 1, axis=0) * 0.8 + np.eye(COUNT) * 0.2
    early, late = (measured(images, mixing=mixing, noise=2.5) for images in (40, 600))
    assert early.more > late.more
    assert early.pays
    assert not late.pays


def test_with_a_few_labels_it_is_too_early_to_tell():
    found = measured(20)
    assert found.more is None
    assert found.pays
    with pytest.raises(TrainingError, match="too few"):
        measured(9)


def test_images_count_by_what_they_stand_for():
    """Those that are answered wrong were asked for nine times as often as they are."""
    plain = measured(200, noise=3.0)
    weighted = measured(200, noise=3.0, weights=lambda best, truth: np.where(best == truth, 9.0, 1.0))
    wrong = 1 - plain.now.right.value
    assert weighted.now.right.value == pytest.approx(1 - wrong / (wrong + 9 * (1 - wrong)))
    width = [each.now.right.high - each.now.right.low for each in (plain, weighted)]
    assert width[0] > 0 < width[1]


def test_weights_spread_the_labelled_as_the_catalog_is():
    answers, bands = ["a", "a", "a", "b"], [0, 0, 1, 1]
    weights = weigh([answers, bands], [{"a": 50, "b": 50}, {0: 30, 1: 70}])
    assert weights[:3].sum() == pytest.approx(50)
    assert weights[:2].sum() == pytest.approx(30)
    assert weights[3] == pytest.approx(50)
    assert weigh([["a"], ["x"]], [{"a": 5}, {"y": 5}]).tolist() == [0.0]
