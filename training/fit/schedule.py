"""The learning rate, a pure function of the step and of the validation losses so far."""

import math
from collections.abc import Sequence

from cataloger.training.recipes import Recipe

PLATEAU_FACTOR = 0.9


def learning_rate(step: int, *, steps: int, recipe: Recipe, losses: Sequence[float] = ()) -> float:
    """Return the rate of a step, counted from 0, out of `steps`. losses: validation loss of each epoch so far."""
    if recipe.schedule == "plateau":
        return recipe.learning_rate * PLATEAU_FACTOR ** _epochs_without_progress(losses)
    warmup = max(1, round(recipe.warmup * steps))
    if step < warmup:
        return recipe.learning_rate * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return recipe.learning_rate * 0.5 * (1.0 + math.cos(math.pi * done))


def _epochs_without_progress(losses: Sequence[float]) -> int:
    lowest, count = math.inf, 0
    for loss in losses:
        count += loss >= lowest
        lowest = min(lowest, loss)
    return count
