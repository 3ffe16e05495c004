"""The values of cells of the shop's table when a run that wrote to them is undone, or reapplied."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from cataloger.db import AnyRow, Database, value_pages
from cataloger.ledger import effective_results
from cataloger.schema import RunRow, WriteRow
from cataloger.writeback import CellChange, ProductRow, ProductTable, restore

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

    run_id: the run, which is no undo. is_undone: whether it will be undone.
    """

    source_id: int
    run_id: int
    is_undone: bool
    table: ProductTable

    def pages(self, database: Database) -> Iterator[list[str]]:
        """Yield the hashes of the products that the run wrote to."""
        mine = (WriteRow.run_id == self.run_id) & (WriteRow.source_id == self.source_id)
        products = select(WriteRow.product_hash).where(mine)
        yield from value_pages(database, products, WriteRow.product_hash, PRODUCTS_PER_READ)

    def compute(self, connection: Connection, products: Sequence[str], *, lock: bool) -> RestorePlan:
        """Compare the current values of the cells with those that we wrote last and those that they are to get."""
        mine = (WriteRow.source_id == self.source_id) & WriteRow.product_hash.in_(products)
        query = (
            select(WriteRow.__table__, _is_effective_write().label("is_effective"))
            .join(RunRow, RunRow.id == WriteRow.run_id)
            .where(mine, WriteRow.column_name.in_(list(self.table.cells)))
            .order_by(WriteRow.id)
        )
        cells: dict[tuple[str, str], list[AnyRow]] = {}
        for row in connection.execute(query):
            cells.setdefault((row.product_hash, row.column_name), []).append(row)
        touched = {key: rows for key, rows in cells.items() if any(row.run_id == self.run_id for row in rows)}
        keys = {product: rows[0].product_key for (product, _), rows in touched.items()}
        found = self.table.read(connection, keys, lock=lock)
        return self._compare(touched, keys, found)

    def _compare(
        self,
        cells: Mapping[tuple[str, str], list[AnyRow]],
        keys: Mapping[str, str],
        found: Mapping[str, ProductRow],
    ) -> RestorePlan:
        new: dict[str, dict[str, Any]] = {}
        plan = RestorePlan([], {}, [], len(keys.keys() - found.keys()))
        for (product, column), rows in cells.items():
            target, restores = self._target(rows)
            written = restore(rows[-1].new_value)
            cell = self.table.cells[column]
            if product not in found or cell.is_same(written, target):
                continue
            if cell.is_same(found[product].cells[column], written):
                new.setdefault(product, {})[column] = target
                plan.restores[product, column] = restores
            else:
                plan.edited.append((keys[product], column))
        plan.changes.extend(
            CellChange(product, keys[product], found[product], values) for product, values in new.items()
        )
        return plan

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
