"""Leases: two runs over one source exclude each other.

An owner writes a heartbeat with every batch and from a thread in between. A run that takes a lease over gets a higher
fence; the update with the old fence then finds no row, so that a late owner cannot commit.
"""

import itertools
import logging
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection, select, update

from cataloger.db import Database, upsert_rows, utc_now
from cataloger.errors import CatalogerError, LeaseError
from cataloger.schema import LeaseRow
from cataloger.utils import process_identity

EXPIRES_AFTER = timedelta(seconds=60)
HEARTBEAT_SECONDS = 15.0
FREE = ""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write for a source."""

    database: Database
    source_id: int
    fence: int

    def check(self, connection: Connection) -> None:
        """Renew the lease within a transaction. Raises LeaseError when another run has taken it over."""
        mine = (LeaseRow.source_id == self.source_id) & (LeaseRow.fence == self.fence)
        renewed = connection.execute(update(LeaseRow).where(mine).values(heartbeat_at=utc_now(connection)))
        if renewed.rowcount != 1:
            raise LeaseError(
                "another run has taken over this source, because this run sent no heartbeat for a minute; "
                "nothing more is written. Run again when the other run has ended."
            )

    def release(self) -> None:
        """Release the lease; harmless when it was taken over."""
        with self.database.begin() as connection:
            mine = (LeaseRow.source_id == self.source_id) & (LeaseRow.fence == self.fence)
            connection.execute(update(LeaseRow).where(mine).values(owner=FREE))


@contextmanager
def hold_lease(database: Database, source_id: int, run_id: int) -> Iterator[Lease]:
    """Hold the lease of a source. Raises LeaseError when another live run holds it."""
    lease = acquire(database, source_id, run_id)
    ended = threading.Event()
    thread = threading.Thread(target=_beat, args=(lease, ended), name="heartbeat", daemon=True)
    thread.start()
    try:
        yield lease
    finally:
        ended.set()
        thread.join()
        try:
            lease.release()
        except CatalogerError as error:
            logger.warning("the lease could not be released (it expires in a minute): %s", error)


def lock_leases(connection: Connection, source_ids: Collection[int]) -> None:
    """Have runs over some sources wait with their next write until this transaction has ended."""
    rows = select(LeaseRow.source_id).where(LeaseRow.source_id.in_(source_ids)).order_by(LeaseRow.source_id)
    connection.execute(rows.with_for_update()).all()


def acquire(database: Database, source_id: int, run_id: int) -> Lease:
    """Take the lease if it is free, its owner is dead, or its last heartbeat is a minute old."""
    attempts = itertools.count()

    def take(connection: Connection) -> Lease:
        is_repeated = next(attempts) > 0
        now = utc_now(connection)
        free = {"source_id": source_id, "run_id": None, "fence": 0, "owner": FREE, "heartbeat_at": now}
        upsert_rows(connection, LeaseRow, [free], keys=["source_id"], update=[])
        row = connection.execute(
            select(LeaseRow.__table__).where(LeaseRow.source_id == source_id).with_for_update()
        ).one()
        silence = now - row.heartbeat_at
        # After a commit whose answer was lost, this run itself may have it.
        is_taken = row.owner != FREE and not (is_repeated and row.run_id == run_id)
        if is_taken and silence < EXPIRES_AFTER and not process_identity.is_dead(row.owner):
            raise LeaseError(
                f"run {row.run_id} is working on this source ({process_identity.describe(row.owner)}, last heartbeat "
                f"{max(0, round(silence.total_seconds()))} seconds ago); wait until it has ended"
            )
        values = {
            "run_id": run_id,
            "fence": row.fence + 1,
            "owner": process_identity.this_process(),
            "heartbeat_at": now,
        }
        connection.execute(update(LeaseRow).where(LeaseRow.source_id == source_id).values(values))
        return Lease(database, source_id, row.fence + 1)

    return database.run(take)


def _beat(lease: Lease, ended: threading.Event) -> None:
    while not ended.wait(HEARTBEAT_SECONDS):
        try:
            with lease.database.begin() as connection:
                lease.check(connection)
        except CatalogerError as error:
            # The next write checks again and fails properly; a heartbeat that is late once does no harm.
            logger.warning("the heartbeat failed: %s", error)
