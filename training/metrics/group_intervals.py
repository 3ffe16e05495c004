"""Intervals over groups of images: those of one shop, sender or product are alike, and a new one is what will come.

A bootstrap over images asks how the figure would move with other images of the same groups; one over groups, with
other groups. The second interval is the wider one wherever groups differ.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from cataloger.records import Floats
from cataloger.training.metrics.calibration import Bools
from cataloger.training.metrics.confidence_intervals import Ints, between, resampled_rows
from cataloger.utils import UNKNOWN, Share


@dataclass(frozen=True, slots=True)
class ImageGroups:
    """Which images belong together. numbers: of the group of each image, 0 to count - 1."""

    numbers: Ints
    count: int

    @classmethod
    def of(cls, names: Sequence[str]) -> "ImageGroups | None":
        """Make them of the names of images' groups; an image without one is a group of its own.

        None where no two images belong together, or all do: then there is no such interval.
        """
        own = (name or f"\0{number}" for number, name in enumerate(names))
        found, numbers = np.unique(np.array(list(own), dtype=object), return_inverse=True)
        return cls(numbers.astype(np.int64), len(found)) if 1 < len(found) < len(names) else None

    def rows(self, chosen: Bools) -> "ImageGroups | None":
        """Return those of some images. chosen: bool N."""
        return ImageGroups.of([str(number) for number in self.numbers[chosen]])

    def share(self, part: Bools, whole: Bools | None = None) -> Share:
        """Return the share of `part` among `whole`, by default all images, with its interval. Both: bool N."""
        return self._interval([self._sums(part), self._sums(whole)], lambda sums: sums[0] / sums[1])

    def difference(self, a: Bools, b: Bools, whole_a: Bools | None = None, whole_b: Bools | None = None) -> Share:
        """Return the share of `b` minus that of `a`, with its paired interval."""
        sums = [self._sums(each) for each in (a, whole_a, b, whole_b)]
        return self._interval(sums, lambda found: found[2] / found[3] - found[0] / found[1])

    def _sums(self, chosen: Bools | None) -> Floats:
        sums: Floats = np.bincount(self.numbers, weights=chosen, minlength=self.count).astype(np.float64)
        return sums

    def _interval(self, sums: Sequence[Floats], figure: Callable[[Floats], float]) -> Share:
        table = np.stack(sums)
        with np.errstate(divide="ignore", invalid="ignore"):
            value = float(figure(table.sum(axis=1)))
            draws = resampled_rows(lambda rows: float(figure(table[:, rows].sum(axis=1))), self.count)
        finite = draws[np.isfinite(draws)]
        return between(value, finite) if np.isfinite(value) and len(finite) else UNKNOWN
