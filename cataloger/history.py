"""What holds when runs are undone: the last word of the runs that still count, as if the others had never been.

Nothing of a run is lost by undoing it. Results, marks of presence and the models that sources are pinned to are kept
by run; which run was undone is kept with the run. What holds now is worked out anew from them, so that runs can be
undone in any order, and undoing an undo needs nothing of its own.
"""

from collections.abc import Collection, Iterable, Iterator

from sqlalchemy import ColumnElement, Connection, delete, select, update

from cataloger.db.models import Current, Item, ItemPresence, Result, Run, RunSource, Source
from cataloger.db.types import AnyRow
from cataloger.db.upsert import upsert
from cataloger.records import TRANSIENT_PREFIXES
from cataloger.words import renew_products_of


def counts() -> ColumnElement[bool]:
    """Return the condition that a run counts."""
    return Run.undone_by_id.is_(None)


def spares(error_code: str | None, content_hash: str | None, good_hash: str | None) -> bool:
    """True when a result must not replace a good one: it failed in passing, or on the very same bytes."""
    return error_code is not None and (error_code.startswith(TRANSIENT_PREFIXES) or content_hash == good_hash)


def renew_results(connection: Connection, item_ids: Collection[int], weights_id: str) -> None:
    """Point to what holds of some images under some weights."""
    query = (
        select(Result.id, Result.item_id, Result.error_code, Result.content_hash)
        .join(Run, Run.id == Result.run_id)
        .where(Result.item_id.in_(item_ids), Result.weights_id == weights_id, counts())
        .order_by(Result.id)
    )
    found = fold(connection.execute(query))
    rows = [
        {"item_id": item_id, "weights_id": weights_id, "result_id": result_id, "latest_id": latest_id}
        for item_id, (result_id, latest_id) in found.items()
    ]
    upsert(connection, Current, rows, keys=["item_id", "weights_id"], update=["result_id", "latest_id"])
    if without := [item_id for item_id in item_ids if item_id not in found]:
        mine = Current.item_id.in_(without) & (Current.weights_id == weights_id)
        connection.execute(delete(Current).where(mine))


def fold(rows: Iterable[AnyRow]) -> dict[int, tuple[int, int]]:
    """Return item id -> (result that holds, newest result), from results in the order of time.

    rows: with id, item_id, error_code and content_hash.
    """
    return {row.item_id: (after.id, row.id) for row, _, after in steps(rows)}


def steps(rows: Iterable[AnyRow]) -> Iterator[tuple[AnyRow, AnyRow | None, AnyRow]]:
    """Yield each result with those that held of its item before and after it. rows: as for `fold`."""
    holding: dict[int, AnyRow] = {}
    for row in rows:
        before = holding.get(row.item_id)
        after = row
        if before is not None and before.error_code is None:
            after = before if spares(row.error_code, row.content_hash, before.content_hash) else row
        holding[row.item_id] = after
        yield row, before, after


def mark_presence(connection: Connection, item_ids: Collection[int], run_id: int, *, is_gone: bool) -> None:
    """Take items out of the views, or bring them back, and keep which run did."""
    rows = [{"run_id": run_id, "item_id": item_id, "is_gone": is_gone} for item_id in item_ids]
    upsert(connection, ItemPresence, rows, keys=["run_id", "item_id"], update=["is_gone"])
    value = run_id if is_gone else None
    connection.execute(update(Item).where(Item.id.in_(item_ids)).values(gone_run_id=value))
    renew_products_of(connection, item_ids)


def renew_presence(connection: Connection, item_ids: Collection[int]) -> None:
    """Have items in the views, or not, as the last run that counts and changed that left them."""
    query = (
        select(ItemPresence.item_id, ItemPresence.run_id, ItemPresence.is_gone)
        .join(Run, Run.id == ItemPresence.run_id)
        .where(ItemPresence.item_id.in_(item_ids), counts())
        .order_by(ItemPresence.run_id)
    )
    last = {row.item_id: row for row in connection.execute(query)}
    gone: dict[int | None, list[int]] = {}
    for item_id in item_ids:
        row = last.get(item_id)
        gone.setdefault(row.run_id if row is not None and row.is_gone else None, []).append(item_id)
    for run_id, ids in gone.items():
        connection.execute(update(Item).where(Item.id.in_(ids)).values(gone_run_id=run_id))
    renew_products_of(connection, item_ids)


def pin(connection: Connection, source_id: int, run_id: int, weights_id: str) -> None:
    """Make a model the one that a source's views show, and keep which run did."""
    row = {"run_id": run_id, "source_id": source_id, "weights_id": weights_id}
    upsert(connection, RunSource, [row], keys=["run_id", "source_id"], update=["weights_id"])
    connection.execute(update(Source).where(Source.id == source_id).values(weights_id=weights_id))


def renew_pin(connection: Connection, source_id: int) -> str | None:
    """Pin a source to the model of the last run that counts; return its weights, None if there is no such run."""
    query = (
        select(RunSource.weights_id)
        .join(Run, Run.id == RunSource.run_id)
        .where(RunSource.source_id == source_id, counts())
        .order_by(RunSource.run_id.desc())
        .limit(1)
    )
    weights_id = connection.scalar(query)
    connection.execute(update(Source).where(Source.id == source_id).values(weights_id=weights_id))
    return weights_id
