"""The values of cells of the shop's table when a run that wrote to them is undone, or reapplied."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, select

from cataloger.db import AnyRow, Database, describe, value_pages
from cataloger.errors import SourceError, UsageError
from cataloger.ledger import WHOLE_ROW, OtherTarget, effective_results, other_targets, write_targets
from cataloger.schema import INTENDED, RunRow, WriteRow
from cataloger.writeback import (
    ABSENT,
    ANY_ROW,
    Cell,
    CellChange,
    ProductRow,
    ProductTable,
    other_table,
    restore,
    written_to,
)

PRODUCTS_PER_READ = 500


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """What is to be done with the cells of some products.

    restores: for each cell, by product hash and column, whether the shop's own value is restored. edited: keys and
    columns that people have changed. missing: products that have no row.
    """

    changes: list[CellChange]
    restores: dict[tuple[str, str], bool]
    edited: list[tuple[str, str]]
    missing: int


@dataclass(frozen=True, slots=True)
class UndoneCells:
    """Computes the values of the cells that a run wrote once it is undone, or reapplied.

    run_id: the run, which is no undo. is_undone: whether it will be undone. target_id: of another table than that of
    the products.
    """

    source_id: int
    run_id: int
    is_undone: bool
    table: ProductTable
    target_id: int | None = None

    def pages(self, database: Database) -> Iterator[list[str]]:
        """Yield the hashes of the products that the run wrote to."""
        mine = (WriteRow.run_id == self.run_id) & (WriteRow.source_id == self.source_id)
        products = select(WriteRow.product_hash).where(mine, written_to(self.target_id))
        yield from value_pages(database, products, WriteRow.product_hash, PRODUCTS_PER_READ)

    def compute(self, connection: Connection, products: Sequence[str], *, lock: bool) -> RestorePlan:
        """Compare the current values of the cells with those that we wrote last and those that they are to get."""
        mine = (WriteRow.source_id == self.source_id) & WriteRow.product_hash.in_(products)
        query = (
            select(WriteRow.__table__, _is_effective_write().label("is_effective"))
            .join(RunRow, RunRow.id == WriteRow.run_id)
            .where(mine, written_to(self.target_id))
            .order_by(WriteRow.id)
        )
        cells: dict[tuple[str, str], list[AnyRow]] = {}
        for row in connection.execute(query):
            cells.setdefault((row.product_hash, row.column_name), []).append(row)
        touched = self._touched(cells)
        keys = {product: rows[0].product_key for (product, _), rows in touched.items()}
        found = self.table.read(connection, keys, lock=lock)
        return self._compare(self._made(touched, found), keys, found)

    def _made(
        self, cells: Mapping[tuple[str, str], list[AnyRow]], found: Mapping[str, ProductRow]
    ) -> dict[tuple[str, str], list[AnyRow]]:
        """Leave out what was intended and not made: the cell is as it was before."""
        made = {}
        for (product, column), rows in cells.items():
            cell, row = self.table.cell(column), found.get(product)
            kept = [
                each
                for each in rows
                if each.state != INTENDED
                or (row is not None and not cell.is_same(row.cells[column], restore(each.old_value)))
            ]
            if kept:
                made[product, column] = kept
        return made

    def _touched(self, cells: Mapping[tuple[str, str], list[AnyRow]]) -> dict[tuple[str, str], list[AnyRow]]:
        """Return the cells that the run wrote; of rows that are added and deleted as a whole, all of their cells."""
        found = {key: rows for key, rows in cells.items() if any(row.run_id == self.run_id for row in rows)}
        if WHOLE_ROW not in self.table.cells:
            return found
        products = {product for product, _ in found}
        return {(product, column): rows for (product, column), rows in cells.items() if product in products}

    def _targets(self, cells: Mapping[tuple[str, str], list[AnyRow]]) -> dict[tuple[str, str], tuple[Any, bool]]:
        """Return the value that each cell is to get, and whether that is the shop's own.

        A row that we added stays as long as any cell of it does; then its other cells stay as they are.
        """
        targets = {key: self._target(rows) for key, rows in cells.items()}
        staying = {
            product
            for (product, column), (value, _) in targets.items()
            if WHOLE_ROW in self.table.cells and column != WHOLE_ROW and value is not ABSENT
        }
        for product, column in [key for key in targets if key[0] in staying]:
            if column == WHOLE_ROW:
                targets[product, column] = ANY_ROW, False
            elif targets[product, column][0] is ABSENT:
                del targets[product, column]
        return targets

    def _compare(
        self,
        cells: Mapping[tuple[str, str], list[AnyRow]],
        keys: Mapping[str, str],
        found: Mapping[str, ProductRow],
    ) -> RestorePlan:
        new: dict[str, dict[str, Any]] = {}
        missing = keys.keys() - found.keys()
        plan = RestorePlan([], {}, [], 0)
        for (product, column), (target, restores) in self._targets(cells).items():
            written = restore(cells[product, column][-1].new_value)
            cell = self.table.cell(column)
            if product not in found or cell.is_restored(written, target):
                continue
            present = found[product].cells[column]
            if cell.is_same(present, written):
                new.setdefault(product, {})[column] = target
                plan.restores[product, column] = restores
            elif present is ABSENT:
                missing.add(product)
            else:
                plan.edited.append((keys[product], self.table.label(column) or column))
        for product, values in new.items():
            if self._is_whole(product, values, cells):
                plan.changes.append(CellChange(product, keys[product], found[product], values))
            else:
                plan.edited.append((keys[product], ", ".join(values)))
        return replace(plan, missing=len(missing))

    def _is_whole(
        self, product: str, values: Mapping[str, Any], cells: Mapping[tuple[str, str], list[AnyRow]]
    ) -> bool:
        """True unless a row that we have added is to go, but a person has changed a part of it."""
        if WHOLE_ROW not in self.table.cells or ABSENT not in values.values():
            return True
        return {column for key, column in cells if key == product} <= values.keys()

    def _target(self, rows: Sequence[AnyRow]) -> tuple[Any, bool]:
        """Return the value that a cell is to get, and whether that is the shop's own."""
        effective = [self._is_effective(row) for row in rows]
        for row, is_effective in zip(reversed(rows), reversed(effective), strict=True):
            if is_effective:
                return restore(row.new_value), bool(row.restores)
        return restore(rows[0].old_value), True

    def _is_effective(self, row: AnyRow) -> bool:
        return not self.is_undone if row.run_id == self.run_id else bool(row.is_effective)


def _is_effective_write() -> Any:
    """Return the condition that a write is effective: its run is, and is no undo, or was pruned."""
    return RunRow.pruned | (effective_results.is_effective() & RunRow.undoes_id.is_(None))


def written_table(connection: Connection, run_id: int, source_id: int, target_id: int | None) -> ProductTable:
    """Return a table that a run wrote to. Raises UsageError for one that no longer exists."""
    written = select(WriteRow.column_name).where(WriteRow.source_id == source_id, written_to(target_id)).distinct()
    columns = sorted(connection.scalars(written.where(WriteRow.run_id == run_id)))
    dialect = connection.dialect.name
    try:
        if target_id is not None:
            target = other_targets(connection, [target_id])[target_id]
            info = describe(connection, target.table, "the table")
            info.require([*target.keys, *_own_columns(target, columns)], "column")
            return other_table(info, target, sorted(connection.scalars(written)), dialect)
        product_table = write_targets(connection, [run_id])[run_id]
        info = describe(connection, product_table.table, "the table")
        info.require(columns, "column")
        info.require(product_table.ids, "column")
    except SourceError as error:
        raise UsageError(f"run {run_id} wrote to a table or column that no longer exists: {error}") from error
    return ProductTable(info, product_table.ids, [Cell(column, info.columns[column], dialect) for column in columns])


def _own_columns(target: OtherTarget, columns: list[str]) -> list[str]:
    """Return the columns of another table that an undo needs. columns: that a run wrote to."""
    names = [name for name, _ in (*target.constants, *target.values)]
    written = [column for column in columns if column != WHOLE_ROW]
    return [*names, *(written if target.category is None else [target.category])]
