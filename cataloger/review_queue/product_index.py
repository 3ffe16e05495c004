"""An in-memory index of the products, made from that of their images; an image without a product counts as one.

A product is reviewed when each of its images that its answer is made from is: those that disagree with the others,
and those that the model abstains from while it knows most of the others, show something else and need no answer.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, and_, select

from cataloger.db import AnyRow, Database
from cataloger.review_queue.item_index import UNKNOWN, Mask, Snapshot, product_number
from cataloger.review_queue.item_rows import AGREED, NAMED, OPEN, REVIEWED
from cataloger.schema import ProductCurrentRow, ProductResultRow, SourceRow

PRODUCTS_PER_READ = 20_000
UNREVIEWED = AGREED + 1
Positions = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ProductIndex:
    """The products as a snapshot whose items are their first images.

    members: positions in the snapshot of the images, product by product. starts: of each product in `members`.
    owners: position of the product of each image. counted: which members the answer of their product is made from.
    """

    images: Snapshot
    products: Snapshot
    members: NDArray[np.int32]
    starts: NDArray[np.int64]
    owners: NDArray[np.int32]
    counted: Mask

    @classmethod
    def read(cls, database: Database, images: Snapshot) -> "ProductIndex":
        """Group images, and read the answers for their products."""
        members, starts = _grouped(images)
        first = members[starts]
        counted = _counted(images, members, starts)
        products = replace(
            images,
            items=images.items[first],
            products=images.products[first],
            sources=images.sources[first],
            runs=images.runs[first],
            confidences=images.confidences[first],
            labels=images.labels[first],
            decisions=images.decisions[first],
            disagrees=np.zeros(len(first), np.bool_),
            states=np.zeros(len(first), np.int8),
            corrections=np.zeros(len(first), np.int32),
            authors=np.zeros(len(first), np.int32),
            answered_twice=np.zeros(len(first), np.bool_),
        )
        _take_answers(products, database)
        made = cls(images, products, members, starts, _owners(members, starts), counted)
        if len(members):
            made.take_over(made.heard(np.arange(len(starts))))
        products.sort()
        return made

    def items_of(self, positions: Sequence[int]) -> list[list[int]]:
        """Return the images of products, by their ids."""
        ends = np.append(self.starts[1:], len(self.members))
        return [self.images.items[self.members[self.starts[at] : ends[at]]].tolist() for at in positions]

    def products_of(self, images: Positions) -> Positions:
        """Return the positions of the products of some images, each once."""
        return np.unique(self.owners[images])

    def heard(self, products: Positions) -> "Heard":
        """Return what has been said of the images of some products; reads as much as these have, not all."""
        at, starts = self._members_of(products)
        members, counted = self.members[at], self.counted[at]
        images, states = self.images, self.images.states[members]
        least = np.minimum.reduceat(np.where(counted, states, UNREVIEWED), starts)
        # The first image that was called something speaks for its product, else the first that was reviewed.
        rank = np.where(states >= NAMED, 2, np.where(states == REVIEWED, 1, 0))
        speaker = members[_first_of_most(rank, starts)]
        corrections = images.corrections[speaker]
        is_named = images.states[speaker] >= NAMED
        said = np.where(is_named, np.where(corrections == self.products.labels[products], AGREED, NAMED), REVIEWED)
        twice = np.logical_and.reduceat(~counted | images.answered_twice[members], starts)
        return Heard(products, np.where(least == OPEN, OPEN, said), corrections, images.authors[speaker], twice)

    def take_over(self, heard: "Heard") -> None:
        """Keep what has been said of the images of some products."""
        known, at = self.products, heard.products
        known.states[at], known.corrections[at] = heard.states, heard.corrections
        known.authors[at], known.answered_twice[at] = heard.authors, heard.answered_twice

    def _members_of(self, products: Positions) -> tuple[Positions, Positions]:
        """Return where the members of some products are, product by product, and where each begins."""
        lengths = np.append(self.starts[1:], len(self.members))[products] - self.starts[products]
        begins = np.cumsum(lengths) - lengths
        return np.repeat(self.starts[products] - begins, lengths) + np.arange(lengths.sum()), begins


@dataclass(frozen=True, slots=True)
class Heard:
    """What has been said of some products. products: their positions; the rest as snapshots have it."""

    products: Positions
    states: NDArray[np.int64]
    corrections: NDArray[np.int32]
    authors: NDArray[np.int32]
    answered_twice: Mask


def _grouped(images: Snapshot) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return the positions of the images, product by product, and where each begins; by rising first image."""
    count = len(images.items)
    places = np.arange(count)
    alone = images.products == UNKNOWN
    # An image without product is its own: a number that no product has.
    numbers = np.where(alone, -2 - places, images.products)
    order = np.lexsort((places, numbers, images.sources))
    changes = (np.diff(numbers[order]) != 0) | (np.diff(images.sources[order]) != 0)
    starts = np.concatenate((np.zeros(min(count, 1), np.int64), np.flatnonzero(changes) + 1))
    lengths = np.diff(np.append(starts, count))
    by_first = np.argsort(order[starts], kind="stable")
    lengths = lengths[by_first]
    begins = np.cumsum(lengths) - lengths
    moved = order[places + np.repeat(starts[by_first] - begins, lengths)]
    return moved.astype(np.int32), begins


def _owners(members: NDArray[np.int32], starts: NDArray[np.int64]) -> NDArray[np.int32]:
    """Return the number of the product of each image."""
    owners = np.zeros(len(members), np.int32)
    owners[members] = np.repeat(np.arange(len(starts), dtype=np.int32), np.diff(np.append(starts, len(members))))
    return owners


def _counted(images: Snapshot, members: NDArray[np.int32], starts: NDArray[np.int64]) -> Mask:
    """Return which members are heard for the answer of their product, as `product_aggregation.combine` has it."""
    if not len(members):
        return np.zeros(0, np.bool_)
    abstains = images.decisions[members] == images.codes.get("abstain", UNKNOWN)
    lengths = np.diff(np.append(starts, len(members)))
    is_mostly = np.repeat(2 * np.add.reduceat(abstains.astype(np.int64), starts) > lengths, lengths)
    counted = ~images.disagrees[members] & (~abstains | is_mostly)
    has_any = np.repeat(np.add.reduceat(counted.astype(np.int64), starts) > 0, lengths)
    heard: Mask = counted | ~has_any
    return heard


def _first_of_most(rank: NDArray[np.int64], starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each group the place of the first member of the highest rank."""
    count = len(rank)
    lengths = np.diff(np.append(starts, count))
    best = np.repeat(np.maximum.reduceat(rank, starts), lengths)
    places = np.where(rank == best, np.arange(count), count)
    first: NDArray[np.int64] = np.minimum.reduceat(places, starts)
    return first


def _take_answers(products: Snapshot, database: Database) -> None:
    """Replace what the first image says by the answer for the product, where there is one."""
    places = {
        (int(source), int(number)): at
        for at, (source, number) in enumerate(zip(products.sources, products.products, strict=True))
    }
    for rows in _pages(database):
        found = [
            (at, row)
            for row in rows
            if (at := places.get((row.source_id, product_number(row.product_hash)))) is not None
        ]
        for at, row in found:
            products.runs[at], products.confidences[at] = row.run_id, row.confidence_1
            products.labels[at] = products.codes[row.label_1]
            products.decisions[at] = products.codes[row.decision]


def current_answers(*columns: Any) -> Any:
    """Select from the current answers for products of the models that their sources are pinned to."""
    is_pinned = and_(
        SourceRow.id == ProductCurrentRow.source_id, SourceRow.weights_id == ProductCurrentRow.weights_id
    )
    query = select(*columns).select_from(ProductCurrentRow).join(SourceRow, is_pinned)
    return query.join(ProductResultRow, ProductResultRow.id == ProductCurrentRow.result_id)


def _pages(database: Database) -> Iterator[Sequence[AnyRow]]:
    last = 0
    while rows := database.fetch(_page, last):
        yield rows
        last = rows[-1].id


def _page(connection: Connection, last: int) -> Sequence[AnyRow]:
    answer = (ProductResultRow.run_id, ProductResultRow.confidence_1, ProductResultRow.label_1)
    columns = (ProductResultRow.id, ProductCurrentRow.source_id, ProductCurrentRow.product_hash, *answer)
    query = current_answers(*columns, ProductResultRow.decision).where(
        ProductResultRow.id > last, ProductResultRow.label_1.is_not(None)
    )
    rows: Sequence[AnyRow] = connection.execute(query.order_by(ProductResultRow.id).limit(PRODUCTS_PER_READ)).all()
    return rows
