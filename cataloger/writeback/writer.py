"""Answers into the shop's own tables, in the transaction that records them.

A value that a person changed after we wrote it is never overwritten: `cataloger_write` keeps what we wrote, as the
database read it back, and a cell with another value is left unchanged. One that the shop had before is replaced only
where it says nothing, or where the options allow it.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, select

from cataloger.contracts import TOP_K
from cataloger.db import AnyRow, Database
from cataloger.ledger import WHOLE_ROW, Lease, SourceRef, find_other_target
from cataloger.schema import CurrentProductCorrectionRow, ProductCurrentRow, ProductResultRow
from cataloger.utils import shown_key, traced
from cataloger.writeback.column_values import ABSENT, UnwritableError, restore
from cataloger.writeback.journal import (
    CellChange,
    Journal,
    WriteCounts,
    columns_of_older_runs,
    last_writes,
    write_cells,
)
from cataloger.writeback.plan import WritePlan
from cataloger.writeback.product_table import Cells, ProductRow
from cataloger.writeback.two_steps import PlainWriter

PRODUCTS_PER_STATEMENT = 250
PRODUCTS_PER_TRANSACTION = 1000


class WriteBack:
    """Writes for the products of one source in one run, to one table or several."""

    def __init__(self, plans: Sequence[WritePlan], source: SourceRef, run_id: int, weights_id: str) -> None:
        self._source = source
        self._weights_id = weights_id
        writers = [_TableWriter(plan, source, run_id) for plan in plans]
        self._writers = [writer for writer in writers if not writer.plan.table.is_plain]
        self._plain = [writer for writer in writers if writer.plan.table.is_plain]

    def write(self, connection: Connection, products: Collection[str]) -> WriteCounts:
        """Bring the rows of products, by hash, up to their answers, in the caller's transaction.

        Those of tables without transactions are written by `write_plain`, behind it.
        """
        counts = WriteCounts()
        for page in _pages(products) if self._writers else ():
            answers = self._answers(connection, page)
            for writer in self._writers:
                writer.write(connection, answers, counts)
        return counts

    def write_plain(self, database: Database, lease: Lease, products: Collection[str]) -> WriteCounts:
        """Bring the rows of products, by hash, in tables without transactions up to their answers."""
        counts = WriteCounts()
        for page in _pages(products) if self._plain else ():
            answers = database.fetch(self._answers, page)
            for writer in self._plain:
                counts.add(writer.write_plain(database, lease, answers))
        return counts

    @traced("write-back")
    def settle(self, database: Database, lease: Lease) -> WriteCounts:
        """After a run: bring every row up to its answer, also those that the run did not touch.

        The counts are those of all rows, except that what was written before is not in them.
        """
        counts = WriteCounts()
        for answers in self._pages(database):
            seen = WriteCounts()
            if database.fetch(self._changes, self._writers, answers, seen):
                seen = database.write(self._write_page, lease, [row.product_hash for row in answers])
            counts.add(seen)
            for writer in self._plain:
                counts.add(writer.write_plain(database, lease, answers))
        return counts

    def _write_page(self, connection: Connection, lease: Lease, products: Collection[str]) -> WriteCounts:
        lease.check(connection)
        return self.write(connection, products)

    def preview(self, database: Database) -> WriteCounts:
        """Count what `settle` would write, and write nothing."""
        counts = WriteCounts()
        for answers in self._pages(database):
            for label, value in database.fetch(self._changes, [*self._writers, *self._plain], answers, counts):
                counts.count(label, value)
        return counts

    def _changes(
        self,
        connection: Connection,
        writers: Iterable["_TableWriter"],
        answers: Sequence[AnyRow],
        counts: WriteCounts,
    ) -> list[tuple[str, Any]]:
        """Return the cells that would be set, as what counts call them and their new values."""
        return [
            (writer.plan.table.label(column), value)
            for writer in writers
            for change in writer.changes(connection, answers, counts, lock=False)
            for column, value in change.new.items()
        ]

    def _pages(self, database: Database) -> Iterator[Sequence[AnyRow]]:
        last, page = "", self._query().order_by(ProductCurrentRow.product_hash).limit(PRODUCTS_PER_TRANSACTION)
        while rows := database.rows(page.where(ProductCurrentRow.product_hash > last)):
            yield rows
            last = rows[-1].product_hash

    def _answers(self, connection: Connection, products: list[str]) -> Sequence[AnyRow]:
        return connection.execute(self._query().where(ProductCurrentRow.product_hash.in_(products))).all()

    def _query(self) -> Any:
        mine = (ProductCurrentRow.source_id == self._source.id) & (ProductCurrentRow.weights_id == self._weights_id)
        corrections = (CurrentProductCorrectionRow.source_id == ProductCurrentRow.source_id) & (
            CurrentProductCorrectionRow.product_hash == ProductCurrentRow.product_hash
        )
        columns = [
            getattr(ProductResultRow, f"{kind}_{n}") for n in range(1, TOP_K + 1) for kind in ("label", "confidence")
        ]
        return (
            select(ProductCurrentRow.product_hash, ProductResultRow.product_key, ProductResultRow.decision, *columns)
            .add_columns(CurrentProductCorrectionRow.label.label("corrected_label"))
            .join(ProductResultRow, ProductResultRow.id == ProductCurrentRow.result_id)
            .join(CurrentProductCorrectionRow, corrections, isouter=True)
            .where(mine)
        )


class _TableWriter:
    """Writes to one table."""

    def __init__(self, plan: WritePlan, source: SourceRef, run_id: int) -> None:
        self.plan = plan
        self._source = source
        self._run_id = run_id
        self._target_id: int | None = None
        self._replaced_freely: frozenset[str] | None = None
        self._is_recovered = False

    def write(self, connection: Connection, answers: Iterable[AnyRow], counts: WriteCounts) -> None:
        """Bring rows up to the answers, in the caller's transaction."""
        changes = self.changes(connection, answers, counts, lock=True)
        journal = Journal(self._source.id, self._run_id, self._target_id)
        write_cells(connection, self.plan.table, journal, changes, counts)

    def write_plain(self, database: Database, lease: Lease, answers: Iterable[AnyRow]) -> WriteCounts:
        """Bring rows of a table without transactions up to the answers."""
        counts, journal = WriteCounts(), Journal(self._source.id, self._run_id, database.fetch(self._target))
        plain = PlainWriter(database, lease, self.plan.table, journal)
        if not self._is_recovered:
            plain.recover()
            self._is_recovered = True
        plain.write(database.fetch(self.changes, answers, counts, lock=False), counts)
        return counts

    def changes(
        self, connection: Connection, answers: Iterable[AnyRow], counts: WriteCounts, *, lock: bool
    ) -> list[CellChange]:
        """Return what answers change; count what they may not."""
        wanted = self._wanted(answers, counts)
        if not wanted:
            return []
        rows = self.plan.table.read(connection, {each: key for each, (key, _) in wanted.items()}, lock=lock)
        last = self._last(connection, list(rows))
        changes = []
        for product_hash, row in rows.items():
            (key, cells), ours = wanted[product_hash], last.get(product_hash, {})
            new = self._decide(key, row, self.plan.complete(cells, ours), ours, counts)
            if new:
                changes.append(CellChange(product_hash, key, row, self.plan.decided(new, row)))
        return changes

    def _last(self, connection: Connection, products: Sequence[str]) -> dict[str, dict[str, AnyRow]]:
        """Return what we wrote last: product hash -> column -> row."""
        if self.plan.target is None:
            if self._replaced_freely is None:
                columns = self.plan.table.cells
                self._replaced_freely = columns_of_older_runs(connection, self._source.id, columns)
        elif self._target(connection) is None:  # a dry run before the first
            return {}
        return last_writes(connection, self._source.id, self._target_id, products)

    def _target(self, connection: Connection) -> int | None:
        """Return the number of another table; None for the product table."""
        if self.plan.target is not None and self._target_id is None:
            self._target_id = find_other_target(connection, self._source.id, self.plan.target)
        return self._target_id

    def _wanted(self, answers: Iterable[AnyRow], counts: WriteCounts) -> dict[str, tuple[str, Cells]]:
        """Return product hash -> (key, values of its answer); count answers without a code of the shop."""
        wanted = {}
        for row in answers:
            try:
                cells = self.plan.values(row)
            except UnwritableError as error:
                counts.add(WriteCounts(refused=1, reasons=[f"{shown_key(row.product_key)}: {error}"]))
                continue
            if cells:
                wanted[row.product_hash] = (row.product_key, cells)
        return wanted

    def _decide(
        self, key: str, row: ProductRow, wanted: Cells, last: Mapping[str, AnyRow], counts: WriteCounts
    ) -> Cells:
        """Return the cells to set: those that differ, and that nobody else has edited."""
        new = {}
        is_removed = row.cells.get(WHOLE_ROW) is ABSENT and any(
            restore(ours.new_value) is not ABSENT for ours in last.values()
        )
        for column, value in wanted.items():
            cell, present, ours = self.plan.table.cell(column), row.cells[column], last.get(column)
            if cell.is_same(present, value):
                continue
            if is_removed or (ours is not None and not cell.is_same(present, restore(ours.new_value))):
                counts.add(WriteCounts(edited=1, edited_products=[key]))
                continue
            is_shops = present is not None and present is not ABSENT and (ours is None or ours.restores)
            if is_shops and not self._may_replace(column, present):
                if self.plan.options.only_null:
                    counts.not_null += 1
                else:
                    counts.kept += 1
                continue
            counts.replaced += is_shops
            new[column] = value
        return new

    def _may_replace(self, column: str, value: Any) -> bool:
        is_free = self._replaced_freely is not None and column in self._replaced_freely
        return (is_free and not self.plan.options.only_null) or self.plan.may_replace(column, value)


def _pages(products: Collection[str]) -> Iterator[list[str]]:
    ordered = sorted(products)
    for start in range(0, len(ordered), PRODUCTS_PER_STATEMENT):
        yield ordered[start : start + PRODUCTS_PER_STATEMENT]
