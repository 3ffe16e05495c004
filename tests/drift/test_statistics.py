"""Drift in numbers: PSI and rates against values by hand and by scipy, and how often it cries wolf."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from cataloger.drift import statistics as drift
from cataloger.drift.statistics import (
    BINS,
    CELLS,
    EDGES,
    Profile,
    categories,
    change_of_mean_by_chance,
    confidence_bins,
    increase_by_chance,
    judge,
    psi,
    psi_by_chance,
)
from cataloger.errors import UsageError
from cataloger.options import DriftLimits

LIMITS = DriftLimits()


def counts(*values):
    return np.array(values, dtype=np.int64)


def draw(random, images, *, mix, peak=6.0, failed=0.01, abstain=0.05, review=0.25):
    """Draw answers for images. mix: shares of the categories. peak: confidences are beta(peak, 1)."""
    failures = int(random.binomial(images, failed))
    labels = random.multinomial(images - failures, mix)
    decisions = random.multinomial(images - failures, [abstain, review, 1 - abstain - review])
    named = {f"label {number}": int(count) for number, count in enumerate(labels) if count}
    decided = dict(zip(("abstain", "review", "accept"), map(int, decisions), strict=True))
    confidences = random.beta(peak, 1, size=images - failures)
    return replace(Profile.of(named, confidences, decided), failed=failures)


def verdicts(reference, now, limits=LIMITS):
    return {measure.name: measure.verdict for measure in judge(reference, now, limits)}


# the index


def test_psi_is_what_it_is_by_hand():
    by_hand = (0.9 - 0.5) * math.log(0.9 / 0.5) + (0.1 - 0.5) * math.log(0.1 / 0.5)
    assert psi(counts(50, 50), counts(90, 10)) == pytest.approx(by_hand) == pytest.approx(0.8789, abs=1e-4)
    assert psi(counts(90, 10), counts(500, 500)) == pytest.approx(by_hand)


def test_psi_of_the_same_mix_is_nothing():
    assert psi(counts(1, 2, 3), counts(100, 200, 300)) == pytest.approx(0.0, abs=1e-12)


def test_a_category_without_images_counts_as_half_an_image():
    p, q = (10 / 10.5, 0.5 / 10.5), (0.5, 0.5)
    by_hand = sum((b - a) * math.log(b / a) for a, b in zip(p, q, strict=True))
    assert psi(counts(10, 0), counts(5, 5)) == pytest.approx(by_hand)


def test_psi_by_chance_is_that_of_chi_square_where_no_category_is_rare():
    stats = pytest.importorskip("scipy.stats", reason="the extra 'train' is not installed")
    reference, now = counts(3000, 2000, 4000, 1000), counts(1500, 1000, 2000, 500)
    for level in (0.5, 0.01):
        expected = stats.chi2.ppf(1 - level, df=3) * (1 / 10_000 + 1 / 5_000)
        assert psi_by_chance(reference, now, level) == pytest.approx(expected, rel=0.05)


def test_half_of_the_deals_are_about_the_expected_value_of_yurdakul():
    """(k - 1)(1/n + 1/m), for 39 categories and twice 2,000 images; the median is a little below the mean."""
    images = np.full(39, 51)
    expected = 38 * (1 / images.sum() + 1 / images.sum())
    assert 0.95 * expected < psi_by_chance(images, images, 0.5) < 1.02 * expected


def test_categories_that_moved_most_come_first_with_those_that_one_side_lacks():
    found = categories(
        Profile({"Dress": 80, "Hat": 20}, *three_cells(100)), Profile({"Dress": 50, "Sock": 50}, *three_cells(100))
    )
    assert [(each.label, each.reference, each.now) for each in found] == [
        ("Sock", 0, 50), ("Hat", 20, 0), ("Dress", 80, 50),
    ]  # fmt: skip
    assert sum(each.psi for each in found) == pytest.approx(float(psi(counts(80, 20, 0), counts(50, 0, 50))))


def three_cells(images):
    return tuple(images if cell == 3 else 0 for cell in range(CELLS)), 0.9 * images, 0.81 * images


# confidence


def test_confidences_are_counted_between_the_edges():
    on_edges = Profile.of({"Dress": len(EDGES)}, np.array(EDGES), {})
    assert on_edges.confidences == (0, *[1] * len(EDGES))
    below = Profile.of({"Dress": 2}, np.array([0.0, 0.049]), {})
    assert below.confidences == (2, *[0] * len(EDGES))
    assert below.mean == pytest.approx(0.0245)


def test_ten_bins_hold_about_as_many_images_each():
    random = np.random.default_rng(0)
    sides = [Profile.of({"Dress": 5000}, random.uniform(size=5000), {}) for _ in range(2)]
    bins = confidence_bins(*sides)
    assert bins.shape == (2, BINS)
    assert bins.sum(axis=1).tolist() == [5000, 5000]
    assert all(700 < each < 1300 for each in bins.sum(axis=0))


def test_confidences_that_are_all_the_same_make_one_bin():
    same = Profile({"Dress": 300}, *three_cells(300))
    assert (confidence_bins(same, same).sum(axis=0) > 0).sum() == 1
    assert verdicts(same, same)["confidence"] == "ok"


def test_the_change_of_the_mean_by_chance_is_that_of_dealing_anew():
    random = np.random.default_rng(0)
    values = random.beta(6, 1, size=700)
    sides = [Profile.of({"Dress": len(each)}, each, {}) for each in (values[:200], values[200:])]
    dealt = [random.permutation(values) for _ in range(5000)]
    changes = [abs(each[200:].mean() - each[:200].mean()) for each in dealt]
    assert change_of_mean_by_chance(*sides, 0.05) == pytest.approx(np.quantile(changes, 0.95), rel=0.05)


# rates


def test_an_increase_by_chance_is_the_smallest_one_that_is_hardly_ever_exceeded():
    hypergeometric = pytest.importorskip("scipy.stats", reason="the extra 'train' is not installed").hypergeom
    increase = increase_by_chance((20, 1000), (10, 300), 0.01)
    hits = round((increase + 30 / 1000) / (1 / 300 + 1 / 1000))
    exceeded = [hypergeometric.sf(each, 1300, 30, 300) for each in (hits, hits - 1)]
    assert exceeded[0] <= 0.012
    assert exceeded[1] > 0.009


def test_one_failure_of_three_images_is_chance():
    same = Profile({"Dress": 2}, *three_cells(2), failed=1)
    for reference in (replace(same, labels={"Dress": 3}, failed=0), replace(same, labels={"Dress": 1000}, failed=0)):
        assert verdicts(reference, same, DriftLimits(min_images=3))["failed"] == "within chance"


def test_a_rate_that_falls_is_no_drift():
    random = np.random.default_rng(0)
    worse, better = (draw(random, 2000, mix=[0.5, 0.5], failed=rate, abstain=rate) for rate in (0.3, 0.0))
    found = verdicts(worse, better)
    assert (found["failed"], found["abstain"]) == ("ok", "ok")


# verdicts


MIX = np.random.default_rng(39).dirichlet(np.full(39, 0.5))


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"mix": np.roll(MIX, 7)}, "category mix"),
        ({"peak": 2.0}, "confidence"),
        ({"peak": 2.0}, "mean confidence"),
        ({"failed": 0.1}, "failed"),
        ({"abstain": 0.2}, "abstain"),
        ({"review": 0.5}, "review"),
    ],
)
def test_a_real_shift_trips_its_measure(changed, name):
    random = np.random.default_rng(1)
    reference, now = draw(random, 5000, mix=MIX), draw(random, 400, **{"mix": MIX, **changed})
    assert verdicts(reference, now)[name] == "drifted"


def test_a_rise_of_the_mean_confidence_trips_as_well_as_a_fall():
    random = np.random.default_rng(1)
    sides = [draw(random, 400, mix=MIX, peak=peak) for peak in (2.0, 6.0)]
    assert verdicts(*sides)["mean confidence"] == verdicts(*reversed(sides))["mean confidence"] == "drifted"


def test_a_limit_that_is_not_reached_is_no_drift_however_certain_the_change_is():
    random = np.random.default_rng(1)
    reference, now = (draw(random, 20_000, mix=MIX, abstain=rate) for rate in (0.05, 0.08))
    (abstain,) = (each for each in judge(reference, now, LIMITS) if each.name == "abstain")
    assert abstain.verdict == "ok"
    assert abstain.drift > abstain.chance


def is_beyond_a_limit(*sides):
    """Tell whether any measure is, with few deals: without that none trips, whatever chance does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drift, "DRAWS", drift.DRAWS_PER_BATCH)
        return any(abs(each.drift) > each.limit for each in judge(*sides, LIMITS))


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [(220, 220), (10_000, 250)])
def test_without_drift_fewer_than_two_of_a_hundred_checks_trip(before, after):
    random, checks = np.random.default_rng(0), 120
    sides = [(draw(random, before, mix=MIX), draw(random, after, mix=MIX)) for _ in range(checks)]
    tripped = sum("drifted" in verdicts(*each).values() for each in sides if is_beyond_a_limit(*each))
    assert tripped < 0.02 * checks


def test_psi_alone_would_trip_on_few_images_without_drift():
    """Why there is a second condition: the usual threshold is below what chance does here."""
    random = np.random.default_rng(0)
    sides = [draw(random, 220, mix=MIX) for _ in range(2)]
    (mix,) = (each for each in judge(*sides, LIMITS) if each.name == "category mix")
    assert mix.drift > mix.limit
    assert mix.verdict == "within chance"


def test_fewer_images_than_asked_for_on_either_side_are_not_judged():
    random = np.random.default_rng(0)
    many, few = draw(random, 5000, mix=MIX, failed=0), draw(random, 199, mix=np.roll(MIX, 7), failed=0)
    assert set(verdicts(many, few).values()) == set(verdicts(few, many).values()) == {"too few images"}
    assert verdicts(many, few, DriftLimits(min_images=199))["category mix"] == "drifted"


def test_a_run_of_failures_is_judged_by_them_alone():
    found = verdicts(draw(np.random.default_rng(0), 1000, mix=MIX), Profile(failed=300))
    assert found.pop("failed") == "drifted"
    assert set(found.values()) == {"too few images"}


def test_what_nobody_counted_or_decided_is_not_recorded():
    random = np.random.default_rng(0)
    reference, now = (draw(random, 1000, mix=MIX) for _ in range(2))
    found = verdicts(replace(reference, failed=None, decisions={}), now)
    assert [name for name, verdict in found.items() if verdict == "not recorded"] == ["failed", "abstain", "review"]


def test_nothing_can_be_compared_with_nothing():
    found = verdicts(Profile(failed=0), Profile(failed=0))
    assert set(found.values()) == {"too few images"}


@pytest.mark.parametrize(
    "values", [{"max_category_psi": -0.1}, {"max_abstain_increase": math.nan}, {"min_images": 0}]
)
def test_limits_that_make_no_sense_are_refused(values):
    with pytest.raises(UsageError):
        DriftLimits(**values)


# what a bundle holds


def test_a_profile_comes_back_from_json():
    profile = draw(np.random.default_rng(0), 300, mix=MIX)
    assert Profile.from_json(json.loads(json.dumps(profile.to_json()))) == profile


def test_a_profile_of_another_grid_of_confidences_is_refused():
    values = {**Profile().to_json(), "confidences": [1, 2, 3]}
    with pytest.raises(ValueError, match="3 cells of confidences"):
        Profile.from_json(values)
