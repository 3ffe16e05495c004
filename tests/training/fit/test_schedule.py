"""The learning rate, what an epoch draws, and how a recipe is chosen."""

from dataclasses import replace

import numpy as np
import pytest

from cataloger.errors import UsageError
from cataloger.training.fit.schedule import learning_rate
from cataloger.training.inputs.sampling import BalancedColumn, draw_weights, drawn_by, epoch_batches, share_of
from cataloger.training.recipes import RECIPES, choose_recipe

QUICK = replace(RECIPES["quick"], learning_rate=1.0, warmup=0.1, batch_size=8)


def test_the_rate_warms_up_and_falls_to_zero():
    rates = [learning_rate(step, steps=100, recipe=QUICK) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9] == rates[10] == 1.0
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 0.001


def test_on_a_plateau_the_rate_falls_to_nine_tenths():
    paper = RECIPES["paper"]
    losses = [1.0, 0.8, 0.9, 0.8, 0.7]  # the third and fourth are no progress
    rates = [learning_rate(5, steps=100, recipe=paper, losses=losses[:epochs]) for epochs in range(6)]
    assert rates == pytest.approx([1e-4, 1e-4, 1e-4, 0.9e-4, 0.81e-4, 0.81e-4])


def test_an_epoch_holds_every_image_once_and_differs_from_the_next():
    first, again, second = (
        [rows.tolist() for rows in epoch_batches(np.arange(25), None, epoch=epoch, recipe=QUICK, seed=0)]
        for epoch in (0, 0, 1)
    )
    assert sorted(row for batch in first for row in batch)[:24] == sorted(row for batch in again for row in batch)
    assert len({row for batch in first for row in batch}) == 24  # a last batch of one is left out
    assert first == again != second


@pytest.mark.parametrize(("balance", "rare"), [(0.5, 25), (1.0, 50)])
def test_rare_categories_are_drawn_more_often(balance, rare):
    accepted = np.zeros((100, 2), dtype=bool)
    accepted[:90, 0] = accepted[90:, 1] = True
    weights = draw_weights(accepted, balance)
    drawn = np.concatenate(epoch_batches(np.arange(100), weights, epoch=3, recipe=QUICK, seed=1))
    assert len(drawn) == 100
    assert (drawn >= 90).sum() == pytest.approx(rare, abs=1)


def test_without_balance_all_images_are_alike():
    assert draw_weights(np.eye(3, dtype=bool), 0.0) is None


def drawn_shares(weights, values):
    return {value: weights[np.array(values) == value].sum() / weights.sum() for value in set(values)}


def test_a_column_without_shares_draws_by_the_square_root_of_the_number_of_images():
    shops = ["large"] * 90 + ["small"] * 10
    weights = draw_weights(np.ones((100, 1), dtype=bool), 0.0, [BalancedColumn(shops, {})])
    assert drawn_shares(weights, shops) == pytest.approx({"large": 0.75, "small": 0.25})


def test_a_further_column_divides_what_the_first_one_gives():
    """Where "home" has a group of its own for each image, the roots of all groups would leave little to the shops."""
    sources = ["shops"] * 45 + ["home"] * 55
    groups = ["a"] * 36 + ["b"] * 9 + [f"home {number}" for number in range(55)]
    columns = [BalancedColumn(sources, {"shops": 3, "home": 1}), BalancedColumn(groups, {})]
    weights = draw_weights(np.ones((100, 1), dtype=bool), 0.0, columns)
    assert drawn_shares(weights, sources) == pytest.approx({"shops": 0.75, "home": 0.25})
    of_shops = drawn_shares(weights[:45], groups[:45])
    assert of_shops["a"] / of_shops["b"] == pytest.approx(2.0)
    assert weights[45:] == pytest.approx(0.25 * 100 / 55)


def test_what_each_value_gets_is_said():
    column = BalancedColumn(["shops"] * 3 + ["home"], {})
    assert drawn_by(column, np.array([1.0, 1.0, 1.0, 9.0])) == "home 75.0% of 1, shops 25.0% of 3"
    many = BalancedColumn([str(number) for number in range(20)], {})
    assert drawn_by(many, np.array([1.0] * 18 + [2.0] * 1 + [5.0])) == "20 values, 4.00% to 20.00% each"


def test_a_value_that_two_values_of_the_first_column_share_is_divided_in_each():
    sources, kinds = ["shops"] * 6 + ["home"] * 4, ["x", "x", "x", "x", "y", "y", "x", "y", "y", "y"]
    columns = [BalancedColumn(sources, {"shops": 1, "home": 1}), BalancedColumn(kinds, {"x": 1, "y": 1})]
    weights = draw_weights(np.ones((10, 1), dtype=bool), 0.0, columns)
    assert drawn_shares(weights, sources) == pytest.approx({"shops": 0.5, "home": 0.5})
    for part in (slice(0, 6), slice(6, 10)):
        assert drawn_shares(weights[part], kinds[part]) == pytest.approx({"x": 0.5, "y": 0.5})


def test_categories_are_balanced_within_each_value_of_the_first_column():
    sources = ["shops"] * 40 + ["home"] * 40
    accepted = np.zeros((80, 2), dtype=bool)
    accepted[:30, 0] = accepted[30:40, 1] = accepted[40:50, 0] = accepted[50:, 1] = True
    weights = draw_weights(accepted, 1.0, [BalancedColumn(sources, {"shops": 1, "home": 1})])
    cells = [weights[:30].sum(), weights[30:40].sum(), weights[40:50].sum(), weights[50:].sum()]
    assert np.array(cells) / 80 == pytest.approx([0.25] * 4)


def test_processes_share_each_batch_and_take_equally_many():
    batches = [np.arange(9), np.arange(3)]
    shares = [share_of(batches, rank=rank, processes=2) for rank in (0, 1)]
    assert [[batch.tolist() for batch in share] for share in shares] == [[[0, 2, 4, 6]], [[1, 3, 5, 7]]]


@pytest.mark.parametrize(
    ("device", "images", "expected"), [("cuda", 10, "full"), ("cpu", 200, "full"), ("cpu", 2000, "quick")]
)
def test_the_recipe_suits_the_machine_and_says_why(device, images, expected):
    recipe, reason = choose_recipe("auto", device=device, images=images, processors=2)
    assert recipe.name == expected
    assert f"recipe {expected}" in reason
    assert "GPU" in reason


def test_a_recipe_can_be_changed_but_not_to_nonsense():
    recipe, reason = choose_recipe("paper", device="cpu", images=9, processors=2, changes={"epochs": 3})
    assert (recipe.epochs, recipe.batch_size, recipe.learning_rate, recipe.optimizer) == (3, 16, 1e-4, "sgd")
    assert "3 epochs" in reason
    with pytest.raises(UsageError, match="auto, quick, full, paper"):
        choose_recipe("fast", device="cpu", images=9, processors=2)
    with pytest.raises(UsageError, match="--balance"):
        choose_recipe("quick", device="cpu", images=9, processors=2, changes={"balance": 2.0})
