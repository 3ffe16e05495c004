"""Figures with 95% intervals by the percentile bootstrap; those of counts are Wilson's. Plain numpy."""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from cataloger.records import Floats
from cataloger.utils import UNKNOWN, Share

Ints = npt.NDArray[np.int64]

DRAWS = 1000


def resampled_counts(counts: Ints) -> Ints:
    """Draw as many rows as were counted, with replacement; return how often each cell came: DRAWS x cells.

    That is the bootstrap over rows, for statistics that only need to know how many rows are in each cell. Seeded.
    """
    total = int(counts.sum())
    draws: Ints = np.random.default_rng(0).multinomial(total, counts / total, size=DRAWS)
    return draws


def resampled_rows(statistic: Callable[[Ints], float], rows: int) -> Floats:
    """Return a statistic of row numbers for DRAWS bootstrap samples of all rows. Seeded."""
    random = np.random.default_rng(0)
    return np.array([statistic(random.integers(rows, size=rows)) for _ in range(DRAWS)])


def between(value: float, draws: Floats) -> Share:
    """Return a value with the 95% percentile interval of its bootstrap draws."""
    if math.isnan(value):
        return UNKNOWN
    low, high = np.percentile(draws, [2.5, 97.5])
    return Share(value, float(low), float(high))
