"""What is current when runs are undone: the latest record of the effective runs, as if the others had never been.

A run is effective unless it is undone. Nothing of a run is lost by undoing it. Results, marks of presence and the
models that sources are pinned to are kept by run; which run was undone is kept with the run. What is current is
recomputed from them, so that runs can be undone in any order, and undoing an undo needs nothing of its own.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, delete, func, select, update

from cataloger.db import AnyRow, upsert_rows
from cataloger.ledger.product_corrections import recompute_product_corrections_of
from cataloger.records import TRANSIENT_PREFIXES
from cataloger.schema import CurrentRow, ItemPresenceRow, ItemRow, ResultRow, RunRow, RunSourceRow, SourceRow


def is_effective() -> ColumnElement[bool]:
    """Return the condition that a run is not undone."""
    return RunRow.undone_by_id.is_(None)


def must_keep_previous(error_code: str | None, content_hash: str | None, good_hash: str | None) -> bool:
    """True when a result must not replace a good one: its failure is transient, or on the very same bytes."""
    return error_code is not None and (error_code.startswith(TRANSIENT_PREFIXES) or content_hash == good_hash)


def recompute_results(connection: Connection, item_ids: Collection[int], weights_id: str) -> None:
    """Recompute which results of some images are current under some weights."""
    query = (
        select(ResultRow.id, ResultRow.item_id, ResultRow.error_code, ResultRow.content_hash)
        .join(RunRow, RunRow.id == ResultRow.run_id)
        .where(ResultRow.item_id.in_(item_ids), ResultRow.weights_id == weights_id, is_effective())
        .order_by(ResultRow.id)
    )
    found = fold(connection.execute(query))
    rows = [
        {"item_id": item_id, "weights_id": weights_id, "result_id": result_id, "latest_id": latest_id}
        for item_id, (result_id, latest_id) in found.items()
    ]
    upsert_rows(connection, CurrentRow, rows, keys=["item_id", "weights_id"], update=["result_id", "latest_id"])
    if without := [item_id for item_id in item_ids if item_id not in found]:
        mine = CurrentRow.item_id.in_(without) & (CurrentRow.weights_id == weights_id)
        connection.execute(delete(CurrentRow).where(mine))


def fold(rows: Iterable[AnyRow]) -> dict[int, tuple[int, int]]:
    """Return item id -> (current result, newest result), from results in the order of time.

    rows: with id, item_id, error_code and content_hash.
    """
    return {row.item_id: (after.id, row.id) for row, _, after in steps(rows)}


def steps(rows: Iterable[AnyRow]) -> Iterator[tuple[AnyRow, AnyRow | None, AnyRow]]:
    """Yield each result with the current ones of its item before and after it. rows: as for `fold`."""
    current: dict[int, AnyRow] = {}
    for row in rows:
        before = current.get(row.item_id)
        after = row
        if before is not None and before.error_code is None:
            after = before if must_keep_previous(row.error_code, row.content_hash, before.content_hash) else row
        current[row.item_id] = after
        yield row, before, after


def mark_presence(connection: Connection, item_ids: Collection[int], run_id: int, *, is_gone: bool) -> None:
    """Remove items from the views, or restore them, and record which run did."""
    rows = [{"run_id": run_id, "item_id": item_id, "is_gone": is_gone} for item_id in item_ids]
    upsert_rows(connection, ItemPresenceRow, rows, keys=["run_id", "item_id"], update=["is_gone"])
    value = run_id if is_gone else None
    connection.execute(update(ItemRow).where(ItemRow.id.in_(item_ids)).values(gone_run_id=value))
    recompute_product_corrections_of(connection, item_ids)


def is_trial(options: Mapping[str, Any]) -> bool:
    """True for the recorded options of a run that was to go through a part of its sources only."""
    return (options.get("run") or {}).get("limit") is not None


def recompute_presence(connection: Connection, item_ids: Collection[int]) -> None:
    """Recompute whether items are in the views: as the last effective run that changed it left them."""
    query = (
        select(ItemPresenceRow.item_id, ItemPresenceRow.run_id, ItemPresenceRow.is_gone)
        .join(RunRow, RunRow.id == ItemPresenceRow.run_id)
        .where(ItemPresenceRow.item_id.in_(item_ids), is_effective())
        .order_by(ItemPresenceRow.run_id)
    )
    last = {row.item_id: row for row in connection.execute(query)}
    by_run: dict[int | None, list[int]] = {}
    for item_id in item_ids:
        row = last.get(item_id)
        by_run.setdefault(row.run_id if row is not None and row.is_gone else None, []).append(item_id)
    for run_id, ids in by_run.items():
        connection.execute(update(ItemRow).where(ItemRow.id.in_(ids)).values(gone_run_id=run_id))
    recompute_product_corrections_of(connection, item_ids)


def pin(
    connection: Connection, source_id: int, run_id: int, pinned: Mapping[str, str], *, is_trial: bool = False
) -> None:
    """Make a model the one that a source's views show, and record which run did.

    pinned: weights_id and, where the run gives the source another one, calibration_id. is_trial: a run of a part of
    the source, which is recorded, and leaves a source the model that it has.
    """
    row = {"run_id": run_id, "source_id": source_id, **pinned}
    upsert_rows(connection, RunSourceRow, [row], keys=["run_id", "source_id"], update=list(pinned))
    mine = SourceRow.id == source_id
    if is_trial:
        mine &= SourceRow.weights_id.is_(None)
    connection.execute(update(SourceRow).where(mine).values(pinned))


def recompute_pin(connection: Connection, source_id: int) -> str | None:
    """Pin a source to the model of the last effective run; return its weights, None if there is no such run.

    A trial, a run with --limit, counts only where there is no other: the first one. The calibration is that of the
    last effective run that gave the source one; results of later runs may be of another, which the next run sees to.
    """
    query = (
        select(RunSourceRow.weights_id, RunRow.options)
        .join(RunRow, RunRow.id == RunSourceRow.run_id)
        .where(RunSourceRow.source_id == source_id, is_effective())
        .order_by(RunSourceRow.run_id.desc())
    )
    weights_id = None
    for row in connection.execute(query):
        weights_id = row.weights_id
        if not is_trial(row.options):
            break
    mine = SourceRow.id == source_id
    connection.execute(update(SourceRow).where(mine).values(weights_id=weights_id))
    calibration_id = connection.scalar(select_calibration_id(source_id))
    changed = func.coalesce(SourceRow.calibration_id, "") != (calibration_id or "")
    connection.execute(update(SourceRow).where(mine, changed).values(calibration_id=calibration_id, is_mixed=True))
    return weights_id


def select_calibration_id(source_id: int, until: int | None = None) -> Select[Any]:
    """Select the calibration that the last effective run gave a source. until: the last run that is looked at."""
    query = (
        select(RunSourceRow.calibration_id)
        .join(RunRow, RunRow.id == RunSourceRow.run_id)
        .where(RunSourceRow.source_id == source_id, RunSourceRow.calibration_id.is_not(None), is_effective())
        .order_by(RunSourceRow.run_id.desc())
        .limit(1)
    )
    return query if until is None else query.where(RunSourceRow.run_id <= until)
