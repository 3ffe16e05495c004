"""Shares with 95% intervals: Wilson's for counts, the percentile bootstrap for everything else. Plain numpy."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cataloger.records import Floats

Ints = npt.NDArray[np.int64]

Z95 = 1.959964
DRAWS = 1000


@dataclass(frozen=True, slots=True)
class Share:
    """A measured share with its 95% interval; all three are nan when there is nothing to measure."""

    value: float
    low: float
    high: float


UNKNOWN = Share(math.nan, math.nan, math.nan)


def wilson(successes: int, trials: int) -> Share:
    """Return a share with its 95% score interval (Wilson, 1927)."""
    if trials == 0:
        return UNKNOWN
    share, z2 = successes / trials, Z95**2
    centre = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    margin = Z95 / (1 + z2 / trials) * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials**2))
    return Share(share, max(0.0, centre - margin), min(1.0, centre + margin))


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
