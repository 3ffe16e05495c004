"""What cells of the shop's table are to hold when a run that wrote to them does not count, or counts again."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from cataloger import history
from cataloger.db.cells import restore
from cataloger.db.database import Database
from cataloger.db.models import Run as RunRow
from cataloger.db.models import Write as WriteRow
from cataloger.db.paging import value_pages
from cataloger.db.types import AnyRow
from cataloger.product_table import Found, ProductTable
from cataloger.write_back import Change

PRODUCTS_PER_READ = 500


@dataclass(frozen=True, slots=True)
class Look:
    """What is to be done with the cells of some products.

    restores: for each cell, by product hash and column, whether the shop gets its own value back. edited: keys and
    columns that people have changed. missing: products that have no row.
    """

    changes: list[Change]
    restores: dict[tuple[str, str], bool]
    edited: list[tuple[str, str]]
    missing: int


@dataclass(frozen=True, slots=True)
class Restoring:
    """Works out what the cells that a run wrote are to hold once it does not count, or counts again.

    run_id: the run, which is no undo. is_undone: what it will be.
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

    def look(self, connection: Connection, products: Sequence[str], *, lock: bool) -> Look:
        """Compare what the cells hold, what we left there, and what they are to hold."""
        mine = (WriteRow.source_id == self.source_id) & WriteRow.product_hash.in_(products)
        query = (
            select(WriteRow.__table__, _is_word().label("counts"))
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
        found: Mapping[str, Found],
    ) -> Look:
        new: dict[str, dict[str, Any]] = {}
        look = Look([], {}, [], len(keys.keys() - found.keys()))
        for (product, column), rows in cells.items():
            target, restores = self._target(rows)
            stands = restore(rows[-1].new_value)
            cell = self.table.cells[column]
            if product not in found or cell.is_same(stands, target):
                continue
            if cell.is_same(found[product].cells[column], stands):
                new.setdefault(product, {})[column] = target
                look.restores[product, column] = restores
            else:
                look.edited.append((keys[product], column))
        look.changes.extend(Change(product, keys[product], found[product], values) for product, values in new.items())
        return look

    def _target(self, rows: Sequence[AnyRow]) -> tuple[Any, bool]:
        """Return what a cell is to hold, and whether that is the shop's own value."""
        is_counted = [self._counts(row) for row in rows]
        for row, counts in zip(reversed(rows), reversed(is_counted), strict=True):
            if counts:
                return restore(row.new_value), bool(row.restores)
        return restore(rows[0].old_value), True

    def _counts(self, row: AnyRow) -> bool:
        return not self.is_undone if row.run_id == self.run_id else bool(row.counts)


def _is_word() -> Any:
    """Return the condition that a write holds: of a run that counts and is no undo, or of one that was pruned."""
    return RunRow.pruned | (history.counts() & RunRow.undoes_id.is_(None))
