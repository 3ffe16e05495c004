"""The images to review, page by page, and how far the reviewers are."""

import json
import logging
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, func, or_, select

from cataloger.db.database import Database
from cataloger.db.models import Correction, Result, Run, Source
from cataloger.db.paging import slices
from cataloger.errors import CatalogerError, UsageError
from cataloger.review.filters import Filters
from cataloger.review.rows import LARGEST_ID, read_rows
from cataloger.review.snapshot import Snapshot

IMAGES_PER_PAGE = 60
RENEWED_AT_ONCE = 500
OVERLAP = 1000
"""So many of the newest words are looked for again: they may be committed in another order than numbered."""
QUICK = 0.05
"""Seconds that a reviewer may wait for the ledger to be read again."""
PAUSE = 10
"""So many times as long as reading a large ledger takes, until it is read again."""

LEADING_KINDS: dict[str, list[tuple[type, ...]]] = {
    "confidence": [],
    "category": [(str,)],
    "product": [(int,)],
    "run": [(int,)],
}
"""Of the values that each order goes by, before the confidence and the item."""
Stamp = tuple[Any, ...]
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Progress:
    """Of the images of a queue, however far: how many, how many reviewed, and how often people and model agree.

    named: reviewed, and a person named a category. agreed: it was the model's first.
    """

    images: int
    reviewed: int
    named: int
    agreed: int
    my_reviewed: int
    my_named: int
    my_agreed: int


@dataclass(slots=True)
class Held:
    """What is known of the ledger. stamp: differs once a run has written. heard: the newest correction that is in it.

    recent: the numbers around that one that are in it. due: when the ledger may be read again.
    """

    snapshot: Snapshot
    stamp: Stamp
    heard: int
    due: float
    recent: set[int] = field(default_factory=set)


class Queue:
    """What is to be reviewed. Reads the whole ledger when it is made, and again, beside its work, after a run.

    What people say counts at once, whoever has recorded it. Safe to use from several threads.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._reading = threading.Lock()
        self._held = self._read()

    def page(self, filters: Filters, after: str | None = None) -> tuple[list[dict[str, Any]], str | None]:
        """Return the next images as plain JSON values, and what to pass as `after` to get those behind them.

        Raises UsageError for an `after` that is none.
        """
        cursor = None if after is None else _cursor(after, filters.order)
        sources = self._sources(filters)
        with self._lock:
            snapshot = self._renewed()
            found = snapshot.after(filters, sources, cursor, IMAGES_PER_PAGE)
            is_full = len(found) == IMAGES_PER_PAGE
            following = json.dumps(snapshot.place(filters.order, found[-1])) if is_full else None
        return read_rows(self._database, filters, snapshot.items[found].tolist()), following

    def progress(self, filters: Filters, author: str) -> Progress:
        """Count over all images of a queue, reviewed or not."""
        sources = self._sources(filters)
        with self._lock:
            everybody, me = self._renewed().count(filters, sources, author)
        return Progress(*everybody, *me[1:])

    def _sources(self, filters: Filters) -> list[int] | None:
        if not filters.source:
            return None
        query = select(Source.id).where(or_(Source.name == filters.source, Source.root == filters.source))
        with self._database.read() as connection:
            return list(connection.scalars(query))

    def _renewed(self) -> Snapshot:
        """Return what holds now; of a large ledger that runs write to, what held lately, and all words since."""
        with self._database.read() as connection:
            is_old = _stamp(connection) != self._held.stamp
        if is_old and self._held.snapshot.seconds < QUICK:
            self._held = self._read()
        elif is_old and time.monotonic() > self._held.due and self._reading.acquire(blocking=False):
            threading.Thread(target=self._read_aside, daemon=True).start()
        with self._database.read() as connection:
            _hear(connection, self._held)
        return self._held.snapshot

    def _read_aside(self) -> None:
        try:
            held = self._read()
            with self._lock:
                self._held = held
        except CatalogerError as error:
            logger.warning("the queue stays as it was: %s", error)
        finally:
            self._reading.release()

    def _read(self) -> Held:
        # What is written meanwhile may be missed, so that it must count as new.
        with self._database.read() as connection:
            stamp, heard = _stamp(connection), connection.scalar(select(func.max(Correction.id))) or 0
        snapshot = Snapshot.read(self._database)
        return Held(snapshot, stamp, heard, time.monotonic() + PAUSE * snapshot.seconds)


def _stamp(connection: Connection) -> Stamp:
    """Return what differs after every step of a run."""
    runs = select(func.max(Run.id), func.count(Run.ended_at))
    return (connection.scalar(select(func.max(Result.id))), *connection.execute(runs).one())


def _hear(connection: Connection, held: Held) -> None:
    """Take in what people have said since the last time."""
    query = select(Correction.id, Correction.item_id).where(Correction.id > held.heard - OVERLAP)
    said = {row.id: row.item_id for row in connection.execute(query) if row.id not in held.recent}
    for items in slices(list(dict.fromkeys(said.values())), RENEWED_AT_ONCE):
        held.snapshot.renew(connection, items)
    held.heard = max(held.heard, *said, 0)
    held.recent = {number for number in held.recent.union(said) if number > held.heard - OVERLAP}


def _cursor(after: str, order: str) -> list[Any]:
    kinds: list[tuple[type, ...]] = [*LEADING_KINDS[order], (int, float), (int,)]
    try:
        values = json.loads(after)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, list) or len(values) != len(kinds):
        raise UsageError("after: this is not the end of a page")
    is_known = all(type(value) in kind for kind, value in zip(kinds, values, strict=True))
    if not is_known or not all(abs(value) < LARGEST_ID for value in values if not isinstance(value, str)):
        raise UsageError("after: this is not the end of a page")
    return values
