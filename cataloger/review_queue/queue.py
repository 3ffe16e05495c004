"""The products or images to review, page by page, and the progress of the reviewers."""

import json
import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, func, or_, select

from cataloger.db import AnyRow, Database, slices
from cataloger.errors import CatalogerError, UsageError
from cataloger.review_queue.filters import ADAPTING, Filters
from cataloger.review_queue.item_index import Snapshot, read_corrections
from cataloger.review_queue.item_rows import (
    LARGEST_ID,
    corrections_in,
    hide_first_answers,
    is_open,
    pictures_of,
    read_rows,
)
from cataloger.review_queue.product_index import ProductIndex
from cataloger.review_queue.product_rows import read_products
from cataloger.review_queue.wanted import QueuePart, Wanted, assigned_part
from cataloger.reviewers import ReviewSample, SecondAnswers, read_answered, read_assignments
from cataloger.schema import CorrectionRow, ResultRow, RunRow, SourceRow

IMAGES_PER_PAGE = 60
MOST_EXAMPLES, EXAMPLES_READ = 12, 48
REFRESHED_AT_ONCE = 500
OVERLAP = 1000
"""Number of newest corrections that are read again: they may be committed in another order than numbered."""
QUICK = 0.05
"""Seconds that a reviewer may wait for the ledger to be read again."""
CATCHING_UP = 1.0
"""Seconds that a reviewer waits for another's request that reads what is new; then what is known has to do."""
PAUSE = 10
"""Pause before a large ledger is read again, as a multiple of the time that reading takes."""

LEADING_KINDS: dict[str, list[tuple[type, ...]]] = {
    "confidence": [],
    "category": [(str,)],
    "product": [(int,)],
    "run": [(int,)],
    ADAPTING: [(int,)],
}
"""Types of the leading values of each order, before the confidence and the item."""
Stamp = tuple[Any, ...]
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ReviewProgress:
    """Counts of the products or images of a queue: all, reviewed ones, and those on which people and model agree.

    named: reviewed, and a person named a category. agreed: it was the model's first. second: reviewed, and to be
    answered by this person a second time.
    """

    images: int
    reviewed: int
    named: int
    agreed: int
    my_reviewed: int
    my_named: int
    my_agreed: int
    second: int


@dataclass(slots=True)
class LedgerState:
    """What was read of the ledger. products: made of `snapshot`. stamp: changes when a run writes.

    newest: id of the last correction read. recent: ids near that one that were read. seconds: that reading took.
    due: when the ledger may be read again. answered: stamp of the second answers that were read.
    """

    snapshot: Snapshot
    products: ProductIndex
    stamp: Stamp
    newest: int
    seconds: float
    due: float
    recent: set[int] = field(default_factory=set)
    answered: Stamp = ()


class Queue:
    """The queue of reviews. Reads the whole ledger when created, and again in the background after a run.

    Corrections are visible at once, also those of other processes. Safe to use from several threads. adapting: items
    that were chosen for it, in their order. sample: of which two people answer; the second does not see the first.
    """

    def __init__(self, database: Database, adapting: Sequence[int] = (), sample: ReviewSample | None = None) -> None:
        self._database = database
        self._adapting = adapting
        self.second_answers = SecondAnswers(database, sample or ReviewSample())
        self._lock = threading.Lock()
        self._reading = threading.Lock()
        self._catching_up = threading.Lock()
        self._state = self._read()

    def page(
        self, filters: Filters, after: str | None = None, author: str = ""
    ) -> tuple[list[dict[str, Any]], str | None]:
        """Return the next products or images as plain JSON, and what to pass as `after` to get those behind them.

        author: who is to review them. Raises UsageError for an invalid `after`.
        """
        self._require_order(filters)
        cursor = None if after is None else _cursor(after, filters.order)
        wanted = self._wanted(filters, author)
        state = self._catch_up()
        shown = _shown(state, filters)
        with self._lock:
            found = shown.after(wanted, cursor, IMAGES_PER_PAGE)
            is_full = len(found) == IMAGES_PER_PAGE
            following = json.dumps(shown.place(filters.order, found[-1])) if is_full else None
        if filters.by == "product":
            return self._products(state.products.items_of(found.tolist()), author), following
        return self._images(filters, shown.items[found].tolist(), author), following

    def _products(self, products: Sequence[Sequence[int]], author: str) -> list[dict[str, Any]]:
        found = read_products(self._database, products)
        hide_first_answers([image for each in found for image in each["images"]], self.second_answers, author)
        return found

    def _images(self, filters: Filters, items: Sequence[int], author: str) -> list[dict[str, Any]]:
        if not self.second_answers.sample.share:
            return read_rows(self._database, filters, items)
        rows = read_rows(self._database, replace(filters, reviewed="any"), items)
        hide_first_answers(rows, self.second_answers, author)
        return [row for row in rows if filters.reviewed == "any" or is_open(row) == (filters.reviewed == "no")]

    def has_products(self, filters: Filters) -> bool:
        """True if the images of a queue belong to products, any of them."""
        sources = self._sources(filters)
        snapshot = self._state.snapshot
        is_of_product = snapshot.products >= 0
        return bool(np.any(is_of_product if sources is None else is_of_product & np.isin(snapshot.sources, sources)))

    def facets(self, filters: Filters, author: str = "") -> dict[str, list[tuple[str | int | None, int]]]:
        """Return the values of each filter with their number, the most first, as if this filter were not set."""
        self._require_order(filters)
        shown = _shown(self._catch_up(), filters)
        wanted = self._wanted(filters, author)
        plain: dict[str, Any] = {"category": "", "decision": "", "source": "", "run": None}
        found = {}
        for name, nothing in plain.items():
            sources = None if name == "source" else wanted.part.sources
            wider = QueuePart(replace(filters, **{name: nothing}), sources)
            with self._lock:
                counts = list(shown.values_of(name, replace(wanted, part=wider)))
            found[name] = sorted(counts, key=lambda pair: (-pair[1], str(pair[0])))
        return found

    def examples(self, source: int, label: str) -> list[dict[str, Any]]:
        """Return images of a source that show a category best: one a product, and no picture twice.

        There is none among them that people have called something else.
        """
        snapshot = self._catch_up().snapshot
        with self._lock:
            items = snapshot.examples(source, label, EXAMPLES_READ)
        rows = read_rows(self._database, Filters(reviewed="any"), items)
        pictures = pictures_of(self._database, rows)
        products: dict[str, dict[str, Any]] = {}
        for row in rows:
            products.setdefault(row["product"] or row["key"], row)
        found: dict[str | int, dict[str, Any]] = {}
        for row in products.values():
            found.setdefault(pictures[row["result"]] or row["item"], row)
        return list(found.values())[:MOST_EXAMPLES]

    def corrections(self, items: Sequence[int], author: str = "") -> dict[int, dict[str, Any] | None]:
        """Return item -> its current correction, as rows of the queue have it and this person is to see it."""
        rows = self._images(Filters(reviewed="any"), items, author) if items else []
        return corrections_in(rows)

    def progress(self, filters: Filters, author: str) -> ReviewProgress:
        """Count over all products or images of a queue, reviewed or not."""
        self._require_order(filters)
        wanted = self._wanted(filters, author)
        shown = _shown(self._catch_up(), filters)
        with self._lock:
            everybody, me, second = shown.count(wanted)
        return ReviewProgress(*everybody, *me[1:], second)

    def _wanted(self, filters: Filters, author: str) -> Wanted:
        """Return what a person wants to see."""
        part, sample = QueuePart(filters, self._sources(filters)), self.second_answers.sample
        if filters.whose == "all" or filters.image is not None or filters.product:
            return Wanted(part, author, sample)
        assigned: dict[bool, list[QueuePart]] = {True: [], False: []}
        for each in read_assignments(self._database):
            if (theirs := assigned_part(each)) is not None:
                assigned[each.is_of(author)].append(QueuePart(theirs, self._sources(theirs)))
        return Wanted(part, author, sample, tuple(assigned[True]), tuple(assigned[False]))

    def _require_order(self, filters: Filters) -> None:
        if filters.order == ADAPTING and not self._adapting:
            raise UsageError("order: start `cataloger review` with --for-adapting to choose images for it")
        if filters.order == ADAPTING and filters.by == "product":
            raise UsageError("by: what --for-adapting chooses are images")

    def _sources(self, filters: Filters) -> list[int] | None:
        if not filters.source:
            return None
        query = select(SourceRow.id).where(or_(SourceRow.name == filters.source, SourceRow.root == filters.source))
        with self._database.read() as connection:
            return list(connection.scalars(query))

    def _catch_up(self) -> LedgerState:
        """Return what is known, with what is new: of a large ledger during a run only the corrections.

        One request at a time asks the database, without the lock on what is known: it may be slow, or locked itself.
        """
        if not self._catching_up.acquire(timeout=CATCHING_UP):
            return self._state
        try:
            return self._read_new()
        finally:
            self._catching_up.release()

    def _read_new(self) -> LedgerState:
        with self._database.read() as connection:
            is_old = _stamp(connection) != self._state.stamp
        if is_old and self._state.seconds < QUICK:
            self._replace(self._read())
            is_old = False
        state = self._state
        if is_old and time.monotonic() > state.due and self._reading.acquire(blocking=False):
            threading.Thread(target=self._read_aside, daemon=True).start()
        with self._database.read() as connection:
            found, rows = _new_corrections(connection, state)
            answered = read_answered(connection, state.answered) if self.second_answers.sample.share else None
        self._take_over(state, found, rows)
        if answered is not None:
            self._take_second_answers(state, *answered)
        return state

    def _take_over(self, state: LedgerState, found: dict[int, int], rows: list[AnyRow]) -> None:
        """Refresh what is known with what `_new_corrections` has found."""
        if rows:
            with self._lock:
                images = state.snapshot.refresh(rows)
            self._hear(state, images)
        state.newest = max(state.newest, *found, 0)
        state.recent = {number for number in state.recent.union(found) if number > state.newest - OVERLAP}

    def _take_second_answers(self, state: LedgerState, stamp: Stamp, items: Sequence[int]) -> None:
        images = state.snapshot.newly_answered_twice(items)
        with self._lock:
            state.snapshot.note_second_answers(images)
        self._hear(state, images)
        state.answered = stamp

    def _hear(self, state: LedgerState, images: NDArray[np.int64]) -> None:
        """Take over for their products what was said of images; others go on until it is found out."""
        if not len(images):
            return
        heard = state.products.heard(state.products.products_of(images))
        with self._lock:
            state.products.take_over(heard)

    def _replace(self, state: LedgerState) -> None:
        with self._lock:
            self._state = state

    def _read_aside(self) -> None:
        try:
            self._replace(self._read())
        except CatalogerError as error:
            logger.warning("the queue is not updated: %s", error)
        finally:
            self._reading.release()

    def _read(self) -> LedgerState:
        # Rows written meanwhile may be missed, so that they must count as new.
        with self._database.read() as connection:
            stamp, newest = _stamp(connection), connection.scalar(select(func.max(CorrectionRow.id))) or 0
        began = time.monotonic()
        snapshot = Snapshot.read(self._database)
        snapshot.put_in_order(ADAPTING, self._adapting)
        products = ProductIndex.read(self._database, snapshot)
        now = time.monotonic()
        return LedgerState(snapshot, products, stamp, newest, now - began, now + PAUSE * (now - began))


def _shown(state: LedgerState, filters: Filters) -> Snapshot:
    return state.products.products if filters.by == "product" else state.snapshot


def _stamp(connection: Connection) -> Stamp:
    """Return a value that changes with every step of a run."""
    runs = select(func.max(RunRow.id), func.count(RunRow.ended_at))
    return (connection.scalar(select(func.max(ResultRow.id))), *connection.execute(runs).one())


def _new_corrections(connection: Connection, state: LedgerState) -> tuple[dict[int, int], list[AnyRow]]:
    """Return the corrections since the last call with their items, and what is current of these items."""
    query = select(CorrectionRow.id, CorrectionRow.item_id).where(CorrectionRow.id > state.newest - OVERLAP)
    found = {row.id: row.item_id for row in connection.execute(query) if row.id not in state.recent}
    pages = slices(list(dict.fromkeys(found.values())), REFRESHED_AT_ONCE)
    return found, [row for items in pages for row in read_corrections(connection, items)]


def _cursor(after: str, order: str) -> list[Any]:
    kinds: list[tuple[type, ...]] = [*LEADING_KINDS[order], (int, float), (int,)]
    try:
        values = json.loads(after)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, list) or len(values) != len(kinds):
        raise UsageError("after: not a valid position in the queue")
    is_known = all(type(value) in kind for kind, value in zip(kinds, values, strict=True))
    if not is_known or not all(abs(value) < LARGEST_ID for value in values if not isinstance(value, str)):
        raise UsageError("after: not a valid position in the queue")
    return values
