"""Which images belong together: of one product, with the same bytes, or looking the same."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from cataloger.training.curation.inventory import Inventory
from cataloger.training.curation.near_duplicates import Indices, groups_of, near_pairs
from cataloger.training.data import Example


@dataclass(frozen=True, slots=True)
class Groups:
    """The group of each example, int64 N each. together: joined by any of the other three, or by a chain of them."""

    product: Indices
    same_bytes: Indices
    looks: Indices
    together: Indices


def find_groups(examples: Sequence[Example], inventory: Inventory) -> Groups:
    """Group examples, all of them readable."""
    count = len(examples)
    products = _equal_pairs([example.product or None for example in examples])
    same = _equal_pairs([digest or None for digest in inventory.sha256])
    near = near_pairs(inventory.phash) if count else np.empty((0, 2), dtype=np.int64)
    return Groups(
        product=groups_of(products, count),
        same_bytes=groups_of(same, count),
        looks=groups_of(near, count),
        together=groups_of(np.concatenate([products, same, near]), count),
    )


def members_of(groups: Indices) -> list[list[int]]:
    """Return the members of every group that has several, in the order of their first members."""
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    parts = (part.tolist() for part in np.split(order, starts[1:]) if len(part) > 1)
    return sorted(parts)


def _equal_pairs(keys: Sequence[Hashable]) -> Indices:
    """Pair every example with the first one of the same key; None is the key of nothing."""
    first: dict[Hashable, int] = {}
    pairs = [(first.setdefault(key, index), index) for index, key in enumerate(keys) if key is not None]
    return np.array([pair for pair in pairs if pair[0] != pair[1]], dtype=np.int64).reshape(-1, 2)
