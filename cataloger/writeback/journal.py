"""What was written into the product table, cell by cell, so that edits of people are recognized, and for undo."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, insert, select
from sqlalchemy.exc import DBAPIError

from cataloger.db import AnyRow, DatabaseURL, driver_message, is_transient, sanitize_text, utc_now
from cataloger.schema import CONFIRMED, INTENDED, RunRow, WriteRow
from cataloger.utils import shown_key
from cataloger.writeback.column_values import ABSENT, UnwritableError, keep
from cataloger.writeback.product_table import Cells, ProductRow, ProductTable

EXAMPLES = 5
RUNS_PER_STATEMENT = 500


@dataclass(slots=True)
class WriteCounts:
    """How the writing of cells ended. written: by column. edited: changed by people since we wrote them, and left so.

    removed: of those that were written, rows of links that were removed. replaced: of those, had a value of the shop.
    kept: have one that may not be replaced. not_null:
    the same, under --only-null. refused: by the database itself, e.g. a trigger.
    edited_products: some examples. reasons: why cells were refused, some examples.
    """

    written: dict[str, int] = field(default_factory=dict)
    removed: int = 0
    edited: int = 0
    replaced: int = 0
    kept: int = 0
    not_null: int = 0
    refused: int = 0
    edited_products: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    def add(self, other: "WriteCounts") -> None:
        """Add the counts of more rows."""
        for column, count in other.written.items():
            self.written[column] = self.written.get(column, 0) + count
        self.removed += other.removed
        self.edited += other.edited
        self.replaced += other.replaced
        self.kept += other.kept
        self.not_null += other.not_null
        self.refused += other.refused
        self.edited_products = (self.edited_products + other.edited_products)[:EXAMPLES]
        self.reasons = (self.reasons + other.reasons)[:EXAMPLES]

    def count(self, label: str, new: Any) -> None:
        """Count a cell that was set. label: what it is called; "" if it is not counted."""
        if label:
            self.written[label] = self.written.get(label, 0) + 1
            self.removed += new is ABSENT

    def as_json(self) -> dict[str, Any]:
        """Return the counts as plain JSON values."""
        return {
            "written": self.written,
            "removed": self.removed,
            "edited": self.edited,
            "edited_products": self.edited_products,
            "replaced": self.replaced,
            "kept": self.kept,
            "not_null": self.not_null,
            "refused": self.refused,
            "reasons": self.reasons,
        }


@dataclass(frozen=True, slots=True)
class CellChange:
    """Cells of one row to set. old: their current values."""

    product_hash: str
    product_key: str
    row: ProductRow
    new: Cells

    @property
    def old(self) -> Cells:
        return {column: self.row.cells[column] for column in self.new}


@dataclass(frozen=True, slots=True)
class Journal:
    """Records writes of one source and run. target_id: of another table; None for the product table."""

    source_id: int
    run_id: int
    target_id: int | None = None

    def append(self, connection: Connection, entries: Iterable[dict[str, Any]], state: str = CONFIRMED) -> None:
        """Record what was written, or is to be."""
        where = {"source_id": self.source_id, "run_id": self.run_id, "target_id": self.target_id}
        common = {**where, "written_at": utc_now(connection), "state": state}
        if rows := [common | entry for entry in entries]:
            connection.execute(insert(WriteRow), rows)


def last_writes(
    connection: Connection, source_id: int, target_id: int | None, products: Sequence[str]
) -> dict[str, dict[str, AnyRow]]:
    """Return what was written last into each cell of a table: product hash -> column -> row.

    What is only intended is not written, before it is known to be (`two_steps`).
    """
    columns = (WriteRow.product_hash, WriteRow.column_name, WriteRow.new_value, WriteRow.restores)
    mine = (WriteRow.source_id == source_id) & WriteRow.product_hash.in_(products) & written_to(target_id)
    mine &= WriteRow.state != INTENDED
    found: dict[str, dict[str, AnyRow]] = {}
    for row in connection.execute(select(*columns).where(mine).order_by(WriteRow.id)):
        found.setdefault(row.product_hash, {})[row.column_name] = row
    return found


def written_to(target_id: int | None) -> ColumnElement[bool]:
    """Return the condition that a write was to another table, or with None, to the product table."""
    return WriteRow.target_id.is_(None) if target_id is None else WriteRow.target_id == target_id


def columns_of_older_runs(connection: Connection, source_id: int, columns: Iterable[str]) -> frozenset[str]:
    """Return those of some columns that runs of older versions have written to, which replaced every value.

    The options that a run has recorded tell it: those versions had no --overwrite.
    """
    runs: dict[str, list[int]] = {}
    query = select(RunRow.id, RunRow.options).where(RunRow.command == "sync")
    for row in connection.execute(query):
        options = row.options.get("write") or {}
        if "overwrite" not in options:
            for column, _ in options.get("columns") or ():
                runs.setdefault(column, []).append(row.id)
    wrote = select(WriteRow.id).where(WriteRow.source_id == source_id, WriteRow.restores.is_(False)).limit(1)
    return frozenset(
        column
        for column in columns
        if any(
            connection.scalar(wrote.where(WriteRow.column_name == column, WriteRow.run_id.in_(some))) is not None
            for some in _batched(runs.get(column, []))
        )
    )


def _batched(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    """Yield ids in groups that fit into one statement."""
    for start in range(0, len(ids), RUNS_PER_STATEMENT):
        yield ids[start : start + RUNS_PER_STATEMENT]


def write_cells(
    connection: Connection,
    table: ProductTable,
    journal: Journal,
    changes: Sequence[CellChange],
    counts: WriteCounts,
    *,
    restores: Mapping[tuple[str, str], bool] | None = None,
) -> None:
    """Set cells and record their old and new values, as the database reads them back.

    restores: which of them, by product hash and column, restore the shop's own value.
    """
    done = _update(connection, table, restorable(changes, counts), counts)
    after = table.read(connection, {change.product_hash: change.product_key for change in done}, lock=True)
    entries = []
    for change in done:
        current = after.get(change.product_hash, change.row).cells
        for column, old in change.old.items():
            if table.cell(column).is_same(old, current[column]):
                continue
            counts.count(table.label(column), current[column])
            entries.append(
                {
                    "product_key": sanitize_text(change.product_key),
                    "product_hash": change.product_hash,
                    "column_name": column,
                    "old_value": keep(old),
                    "new_value": keep(current[column]),
                    "restores": bool(restores and restores[change.product_hash, column]),
                }
            )
    journal.append(connection, entries)


def restorable(changes: Iterable[CellChange], counts: WriteCounts) -> list[CellChange]:
    """Leave out what could not be restored."""
    return [kept for change in changes if (kept := _restorable(change, counts)) is not None]


def _restorable(change: CellChange, counts: WriteCounts) -> CellChange | None:
    new = {}
    for column, value in change.new.items():
        try:
            keep(change.row.cells[column])
        except UnwritableError as error:
            refuse(counts, change.product_key, f"{column}: {error}")
        else:
            new[column] = value
    return CellChange(change.product_hash, change.product_key, change.row, new) if new else None


def _update(
    connection: Connection, table: ProductTable, changes: Sequence[CellChange], counts: WriteCounts
) -> Sequence[CellChange]:
    """Update all rows at once, or, when the database refuses one of them, each by itself; return what was done."""
    if not changes:
        return []
    try:
        with connection.begin_nested():
            table.update(connection, [(change.row, change.new) for change in changes])
    except DBAPIError as error:
        if is_transient(error):
            raise
    else:
        return changes
    done = []
    for change in changes:
        try:
            with connection.begin_nested():
                table.update(connection, [(change.row, change.new)])
        except DBAPIError as error:
            if is_transient(error):
                raise
            refuse(counts, change.product_key, driver_message(error, DatabaseURL(connection.engine.url)))
        else:
            done.append(change)
    return done


def refuse(counts: WriteCounts, product: str, reason: str) -> None:
    """Count a cell or row that cannot be written. product: its key."""
    counts.add(WriteCounts(refused=1, reasons=[f"{shown_key(product)}: {reason}"]))
