"""Which images an epoch shows, and in which order: a function of seed and epoch alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cataloger.training.recipes import Recipe

Indices = npt.NDArray[np.int64]
Weights = npt.NDArray[np.float64]

VALUES_NAMED = 12
NO_PRODUCT_SHARE = 1 / 8
NO_PRODUCT_REPEATS = 4.0


@dataclass(frozen=True, slots=True)
class BalancedColumn:
    """A column by which images are drawn. values: of each image.

    shares: of each value, relative to the others; empty: the square root of its number of images.
    """

    values: Sequence[str]
    shares: Mapping[str, float]

    def within(self, parents: Indices) -> tuple[Indices, Weights]:
        """Return (number of the cell of each image, share of its parent's draws of each cell).

        A cell is a value within a parent: shares of the values that a parent has add up to 1. parents: number of the
        parent of each image.
        """
        names, numbers = np.unique(np.array(self.values, object), return_inverse=True)
        cells, first, numbers, counts = np.unique(
            parents * len(names) + numbers, return_index=True, return_inverse=True, return_counts=True
        )
        wanted = [self.shares[names[cell % len(names)]] for cell in cells] if self.shares else np.sqrt(counts)
        parent_of = parents[first]
        share = np.asarray(wanted, np.float64) / np.bincount(parent_of, wanted)[parent_of]
        return numbers, share


def draw_weights(
    accepted: npt.NDArray[np.bool_], balance: float, columns: Sequence[BalancedColumn] = ()
) -> Weights | None:
    """Return how often each image is drawn, relative to the others; None for all alike.

    An image of a category with n images weighs n ** -balance. Where several labels are accepted, each counts for
    its share, and the image gets the mean of their weights. accepted: bool N x labels. columns: categories are
    balanced within each value of the first column, so that no source is drawn for one category alone. Each column
    divides what the one before it has given to a value: shares of two columns that divided all images each could not
    hold together where one source has one group an image and another has ten groups of hundreds.
    """
    if balance == 0.0 and not columns:
        return None
    cells = np.zeros(len(accepted), np.int64)
    weights = _category_weights(accepted, balance)
    for place, column in enumerate(columns):
        parents = cells
        cells, shares = column.within(parents)
        if place == 0:
            for number in range(len(shares)):
                weights[cells == number] = _category_weights(accepted[cells == number], balance)
        # What its parent has been given, divided by the shares of its cells.
        weights *= np.bincount(parents, weights)[parents] * shares[cells] / np.bincount(cells, weights)[cells]
    weights /= weights.mean()
    return weights


def drawn_by(column: BalancedColumn, weights: Weights) -> str:
    """Say in one line what share of the draws each value of a column gets; of many values, the range of shares."""
    names, numbers, counts = np.unique(np.array(column.values, object), return_inverse=True, return_counts=True)
    shares = np.bincount(numbers, weights) / weights.sum()
    if len(names) > VALUES_NAMED:
        return f"{len(names):,} values, {shares.min():.2%} to {shares.max():.2%} each"
    order = np.argsort(-shares, kind="stable")
    return ", ".join(f"{names[place]} {shares[place]:.1%} of {counts[place]:,}" for place in order)


def with_no_products(weights: Weights | None, is_product: npt.NDArray[np.bool_]) -> Weights:
    """Return the weights of all images, given those of the products, None for all alike.

    Images that show no product are NO_PRODUCT_SHARE of those drawn, or fewer where each would be drawn more than
    NO_PRODUCT_REPEATS times as often as a product: a few would be learned by heart. is_product: bool N.
    """
    products, others = int(is_product.sum()), int((~is_product).sum())
    repeats = min(NO_PRODUCT_REPEATS, NO_PRODUCT_SHARE / (1 - NO_PRODUCT_SHARE) * products / others)
    every = np.full(len(is_product), repeats)
    every[is_product] = 1.0 if weights is None else weights
    scaled: Weights = every / every.mean()
    return scaled


def _category_weights(accepted: npt.NDArray[np.bool_], balance: float) -> Weights:
    shares = accepted / accepted.sum(axis=1, keepdims=True)
    counts = np.maximum(shares.sum(axis=0), 1.0)
    weights: Weights = (shares * counts**-balance).sum(axis=1)
    return weights


def epoch_batches(rows: Indices, weights: Weights | None, *, epoch: int, recipe: Recipe, seed: int) -> list[Indices]:
    """Return the rows of every batch of an epoch.

    Without weights each image appears once; with weights (one for each of `rows`) as many images are drawn as there
    are, systematically: one of weight 2.4 appears two or three times, and one of weight 0.5 every other epoch.
    A last batch of one is left out: a batch norm in training mode would learn from a single image.
    """
    random = np.random.default_rng([seed, epoch])
    drawn = rows if weights is None else rows[_systematic(weights, random)]
    order = random.permutation(drawn)
    batches = [order[start : start + recipe.batch_size] for start in range(0, len(order), recipe.batch_size)]
    return [batch for batch in batches if len(batch) > 1]


def share_of(batches: Sequence[Indices], *, rank: int, processes: int) -> list[Indices]:
    """Return one process's share of each batch; all get equally many, so that none waits for ever."""
    shares = []
    for batch in batches:
        even = len(batch) - len(batch) % processes
        if even // processes > 1:
            shares.append(batch[rank:even:processes])
    return shares


def sample(rows: Indices, most: int, seed: int) -> Indices:
    """Return at most so many of some rows, drawn by the seed, in order."""
    return np.sort(np.random.default_rng([seed, 7]).permutation(rows)[:most])


def _systematic(weights: Weights, random: np.random.Generator) -> Indices:
    """Draw len(weights) positions with one random start: their counts differ from the expected by less than one."""
    ends = np.cumsum(weights / weights.sum() * len(weights))
    points = random.uniform() + np.arange(len(weights))
    found: Indices = np.minimum(np.searchsorted(ends, points), len(weights) - 1)
    return found
