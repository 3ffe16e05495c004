"""The sample of products that two people review: chosen by a hash, so that each server chooses the same."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

DIGITS = 13
"""Of the hash of a product, which make its number. Those of products are spread evenly over all numbers."""
MOST = 16**DIGITS
SPREAD = np.uint64(0x9E3779B97F4A7C15)
"""2^64 over the golden ratio: spreads the ids of images without a product evenly (Knuth, 6.4)."""
UNUSED_BITS = np.uint64(64 - 4 * DIGITS)

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ReviewSample:
    """A share, from 0 to 1, of the products of a catalog; an image without a product counts as one."""

    share: float = 0.0

    def mask(self, products: NDArray[np.int64], items: NDArray[np.int64]) -> Mask:
        """Return which belong to it. products: numbers of their products, negative for none. items: their ids."""
        alone = ((items.astype(np.uint64) * SPREAD) >> UNUSED_BITS).astype(np.int64)
        found: Mask = np.where(products < 0, alone, products) < self.share * MOST
        return found

    def among(self, hashes: dict[int, str | None]) -> Collection[int]:
        """Return the images that belong to it. hashes: item -> hash of its product, None for none."""
        if not self.share or not hashes:
            return set()
        numbers = [-1 if each is None else int(each[:DIGITS], 16) for each in hashes.values()]
        items: NDArray[Any] = np.array(list(hashes), np.int64)
        return set(items[self.mask(np.array(numbers, np.int64), items)].tolist())
