"""Leases: two runs over one source exclude each other, unless each has a shard of it.

An owner writes a heartbeat with every batch and from a thread in between. A run that takes a lease over gets a higher
fence; the update with the old fence then finds no row, so that a late owner cannot commit.

The whole of a source and its shards exclude each other. Whoever takes either locks the row of the whole first. The
rows of the shards stay until all of them are done and a run over the whole has settled what none of them can.
"""

import itertools
import logging
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, func, select, update

from cataloger.db import AnyRow, Database, upsert_rows, utc_now
from cataloger.errors import CatalogerError, LeaseError
from cataloger.options import Shard
from cataloger.schema import LeaseRow, ShardRow
from cataloger.utils import process_identity

EXPIRES_AFTER = timedelta(seconds=60)
HEARTBEAT_SECONDS = 15.0
FREE = ""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write for a source, or for a shard of it."""

    database: Database
    source_id: int
    fence: int
    shard: Shard | None = None

    def check(self, connection: Connection) -> None:
        """Renew the lease within a transaction. Raises LeaseError when another run has taken it over."""
        if self.shard is not None:  # those who lock the whole, lock its shards
            whole = select(LeaseRow.source_id).where(_of(LeaseRow, self.source_id))
            connection.execute(whole.with_for_update(read=True)).all()
        renewed = connection.execute(self._update().values(heartbeat_at=utc_now(connection)))
        if renewed.rowcount != 1:
            raise LeaseError(
                "another run has taken over this source, because this run sent no heartbeat for a minute; "
                "nothing more is written. Run again when the other run has ended."
            )

    def release(self) -> None:
        """Release the lease; harmless when it was taken over."""
        with self.database.begin() as connection:
            connection.execute(self._update().values(owner=FREE))

    def finish(self) -> int | None:
        """Note that a shard is done, and free it. Once all are, return the first run that any had; else None."""
        return self.database.run(self._finish)

    def close_shards(self) -> None:
        """Forget the shards of a source: a run over the whole has seen all of it."""
        self.database.write(self._close_shards)

    def _finish(self, connection: Connection) -> int | None:
        assert self.shard is not None
        _lock(connection, self.source_id)
        self.check(connection)
        connection.execute(self._update().values(is_done=True, owner=FREE))
        done = select(func.count(), func.min(ShardRow.first_run_id)).where(_of(ShardRow, self.source_id))
        count, first = connection.execute(done.where(ShardRow.is_done)).one()
        return int(first) if count == self.shard.count else None

    def _close_shards(self, connection: Connection) -> None:
        self.check(connection)
        connection.execute(delete(ShardRow).where(_of(ShardRow, self.source_id)))

    def _update(self) -> Any:
        if self.shard is None:
            return update(LeaseRow).where(_of(LeaseRow, self.source_id), LeaseRow.fence == self.fence)
        mine = _of(ShardRow, self.source_id) & (ShardRow.number == self.shard.number)
        return update(ShardRow).where(mine, ShardRow.fence == self.fence)


@contextmanager
def hold_lease(database: Database, source_id: int, run_id: int, shard: Shard | None = None) -> Iterator[Lease]:
    """Hold the lease of a source or of a shard. Raises LeaseError when another live run holds it."""
    lease = acquire(database, source_id, run_id, shard)
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


def acquire(database: Database, source_id: int, run_id: int, shard: Shard | None = None) -> Lease:
    """Take the lease if it is free, its owner is dead, or its last heartbeat is a minute old, or a minute ahead."""
    attempts = itertools.count()

    def take(connection: Connection) -> Lease:
        is_repeated = next(attempts) > 0
        now = utc_now(connection)
        free = {"source_id": source_id, "run_id": None, "fence": 0, "owner": FREE, "heartbeat_at": now}
        upsert_rows(connection, LeaseRow, [free], keys=["source_id"], update=[])
        taker = _Taker(connection, source_id, run_id, now, is_repeated)
        fence = taker.take_whole() if shard is None else taker.take_shard(shard)
        return Lease(database, source_id, fence, shard)

    return database.run(take)


@dataclass(frozen=True, slots=True)
class _Taker:
    """One attempt to take a lease, in a transaction that has locked those of the source."""

    connection: Connection
    source_id: int
    run_id: int
    now: datetime
    is_repeated: bool

    def take_whole(self) -> int:
        """Take the whole source; return the fence."""
        whole, shards = _lock(self.connection, self.source_id)
        self._refuse_live(whole, "this source")
        for row in shards:
            self._refuse_live(row, f"shard {row.number}/{row.shards} of this source")
        late = _of(ShardRow, self.source_id) & (ShardRow.owner != FREE)
        self.connection.execute(update(ShardRow).where(late).values(fence=ShardRow.fence + 1, owner=FREE))
        mine = update(LeaseRow).where(_of(LeaseRow, self.source_id))
        self.connection.execute(mine.values(**self._values(), fence=whole.fence + 1))
        return int(whole.fence) + 1

    def take_shard(self, shard: Shard) -> int:
        """Take a shard; return the fence."""
        whole, shards = _lock(self.connection, self.source_id)
        self._refuse_live(whole, "this source")
        self._refuse_other_count(shards, shard)
        before = next((row for row in shards if row.number == shard.number), None)
        if before is not None:
            self._refuse_live(before, f"shard {shard} of this source")
        if whole.owner != FREE:  # whoever had the whole is late
            late = update(LeaseRow).where(_of(LeaseRow, self.source_id))
            self.connection.execute(late.values(fence=whole.fence + 1, owner=FREE))
        fence = 1 if before is None else before.fence + 1
        row = {"source_id": self.source_id, "number": shard.number, "shards": shard.count, **self._values()}
        row |= {"fence": fence, "is_done": False}
        row["first_run_id"] = self.run_id if before is None else before.first_run_id
        names = [name for name in row if name not in ("source_id", "number")]
        upsert_rows(self.connection, ShardRow, [row], keys=["source_id", "number"], update=names)
        return int(fence)

    def _values(self) -> dict[str, Any]:
        return {"run_id": self.run_id, "owner": process_identity.this_process(), "heartbeat_at": self.now}

    def _refuse_live(self, row: AnyRow, what: str) -> None:
        """Raise LeaseError for a lease that a live run holds."""
        # A live owner renews it by the clock as it is. One far ahead is from before the clock was put back, perhaps
        # by years; a late owner is stopped by its fence.
        silence = abs(self.now - row.heartbeat_at)
        # After a commit whose answer was lost, this run itself may have it.
        is_taken = row.owner != FREE and not (self.is_repeated and row.run_id == self.run_id)
        if is_taken and silence < EXPIRES_AFTER and not process_identity.is_dead(row.owner):
            raise LeaseError(
                f"run {row.run_id} is working on {what} ({process_identity.describe(row.owner)}, last heartbeat "
                f"{round(silence.total_seconds())} seconds ago); wait until it has ended"
            )

    def _refuse_other_count(self, shards: Sequence[AnyRow], shard: Shard) -> None:
        """Raise LeaseError where a source is divided otherwise already, and not settled since."""
        counts = {row.shards for row in shards} - {shard.count}
        if counts:
            (count,) = counts
            raise LeaseError(
                f"--shard {shard}: this source is divided into {count} parts, of which not all are done; run the "
                f"others of them (--shard NUMBER/{count}), or run once without --shard"
            )


def _lock(connection: Connection, source_id: int) -> tuple[AnyRow, Sequence[AnyRow]]:
    """Lock the lease of a source and those of its shards, in this order, and return them."""
    query = select(LeaseRow.__table__).where(_of(LeaseRow, source_id)).with_for_update()
    whole = connection.execute(query).one()
    shards = select(ShardRow.__table__).where(_of(ShardRow, source_id)).order_by(ShardRow.number)
    return whole, connection.execute(shards.with_for_update()).all()


def _of(table: Any, source_id: int) -> ColumnElement[bool]:
    mine: ColumnElement[bool] = table.source_id == source_id
    return mine


def _beat(lease: Lease, ended: threading.Event) -> None:
    while not ended.wait(HEARTBEAT_SECONDS):
        try:
            with lease.database.begin() as connection:
                lease.check(connection)
        except CatalogerError as error:
            # The next write checks again and fails properly; a heartbeat that is late once does no harm.
            logger.warning("the heartbeat failed: %s", error)
