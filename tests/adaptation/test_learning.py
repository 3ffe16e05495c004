"""A shop whose scores are shifted is put right from few labels; what gains nothing is refused."""

from dataclasses import replace

import numpy as np
import pytest
from shifted_shops import COUNT, LABELS, labelled, shop

from cataloger.adaptation import learn_adaptation, learn_unlabelled
from cataloger.adaptation.cross_validation import Folded
from cataloger.adaptation.minimize import minimize
from cataloger.adaptation.score_maps import CANDIDATES, Candidate, learn
from cataloger.errors import TrainingError
from cataloger.inference import Ranking, Scores, adapted_scores
from cataloger.model import Calibration


def share_right(scores, truth, calibration):
    answers = Ranking(LABELS, calibration, 1).of_all(Scores(scores))
    return np.mean([answer.labels[0] == LABELS[right] for answer, right in zip(answers, truth, strict=True)])


@pytest.mark.parametrize(
    "shift",
    [
        {"bias": np.array([6.0, 0, 0, 0, 0, 0])},
        {"mixing": np.roll(np.eye(COUNT), 1, axis=0) * 0.8 + np.eye(COUNT) * 0.2},
    ],
    ids=["biases", "map"],
)
def test_a_shifted_shop_is_put_right(shift):
    found = learn_adaptation(labelled(*shop(80, **shift)), Calibration(), target=0.9)
    assert found.gains
    others = shop(1000, seed=1, **shift)
    before, after = (share_right(*others, each) for each in (Calibration(), found.calibration))
    assert after > before + 0.3
    # What is said of it holds on images that it has never seen.
    assert after == pytest.approx(found.after.right / found.after.images, abs=0.12)


def refusals(seeds, draw):
    """Count the shops of some seeds for which nothing is adapted. draw: seed -> labelled scores."""
    return sum(learn_adaptation(draw(seed), Calibration(), target=0.9).calibration is None for seed in seeds)


def independent(seed, images=40, sharpness=4.0):
    """Draw confident scores that say nothing of the labels."""
    random = np.random.default_rng(1000 + seed)
    scores = random.normal(0, sharpness, (images, COUNT)).astype(np.float32)
    return labelled(scores, random.integers(COUNT, size=images))


def test_what_gains_nothing_is_refused_with_its_figures():
    assert refusals(range(10), lambda seed: labelled(*shop(60, seed=seed))) >= 9
    found = learn_adaptation(labelled(*shop(60)), Calibration(), target=0.9)
    assert found.before.images == found.after.images == 60
    assert 0 <= found.chance <= 1


def test_labels_that_the_scores_know_nothing_of_are_refused():
    assert refusals(range(20), independent) >= 19


@pytest.mark.long
@pytest.mark.parametrize("images", [20, 60, 150])
def test_labels_that_the_scores_know_nothing_of_are_refused_in_nearly_all_shops(images):
    assert refusals(range(100), lambda seed: independent(seed, images)) >= 95


def test_a_gain_of_a_few_points_is_accepted_from_some_more_labels():
    shift = {"bias": np.array([2.5, 0, 0, 0, 0, 0]), "noise": 2.0}
    found = [
        learn_adaptation(labelled(*shop(300, seed=seed, **shift)), Calibration(), target=0.9) for seed in range(5)
    ]
    assert all(each.gains for each in found)
    before, after = (sum(getattr(each, when).right for each in found) / 900 for when in ("before", "after"))
    assert 0.03 < after - before < 0.2


def test_the_candidate_that_judges_a_fold_has_not_seen_it():
    """Labels that contradict all others in one fold change what is learned for the others, and not for it."""
    scores, truth = shop(60, bias=np.array([3.0, 0, 0, 0, 0, 0]))
    groups = np.arange(60)
    dealt = Folded.deal(scores, np.eye(COUNT, dtype=bool)[truth], np.ones(COUNT, bool), groups)
    mine = dealt.folds == 0
    odd = Folded.deal(
        scores, np.eye(COUNT, dtype=bool)[np.where(mine, (truth + 1) % COUNT, truth)], np.ones(COUNT, bool), groups
    )
    first, second = dealt.choose(CANDIDATES), odd.choose(CANDIDATES)
    assert first.by_fold[0] == second.by_fold[0]
    assert np.array_equal(dealt.mapped(first.by_fold)[mine], odd.mapped(second.by_fold)[mine])
    assert not np.array_equal(dealt.mapped(first.by_fold)[~mine], odd.mapped(second.by_fold)[~mine])


def test_images_of_a_product_are_judged_by_maps_that_have_not_seen_them():
    scores, _ = shop(12)
    truth = np.random.default_rng(5).integers(COUNT, size=12)  # labels that nothing in the scores tells
    copies = np.repeat(np.arange(12), 8)
    random = np.random.default_rng(6)
    seen = scores[copies] + random.normal(0, 0.01, (96, COUNT)).astype(np.float32)
    found = learn_adaptation(labelled(seen, truth[copies], groups=copies), Calibration(), target=0.9)
    assert not found.gains


def test_several_labels_may_be_right():
    scores, truth = shop(60, bias=np.array([6.0, 0, 0, 0, 0, 0]))
    accepted = np.eye(COUNT, dtype=bool)[truth]
    accepted[truth == 1, 2] = True
    found = learn_adaptation(replace(labelled(scores, truth), accepted=accepted), Calibration(), target=0.9)
    assert found.gains


def test_labels_that_are_not_sold_stay_out():
    scores, truth = shop(80, bias=np.array([0, 6.0, 0, 0, 0, 0]))
    shipped = Calibration(allowed=tuple("bcdef"))
    found = learn_adaptation(labelled(scores, truth), shipped, target=0.9)
    assert found.before.images == (truth != 0).sum()
    assert found.calibration.allowed == shipped.allowed
    answers = Ranking(LABELS, found.calibration, 5).of_all(Scores(scores))
    assert all("a" not in answer.labels for answer in answers)


def test_too_few_labels_are_refused():
    with pytest.raises(TrainingError, match="9 products with a label are too few"):
        learn_adaptation(labelled(*shop(9)), Calibration(), target=0.9)


def test_the_frequencies_of_a_shop_are_found_without_labels():
    prior = np.array([0.7, 0.2, 0.1, 0, 0, 0])
    scores, truth = shop(2000, prior=prior, noise=2.0)
    sharp = scores / np.float32(1.0)  # likelihoods of normal noise of deviation 2 are these scores
    found = learn_unlabelled(sharp, LABELS, Calibration())
    assert share_right(scores, truth, found) > share_right(scores, truth, Calibration()) + 0.02


def test_a_map_for_the_scores_as_they_are_is_the_one_that_was_learned():
    scores, truth = shop(50, mixing=np.roll(np.eye(COUNT), 1, axis=0))
    scores = scores.astype(np.float64)
    sold, accepted = np.ones(COUNT, bool), np.eye(COUNT, dtype=bool)[truth]
    learned = learn(Candidate("map", 3.0), scores / 2.0, accepted, sold)
    calibration = Calibration(2.0, adaptation=learned.score_map(2.0))
    expected = learned.of(scores / 2.0)
    found = adapted_scores(scores, LABELS, calibration) / 2.0
    assert np.allclose(found - found.mean(axis=1, keepdims=True), expected - expected.mean(axis=1, keepdims=True))


def test_minimising_finds_the_least_value():
    random = np.random.default_rng(0)
    matrix = random.normal(size=(8, 8))
    hessian, wanted = matrix @ matrix.T + np.eye(8), random.normal(size=8)

    def value(point):
        step = point - wanted
        return float(0.5 * step @ hessian @ step), hessian @ step

    assert np.allclose(minimize(value, np.zeros(8)), wanted, atol=1e-2)
