"""Where a limit lies below which an image is abstained from, and when one shop gets its own."""

import numpy as np
import pytest

from cataloger.adaptation import abstain_limit, learn_abstaining
from cataloger.inference import Ranking, Scores, known_images, log_sum_exp
from cataloger.model import Calibration

LABELS = ("Dress", "Hat")
FAMILIAR = Calibration(1.0, 0.95, {"Dress": 0.5, "Hat": 0.5}, least_familiarity=0.5)


def scores(sums, familiarity=None):
    """Return scores of images whose log of the summed exponentials is as given; the first label is nearly sure."""
    logits = np.stack([np.asarray(sums, dtype=np.float64), np.asarray(sums) - 40.0], axis=1).astype(np.float32)
    known = None if familiarity is None else np.broadcast_to(np.float32(familiarity), (len(logits),))
    return Scores(logits, known)


@pytest.mark.parametrize("count", [5, 99, 100, 101, 150, 199, 200, 1234])
def test_at_most_one_in_a_hundred_lies_below_the_limit(count):
    values = np.random.default_rng(count).normal(size=count)
    limit = abstain_limit(values)
    below = int((values < limit).sum())
    assert below <= count / 100
    assert int((values <= limit).sum()) > count / 100 - 1  # and no larger limit would do


def test_the_log_of_the_sum_decides_where_there_is_a_limit_for_it_and_familiarity_elsewhere():
    images = Scores(scores([3.0, 1.0]).logits, np.array([0.1, 0.9], dtype=np.float32))
    assert known_images(FAMILIAR, images).tolist() == [False, True]
    by_sum = Calibration(1.0, 0.95, {"Dress": 0.5}, least_familiarity=0.5, least_log_sum_exp=2.0)
    assert known_images(by_sum, images).tolist() == [True, False]
    assert [each.decision for each in Ranking(LABELS, by_sum, 2).of_all(images)] == ["accept", "abstain"]
    assert known_images(Calibration(), images).all()


def test_labels_that_a_shop_does_not_sell_count_in_the_sum():
    images = Scores(np.array([[0.0, 9.0]], dtype=np.float32))
    sold = Calibration(1.0, 0.95, {"Dress": 0.5}, least_log_sum_exp=8.0, allowed=("Dress", "Hat"))
    assert log_sum_exp(images.logits)[0] > 8.0
    narrow = Ranking(("Dress", "Hat", "Sock"), sold, 2).of_all(Scores(np.array([[0.0, -1.0, 9.0]], np.float32)))
    assert narrow[0].decision == "accept"


def test_a_shop_gets_a_limit_of_its_own_where_the_old_one_costs_products_or_finds_fewer_of_the_others():
    sums = np.linspace(5.0, 10.0, 200)
    busy, others = scores(sums, 0.2), scores(np.linspace(0.0, 4.0, 20), 0.9)
    learned = learn_abstaining(FAMILIAR, busy, others)
    assert learned.least_log_sum_exp == pytest.approx(abstain_limit(sums), abs=1e-5)
    assert known_images(learned, busy).mean() >= 0.99
    assert not known_images(learned, others).any()
    assert (learned.temperature, learned.thresholds) == (FAMILIAR.temperature, FAMILIAR.thresholds)


@pytest.mark.parametrize(("products", "others"), [(99, 20), (200, 9), (200, 0)])
def test_too_few_images_teach_no_limit(products, others):
    found = learn_abstaining(FAMILIAR, scores(np.arange(products), 0.2), scores(np.zeros(others), 0.9))
    assert found is FAMILIAR


def test_what_tells_them_apart_already_stays():
    found = learn_abstaining(FAMILIAR, scores(np.arange(200), 0.9), scores(np.full(20, 150.0), 0.1))
    assert found is FAMILIAR
