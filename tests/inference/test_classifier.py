"""From logits to predictions."""

import numpy as np
import pytest

from cataloger.inference.classifier import Ranking, Scores, calibrated_probabilities, classify, log_sum_exp, rank
from cataloger.model.calibration import Calibration
from cataloger.records import Batch, Failure, Image, Item, Prediction

LABELS = ("Belt", "Dress", "Hat", "Shirt", "Socks", "Tie")


class FixedLogits:
    """A classifier whose logits are the first pixels of each image."""

    labels = LABELS
    calibration = Calibration(2.0, 0.9, {"Dress": 0.8}, least_familiarity=0.5)
    device = "cpu"

    def scores(self, pixels):
        values = pixels[:, 0, :, 0].astype(np.float32)
        return Scores(np.where(values == 255, np.nan, values), pixels[:, 1, 0, 0] / np.float32(100))


def image(key, row, familiarity=90):
    pixels = np.zeros((len(row), len(row), 3), dtype=np.uint8)
    pixels[0, :, 0] = row
    pixels[1, 0, 0] = familiarity
    return Image(Item(key, key, "v"), "hash-" + key, pixels, 30, 40)


def test_predictions_carry_their_item_and_the_calibrated_top_k():
    (result,) = classify(FixedLogits(), Batch((image("a", [0, 9, 3, 1, 2, 5]),)), top_k=3)
    assert isinstance(result, Prediction)
    assert result.item.key == "a"
    assert result.labels == ("Dress", "Tie", "Hat")
    assert result.logits == (9.0, 5.0, 3.0)
    weights = np.exp(np.array([0, 9, 3, 1, 2, 5]) / 2.0)
    assert result.confidences == pytest.approx((weights / weights.sum())[[1, 5, 2]])
    assert result.log_sum_exp == pytest.approx(np.log(np.exp(np.array([0, 9, 3, 1, 2, 5])).sum()))


def test_ties_keep_the_order_of_the_labels():
    logits = np.array([[1.0, 5.0, 5.0, 1.0], [2.0, 1.0, 2.0, 3.0]], dtype=np.float32)
    assert rank(logits, 4).tolist() == [[1, 2, 0, 3], [3, 0, 2, 1]]


def test_fewer_labels_than_k_give_fewer_predictions():
    assert rank(np.array([1.0, 2.0], dtype=np.float32), 5).tolist() == [1, 0]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 128])
def test_an_answer_does_not_depend_on_what_it_was_computed_with(count):
    """A recalibration ranks one result at a time, a run a batch: to the last bit they are the same."""
    random = np.random.default_rng(count)
    labels = tuple(f"label {number:02}" for number in range(39))
    logits = random.normal(0, 6, (count, 39)).astype(np.float32)
    familiarity = random.random(count).astype(np.float32)
    ranking = Ranking(labels, Calibration(1.37, 0.9, dict.fromkeys(labels, 0.5), 0.3), 5)
    alone = [ranking.of(row, float(known)) for row, known in zip(logits, familiarity, strict=True)]
    assert ranking.of_all(Scores(logits, familiarity)) == alone


def test_scores_that_are_not_finite_fail_one_image_alone():
    batch = Batch((image("bad", [255, 9, 3, 1, 2, 5]), image("good", [0, 9, 3, 1, 2, 5])))
    bad, good = classify(FixedLogits(), batch, top_k=5)
    assert isinstance(bad, Failure)
    assert (bad.item.key, bad.code) == ("bad", "classify.not_finite")
    assert isinstance(good, Prediction)
    assert good.item.key == "good"


def test_large_logits_do_not_overflow():
    logits = np.array([[1e4, 1e4 - 1]], dtype=np.float32)
    assert np.isfinite(log_sum_exp(logits)).all()
    assert calibrated_probabilities(logits, 1.0).sum() == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("row", "familiarity", "expected"),
    [
        ([0, 9, 3, 1, 2, 5], 90, "accept"),
        ([0, 9, 8, 1, 2, 5], 90, "review"),  # not sure enough
        ([0, 3, 9, 1, 2, 5], 90, "review"),  # a label without a threshold
        ([0, 9, 3, 1, 2, 5], 49, "abstain"),
    ],
)
def test_an_answer_is_accepted_reviewed_or_none_at_all(row, familiarity, expected):
    (result,) = classify(FixedLogits(), Batch((image("a", row, familiarity),)), top_k=3)
    assert result.decision == expected
    assert result.familiarity == pytest.approx(familiarity / 100)


def test_all_scores_are_kept():
    (result,) = classify(FixedLogits(), Batch((image("a", [0, 9, 3, 1, 2, 5]),)), top_k=3)
    assert np.frombuffer(result.scores, "<f4").tolist() == [0, 9, 3, 1, 2, 5]
