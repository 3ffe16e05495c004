"""An in-memory index of the images: the numbers by which queues are sorted, filtered and counted.

It replaces indexes of the database: there are more orders and filters than those could serve, and each one would
slow down every insert. A million images take about 80 MB.
"""

import bisect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, func, select

from cataloger.db import AnyRow, Database
from cataloger.review_queue.filters import ADAPTING
from cataloger.review_queue.item_rows import AGREED, NAMED, OPEN, REVIEWED, STATE, shown
from cataloger.review_queue.wanted import QueuePart, Wanted
from cataloger.schema import CorrectionRow, CurrentRow, ItemRow, ResultRow, key_hash
from cataloger.utils import person_key

IMAGES_PER_READ = 20_000
BLOCK = 2**16
UNKNOWN = -1
PRODUCT_DIGITS = 13
"""Of the hash of a product, so that the number stays below LARGEST_ID; others may share it, but hardly one does."""

Mask = NDArray[np.bool_]
Where = NDArray[np.int32] | slice
ALL = slice(None)


class Codes(dict[str | None, int]):
    """Gives texts consecutive numbers: a column of them takes four bytes per row."""

    def __missing__(self, text: str | None) -> int:
        self[text] = len(self)
        return self[text]


class Counts(NamedTuple):
    """Number of images, and of those in each review state."""

    images: int
    reviewed: int
    named: int
    agreed: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Columns of all images that may be shown, by rising id.

    products: the beginning of the product's hash as a number. disagrees: with the other images of it. The texts of
    labels, decisions, corrections and authors, these as they are compared, are numbered by `codes`.
    answered_twice: has a second answer. orders: for each order, the positions in it.
    """

    codes: Codes
    items: NDArray[np.int64]
    products: NDArray[np.int64]
    sources: NDArray[np.int64]
    runs: NDArray[np.int64]
    confidences: NDArray[np.float64]
    labels: NDArray[np.int32]
    decisions: NDArray[np.int32]
    disagrees: NDArray[np.bool_]
    states: NDArray[np.int8]
    corrections: NDArray[np.int32]
    authors: NDArray[np.int32]
    answered_twice: Mask
    orders: dict[str, NDArray[np.int32]] = field(init=False, default_factory=dict)

    @classmethod
    def read(cls, database: Database) -> Self:
        """Read the ledger, page by page."""
        codes = Codes()
        chunks = [_columns((), codes), *(_columns(rows, codes) for rows in _pages(database))]
        columns = [np.concatenate(parts) for parts in zip(*chunks, strict=True)]
        made = cls(codes, *columns)
        made.sort()
        return made

    def sort(self) -> None:
        """Put the images in each order; of those that are equal in it, the smaller item comes first."""
        plain = np.argsort(self.confidences, kind="stable").astype(np.int32)
        self.orders["confidence"] = plain
        leading: dict[str, NDArray[Any]] = {
            "category": self._alphabetical()[self.labels],
            "product": self.products,
            "run": -self.runs,
        }
        for order, values in leading.items():
            self.orders[order] = plain[np.argsort(values[plain], kind="stable")]

    def put_in_order(self, order: str, items: Sequence[int]) -> None:
        """Have another order, of these items alone, as far as they are here."""
        positions = np.searchsorted(self.items, np.array(items, np.int64)).astype(np.int32)
        is_here = [at < len(self.items) and self.items[at] == item for at, item in zip(positions, items, strict=True)]
        self.orders[order] = positions[np.array(is_here, np.bool_)]

    def _alphabetical(self) -> NDArray[np.int32]:
        ranks = np.empty(len(self.codes), np.int32)
        for rank, text in enumerate(sorted(self.codes, key=lambda text: text or "")):
            ranks[self.codes[text]] = rank
        return ranks

    def place(self, order: str, position: int) -> list[Any]:
        """Return the values that give an image its place in an order."""
        return self._placer(order)(position)

    def _placer(self, order: str) -> Callable[[int], list[Any]]:
        texts = list(self.codes)
        turns = {int(at): turn for turn, at in enumerate(self.orders[order])} if order == ADAPTING else {}
        leading: dict[str, Callable[[int], list[Any]]] = {
            "confidence": lambda _: [],
            "category": lambda at: [texts[self.labels[at]] or ""],
            "product": lambda at: [int(self.products[at])],
            "run": lambda at: [-int(self.runs[at])],
            ADAPTING: lambda at: [turns[int(at)]],
        }
        lead = leading[order]
        return lambda at: [*lead(at), float(self.confidences[at]), int(self.items[at])]

    def after(self, wanted: Wanted, place: Sequence[Any] | None, most: int) -> NDArray[np.int32]:
        """Return the positions of at most `most` images behind a place of the order of what is wanted."""
        name = wanted.filters.order
        order = self.orders[name]
        start = 0 if place is None else bisect.bisect_right(order, list(place), key=self._placer(name))
        found: list[NDArray[np.int32]] = [order[:0]]
        while start < len(order) and sum(map(len, found)) < most:
            block = order[start : start + BLOCK]
            found.append(block[self.fits(wanted, block) & self._has_state(wanted, block)])
            start += BLOCK
        return np.concatenate(found)[:most]

    def values_of(self, name: str, wanted: Wanted) -> Iterator[tuple[str | int | None, int]]:
        """Yield the values of a column - label, decision, source or run - with their number in a queue."""
        fits = self.fits(wanted, ALL) & self._has_state(wanted, ALL)
        columns: dict[str, NDArray[np.integer[Any]]] = {
            "category": self.labels, "decision": self.decisions, "source": self.sources, "run": self.runs
        }  # fmt: skip
        texts = list(self.codes)
        for value, count in zip(*np.unique(columns[name][fits], return_counts=True), strict=True):
            yield (texts[value] if name in ("category", "decision") else int(value)), int(count)

    def examples(self, source: int, label: str, most: int) -> list[int]:
        """Return the items of a source that show a label best: so corrected by people, then accepted, confident."""
        code = self.codes.get(label, UNKNOWN)
        is_said = (self.states >= NAMED) & (self.corrections == code)
        is_answered = (self.states == OPEN) & (self.labels == code) & ~self.disagrees
        found = np.flatnonzero((is_said | is_answered) & (self.sources == source))
        is_accepted = self.decisions[found] == self.codes.get("accept", UNKNOWN)
        worth = 2.0 * is_said[found] + is_accepted + self.confidences[found]
        order = np.argsort(-worth, kind="stable")
        return [int(item) for item in self.items[found[order[:most]]]]

    def fits(self, wanted: Wanted, where: Where) -> Mask:
        """Return which images pass all filters but `reviewed`, and are not for others alone."""
        hidden = self.hidden(wanted, where)
        fits = self._passes(wanted.part, hidden, where)
        theirs = np.zeros(len(fits), np.bool_)
        for part in wanted.others:
            theirs |= self._passes(part, hidden, where)
        for part in wanted.mine if wanted.others else ():
            theirs &= ~self._passes(part, hidden, where)
        return fits & ~theirs

    def _passes(self, part: QueuePart, hidden: Mask, where: Where) -> Mask:
        """Return which images pass filters. hidden: of these, the corrections do not count."""
        filters = part.filters
        fits = np.ones(len(self.items[where]), np.bool_)
        if filters.below is not None:
            fits &= self.confidences[where] < filters.below
        if filters.decision:
            fits &= self.decisions[where] == self.codes.get(filters.decision, UNKNOWN)
        if filters.category:
            code = self.codes.get(filters.category, UNKNOWN)
            fits &= (self.labels[where] == code) | ((self.corrections[where] == code) & ~hidden)
        if filters.run is not None:
            fits &= self.runs[where] == filters.run
        if filters.image is not None:
            fits &= self.items[where] == filters.image
        if filters.product:
            fits &= self.products[where] == product_number(key_hash(filters.product))
        if part.sources is not None:
            fits &= np.isin(self.sources[where], list(part.sources))
        return fits

    def hidden(self, wanted: Wanted, where: Where) -> Mask:
        """Return of which images the first answer is hidden, since a person is to answer them a second time."""
        if not wanted.sample.share:
            return np.zeros(len(self.items[where]), np.bool_)
        is_foreign = self.authors[where] != self._code_of(wanted.author)
        is_due = (self.states[where] != OPEN) & is_foreign & ~self.answered_twice[where]
        hidden: Mask = is_due & wanted.sample.mask(self.products[where], self.items[where])
        return hidden

    def _code_of(self, person: str) -> int:
        return self.codes.get(person_key(person), UNKNOWN)

    def _has_state(self, wanted: Wanted, where: Where) -> Mask:
        """Return which images have the state that is wanted; what is to be answered a second time is open."""
        if wanted.filters.reviewed == "any":
            return np.ones(len(self.items[where]), np.bool_)
        is_open = (self.states[where] == OPEN) | self.hidden(wanted, where)
        has_state: Mask = is_open == (wanted.filters.reviewed == "no")
        return has_state

    def count(self, wanted: Wanted) -> tuple[Counts, Counts, int]:
        """Count all images of a queue, those of them that the person has reviewed, and those for a second answer."""
        where = self.orders[ADAPTING] if wanted.filters.order == ADAPTING else ALL
        fits, states = self.fits(wanted, where), self.states[where]
        mine = fits & (self.authors[where] == self._code_of(wanted.author))
        second = int(np.count_nonzero(fits & self.hidden(wanted, where)))
        return self._counts(states[fits]), self._counts(states[mine]), second

    @staticmethod
    def _counts(states: NDArray[np.int8]) -> Counts:
        counts = np.bincount(states, minlength=AGREED + 1)
        return Counts(*(int(counts[state:].sum()) for state in (OPEN, REVIEWED, NAMED, AGREED)))

    def refresh(self, rows: Sequence[AnyRow]) -> NDArray[np.int64]:
        """Take the corrections of some images over, as `read_corrections` returns them; return their positions.

        Images that are not in this snapshot are left out.
        """
        if not rows or not len(self.items):
            return np.zeros(0, np.int64)
        items, *columns = zip(*rows, strict=True)
        at: NDArray[np.int64] = np.minimum(np.searchsorted(self.items, items), len(self.items) - 1)
        known = self.items[at] == items
        states, corrections, authors = (
            np.array(column)[known] for column in _correction_columns(columns, self.codes)
        )
        at = at[known]
        self.states[at], self.corrections[at], self.authors[at] = states, corrections, authors
        return at

    def newly_answered_twice(self, items: Sequence[int]) -> NDArray[np.int64]:
        """Return the positions of images that have a second answer now, or no longer. items: those that have one."""
        has = np.isin(self.items, np.array(items, np.int64), assume_unique=True)
        at: NDArray[np.int64] = np.flatnonzero(has != self.answered_twice)
        return at

    def note_second_answers(self, at: NDArray[np.int64]) -> None:
        """Take over what `newly_answered_twice` has found."""
        self.answered_twice[at] ^= True


CORRECTION_COLUMNS = (STATE, CorrectionRow.label.label("corrected_label"), CorrectionRow.author)
COLUMNS = (
    *(ItemRow.id, ItemRow.product_hash, ItemRow.source_id),
    *(ResultRow.run_id, ResultRow.confidence_1, ResultRow.label_1, ResultRow.decision),
    CurrentRow.disagrees,
    *CORRECTION_COLUMNS,
)


def read_corrections(connection: Connection, item_ids: Sequence[int]) -> Sequence[AnyRow]:
    """Return what is current of the corrections of some images."""
    query = shown(ItemRow.id, *CORRECTION_COLUMNS).where(ItemRow.id.in_(item_ids))
    return connection.execute(query).all()


def _pages(database: Database) -> Iterator[Sequence[AnyRow]]:
    """Yield the columns of all images that may be shown, by rising id."""
    last = 0
    while page := database.fetch(_page, last):
        rows, last = page
        yield rows


def _page(connection: Connection, last: int) -> tuple[Sequence[AnyRow], int] | None:
    """Return the rows behind an id, and the id that they reach to; None if there is no image behind it."""
    ids = select(ItemRow.id).where(ItemRow.id > last).order_by(ItemRow.id).limit(IMAGES_PER_READ).subquery()
    end = connection.scalar(select(func.max(ids.c.id)))
    if end is None:
        return None
    # With both ends: PostgreSQL would scan all rows behind the first one, and sort them, without statistics.
    query = shown(*COLUMNS).where(ItemRow.id > last, ItemRow.id <= end).order_by(ItemRow.id)
    return connection.execute(query).all(), end


def _columns(rows: Sequence[AnyRow], codes: Codes) -> list[NDArray[Any]]:
    """Turn rows into the arrays of a snapshot."""
    columns = list(zip(*rows, strict=True)) or [()] * len(COLUMNS)
    items, products, sources, runs, confidences, labels, decisions, disagrees, *correction_columns = columns
    return [
        np.array(items, np.int64),
        np.array(list(map(product_number, products)), np.int64),
        np.array(sources, np.int64),
        np.array(runs, np.int64),
        np.array(confidences, np.float64),
        np.array([codes[text] for text in labels], np.int32),
        np.array([codes[text] for text in decisions], np.int32),
        np.array(disagrees, np.bool_),
        *_correction_columns(correction_columns, codes),
        np.zeros(len(items), np.bool_),
    ]


def _correction_columns(columns: Sequence[Sequence[Any]], codes: Codes) -> list[NDArray[Any]]:
    states, corrections, authors = columns
    people = [None if name is None else person_key(name) for name in authors]
    coded = (np.array([codes[text] for text in texts], np.int32) for texts in (corrections, people))
    return [np.array(states, np.int8), *coded]


def product_number(product_hash: str | None) -> int:
    """Return the beginning of a product's hash as a number, UNKNOWN for an image of no product."""
    return int(product_hash[:PRODUCT_DIGITS], 16) if product_hash else UNKNOWN
