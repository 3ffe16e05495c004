"""Measured shares with their 95% intervals."""

import math
from dataclasses import asdict, dataclass

Z95 = 1.959964


@dataclass(frozen=True, slots=True)
class Share:
    """A measured share with its 95% interval; all three are nan when there is nothing to measure."""

    value: float
    low: float
    high: float

    def as_json(self) -> dict[str, float | None]:
        """Return plain JSON values; null where there is nothing to measure."""
        return {name: None if math.isnan(value) else value for name, value in asdict(self).items()}


UNKNOWN = Share(math.nan, math.nan, math.nan)


def wilson(successes: float, trials: float) -> Share:
    """Return a share with its 95% score interval (Wilson, 1927). Weighted counts may be no whole numbers."""
    if trials == 0:
        return UNKNOWN
    share, z2 = successes / trials, Z95**2
    centre = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    margin = Z95 / (1 + z2 / trials) * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials**2))
    return Share(share, max(0.0, centre - margin), min(1.0, centre + margin))
