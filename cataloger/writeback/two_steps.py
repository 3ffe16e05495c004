"""Writing to a table without transactions, which cannot be written together with its journal.

What is to be written is recorded first, as intended; then it is made; then it is confirmed. Whenever that ends in
between, the values of the cells tell what was made: a cell that is as it was before has not been written, one that is
as intended has. Any other value is a person's, and stays.

The cells are written while the lease of the source is locked, so that no other run takes it over meanwhile.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, select, update
from sqlalchemy.exc import DBAPIError

from cataloger.db import AnyRow, Database, DatabaseURL, driver_message, is_transient, sanitize_text, value_pages
from cataloger.ledger import Lease
from cataloger.schema import CONFIRMED, INTENDED, WriteRow
from cataloger.utils import failpoints
from cataloger.writeback.column_values import keep, restore
from cataloger.writeback.journal import (
    CellChange,
    Journal,
    WriteCounts,
    refuse,
    restorable,
    written_to,
)
from cataloger.writeback.product_table import ProductRow, ProductTable

PRODUCTS_PER_PAGE = 250


@dataclass(frozen=True, slots=True)
class PlainWriter:
    """Writes cells of one table without transactions, for one source and run."""

    database: Database
    lease: Lease
    table: ProductTable
    journal: Journal

    def write(
        self,
        changes: Sequence[CellChange],
        counts: WriteCounts,
        restores: Mapping[tuple[str, str], bool] | None = None,
    ) -> None:
        """Set cells, and record their old and new values; see `write_cells`."""
        ours = restorable(changes, counts)
        if not ours:
            return
        self.database.write(self._intend, ours, restores or {})
        failpoints.reach("after_intended")
        products = [change.product_hash for change in ours]
        counts.add(self.database.write(self._settle, products, writes=True))

    def recover(self) -> None:
        """Settle what a run that was killed has intended, which may be made or not."""
        mine = (WriteRow.source_id == self.journal.source_id) & (WriteRow.state == INTENDED)
        products = select(WriteRow.product_hash).where(mine, written_to(self.journal.target_id))
        for page in value_pages(self.database, products, WriteRow.product_hash, PRODUCTS_PER_PAGE):
            self.database.write(self._settle, page, writes=False)

    def _intend(
        self, connection: Connection, changes: Iterable[CellChange], restores: Mapping[tuple[str, str], bool]
    ) -> None:
        self.lease.check(connection)
        entries = (
            {
                "product_key": sanitize_text(change.product_key),
                "product_hash": change.product_hash,
                "column_name": column,
                "old_value": keep(old),
                "new_value": keep(change.new[column]),
                "restores": restores.get((change.product_hash, column), False),
            }
            for change in changes
            for column, old in change.old.items()
        )
        self.journal.append(connection, entries, INTENDED)

    def _settle(self, connection: Connection, products: Sequence[str], *, writes: bool) -> WriteCounts:
        """Bring what is intended for products to an end. writes: make what is not made yet; else it is given up."""
        self.lease.check(connection)
        counts = WriteCounts()
        intents = self._intents(connection, products)
        keys = {row.product_hash: row.product_key for row in intents}
        rows = self.table.read(connection, keys, lock=False)
        made = set[str]()
        if writes:
            changes = _unmade(self.table, intents, rows)
            made = {change.product_hash for change in changes if self._make(connection, change, counts)}
            failpoints.reach("after_made")
            rows = self.table.read(connection, keys, lock=False)
        given_up = []
        for row in intents:
            cell, present = self.table.cell(row.column_name), _value(rows, row)
            if present is MISSING or cell.is_same(present, restore(row.old_value)):
                given_up.append(row.id)
                if present is not MISSING and row.product_hash in made:
                    refuse(counts, row.product_key, f"{row.column_name} has not taken {restore(row.new_value)!r}")
                continue
            is_made = cell.is_same(present, restore(row.new_value))
            # Another value is a person's: it counts as changed since we wrote, so that nothing is written over it.
            stored = keep(present) if is_made else row.new_value
            connection.execute(
                update(WriteRow).where(WriteRow.id == row.id).values(state=CONFIRMED, new_value=stored)
            )
            if is_made:
                counts.count(self.table.label(row.column_name), present)
        if given_up:
            connection.execute(delete(WriteRow).where(WriteRow.id.in_(given_up)))
        failpoints.reach("before_commit")
        return counts

    def _make(self, connection: Connection, change: CellChange, counts: WriteCounts) -> bool:
        """Set the cells of one row; return whether the database has not refused it."""
        try:
            self.table.update(connection, [(change.row, change.new)])
        except DBAPIError as error:
            if is_transient(error):
                raise
            refuse(counts, change.product_key, driver_message(error, DatabaseURL(connection.engine.url)))
            return False
        return True

    def _intents(self, connection: Connection, products: Sequence[str]) -> Sequence[AnyRow]:
        mine = (WriteRow.source_id == self.journal.source_id) & WriteRow.product_hash.in_(products)
        query = select(WriteRow.__table__).where(mine, written_to(self.journal.target_id))
        rows = connection.execute(query.where(WriteRow.state == INTENDED).order_by(WriteRow.id)).all()
        return [row for row in rows if self.table.has_cell(row.column_name)]


class _Missing:
    """The value of a cell whose row is not there."""


MISSING = _Missing()


def _value(rows: Mapping[str, ProductRow], intent: AnyRow) -> Any:
    row = rows.get(intent.product_hash)
    return MISSING if row is None else row.cells[intent.column_name]


def _unmade(table: ProductTable, intents: Iterable[AnyRow], rows: Mapping[str, ProductRow]) -> list[CellChange]:
    """Return what is to be made: cells that are as they were when it was intended."""
    new: dict[str, dict[str, Any]] = {}
    keys = {}
    for intent in intents:
        present, cell = _value(rows, intent), table.cell(intent.column_name)
        if present is not MISSING and cell.is_same(present, restore(intent.old_value)):
            new.setdefault(intent.product_hash, {})[intent.column_name] = restore(intent.new_value)
            keys[intent.product_hash] = intent.product_key
    return [CellChange(product, keys[product], rows[product], cells) for product, cells in new.items()]
