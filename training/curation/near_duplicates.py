"""Images that look the same: perceptual hashes at most `MAX_DISTANCE` bits of 256 apart.

The distance was chosen on 48,506 photos of clothes (43,479 of them products on white, 5,027 private photos):

    distance    pairs    same article type    images in groups    largest group
           0      887                99.3%               1,411                6
        <= 4    1,438                98.6%               1,980               13
       <= 10    2,312                98.1%               2,525               20
       <= 14    3,000                98.2%               2,825               74
       <= 24    7,109                98.4%               4,503              177

Up to 10 the pairs are the same picture saved again or the same product in another colour; from 12 on plain products
of one outline (ties) begin to form chains. Of the 906 pairs that the data set names as identical at full size, 904
are within 10 and all within 12. A picture saved again at quality 50, at half or at twice its size stays within 10 in
99.9% of 1,800 cases, one made 15% brighter in 63% (on white) to 95%; a picture cropped by 2% or mirrored does not,
and counts as another one.

Two hashes at most d bits apart agree entirely in at least one of d + 1 bands of bits (the pigeonhole principle), so
only images that share a band are compared, and no pair within the distance is missed.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from cataloger.training.curation.inventory import Hashes

MAX_DISTANCE = 10
BLOCK = 2_000_000  # pairs compared at once

Indices = npt.NDArray[np.int64]


def near_pairs(hashes: Hashes, *, distance: int = MAX_DISTANCE) -> Indices:
    """Return all pairs within a distance, int64 P x 2, first below second, sorted. hashes: uint8 N x 32.

    Rows that are equal are joined to the first of them alone, since a thousand copies have half a million pairs.
    """
    unique, first, inverse = np.unique(hashes, axis=0, return_index=True, return_inverse=True)
    copies = np.flatnonzero(first[inverse.ravel()] != np.arange(len(hashes)))
    found = [np.stack([first[inverse.ravel()[copies]], copies], axis=1).astype(np.int64)]
    halves = np.ascontiguousarray(unique).view(np.uint64)
    for left, right in _candidates(unique, distance + 1):
        apart = np.bitwise_count(halves[left] ^ halves[right]).sum(axis=1)
        near = apart <= distance
        found.append(np.stack([first[left[near]], first[right[near]]], axis=1).astype(np.int64))
    pairs = np.sort(np.concatenate(found), axis=1)
    return np.unique(pairs, axis=0)


def groups_of(pairs: Indices, count: int) -> Indices:
    """Return the group of each of `count` things, int64 N: those that a chain of pairs joins share a number."""
    from scipy.sparse import coo_array  # of an extra, as is the library that makes the hashes
    from scipy.sparse.csgraph import connected_components

    ones = np.ones(len(pairs), dtype=np.int8)
    graph = coo_array((ones, (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    _, groups = connected_components(graph, directed=False)
    return np.asarray(groups, dtype=np.int64)


def _candidates(hashes: Hashes, bands: int) -> Iterator[tuple[Indices, Indices]]:
    """Yield pairs of rows that agree in a band, in blocks; a pair may come once for each band."""
    bits = np.unpackbits(hashes, axis=1)
    for band in range(bands):
        # Every n-th bit: neighbours in the hash are frequencies of one kind, equal in all pictures on white.
        keys = np.packbits(bits[:, band::bands], axis=1)
        _, codes = np.unique(keys, axis=0, return_inverse=True)
        order = np.argsort(codes.ravel(), kind="stable").astype(np.int64)
        starts = np.flatnonzero(np.diff(codes.ravel()[order], prepend=-1))
        yield from _pairs_within(order, starts, np.diff(starts, append=len(order)))


def _pairs_within(order: Indices, starts: Indices, lengths: Indices) -> Iterator[tuple[Indices, Indices]]:
    """Yield the pairs of neighbours within runs: first those one step apart, then two, until no run is that long."""
    remaining = np.repeat(starts + lengths, lengths)  # where the run of each position ends
    positions = np.arange(len(order), dtype=np.int64)
    step = 0
    while len(positions):
        step += 1
        positions = positions[positions + step < remaining[positions]]
        for begin in range(0, len(positions), BLOCK):
            block = positions[begin : begin + BLOCK]
            yield order[block], order[block + step]
