"""Deleting a source with all that was ever recorded of it, page by page.

The views show nothing of it from the first transaction on. A deletion that was killed is ended by the same command.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, delete, func, select, update

from cataloger.db import Database, row_pages, value_pages
from cataloger.history.move_source import find_recorded
from cataloger.hooks import Hooks
from cataloger.ledger import Lease, hold_lease, purge_items, recorded_run
from cataloger.schema import (
    CorrectionRow,
    CurrentProductCorrectionRow,
    ItemRow,
    LabelMapRow,
    LeaseRow,
    OtherTargetRow,
    ProductCurrentRow,
    ProductResultRow,
    ResultRow,
    RunRow,
    RunSourceRow,
    ShardRow,
    SourceRow,
    WriteRow,
    WriteTargetRow,
    paged_source_id,
)
from cataloger.utils import failpoints

PAGE = 500
OF_PRODUCTS = (CurrentProductCorrectionRow, ProductCurrentRow, ProductResultRow, WriteRow)


@dataclass(slots=True)
class DeletionReport:
    """What is recorded of a source; it is deleted unless run_id is None. deleted: images so far."""

    source: str
    kind: str
    images: int
    results: int
    product_results: int
    corrections: int
    writes: int
    run_id: int | None = None
    deleted: int = 0
    interrupted: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "run_id": self.run_id,
            "source": self.source,
            "kind": self.kind,
            "images": self.images,
            "results": self.results,
            "product_results": self.product_results,
            "corrections": self.corrections,
            "writes": self.writes,
            "interrupted": self.interrupted,
        }

    def counts(self) -> dict[str, Any]:
        """Return what is recorded in the run's row."""
        return self.as_json()


DeletionHooks = Hooks[[int, int]]
"""The progress callback receives how many images are deleted, and how many there are."""


def count_recorded(database: Database, name: str) -> DeletionReport:
    """Count what is recorded of a source. Raises UsageError."""
    source = find_recorded(database, name)

    def count(table: Any, *where: ColumnElement[bool]) -> int:
        return int(database.scalar(select(func.count()).select_from(table).where(*where)) or 0)

    def of_items(table: Any) -> int:
        mine = select(func.count()).select_from(table).join(ItemRow, ItemRow.id == table.item_id)
        return int(database.scalar(mine.where(ItemRow.source_id == source.id)) or 0)

    return DeletionReport(
        source=source.name,
        kind=source.kind,
        images=count(ItemRow, ItemRow.source_id == source.id),
        results=of_items(ResultRow),
        product_results=count(ProductResultRow, ProductResultRow.source_id == source.id),
        corrections=of_items(CorrectionRow),
        writes=count(WriteRow, WriteRow.source_id == source.id),
    )


def delete_source(database: Database, name: str, hooks: DeletionHooks | None = None) -> DeletionReport:
    """Delete a source and all that was recorded of it; the runs stay in the list of runs.

    Raises UsageError for an unknown source, LeaseError while a run works on it. After an interruption run it again.
    """
    source, report = find_recorded(database, name), count_recorded(database, name)
    with recorded_run(database, "delete", {"source": source.root}) as run:
        report.run_id, run.report = run.id, report
        with hold_lease(database, source.id, run.id) as lease:
            _Work(database, lease, hooks or Hooks(), report).do()
    return report


@dataclass(frozen=True, slots=True)
class _Work:
    """One deletion."""

    database: Database
    lease: Lease
    hooks: DeletionHooks
    report: DeletionReport

    def do(self) -> None:
        database, source_id = self.database, self.lease.source_id
        database.write(_hide, self.lease)
        items = select(ItemRow.id).where(paged_source_id(database) == source_id)
        for page in row_pages(database, items, ItemRow.id, PAGE):
            if self._is_stopped():
                return
            database.write(_purge_items, self.lease, [row.id for row in page])
            failpoints.reach("after_commit")
            self.report.deleted += len(page)
            self.hooks.progress(self.report.deleted, self.report.images)
        for table in OF_PRODUCTS:
            mine = select(table.product_hash).where(table.source_id == source_id)
            for products in value_pages(database, mine, table.product_hash, PAGE):
                if self._is_stopped():
                    return
                database.write(_purge_products, self.lease, table, products)
        database.write(_purge_source, self.lease)

    def _is_stopped(self) -> bool:
        self.report.interrupted = self.report.interrupted or self.hooks.stop.is_set()
        return self.report.interrupted


def _hide(connection: Connection, lease: Lease) -> None:
    """Take a source out of the views, and keep runs from being undone of which only a part will be left."""
    lease.check(connection)
    connection.execute(update(SourceRow).where(SourceRow.id == lease.source_id).values(weights_id=None))
    alone = RunRow.id.in_(_runs_of_it_alone(lease.source_id))
    connection.execute(update(RunRow).where(alone).values(pruned=True))


def _purge_items(connection: Connection, lease: Lease, ids: list[int]) -> None:
    lease.check(connection)
    purge_items(connection, lease.source_id, ids)
    failpoints.reach("before_commit")


def _purge_products(connection: Connection, lease: Lease, table: Any, products: list[str]) -> None:
    """Delete what is recorded of products under keys that no image has any more."""
    lease.check(connection)
    mine = (table.source_id == lease.source_id) & table.product_hash.in_(products)
    connection.execute(delete(table).where(mine))


def _purge_source(connection: Connection, lease: Lease) -> None:
    lease.check(connection)
    source_id = lease.source_id
    connection.execute(delete(WriteTargetRow).where(WriteTargetRow.run_id.in_(_runs_of_it_alone(source_id))))
    for table in (LabelMapRow, OtherTargetRow, RunSourceRow, ShardRow, LeaseRow):
        connection.execute(delete(table).where(table.source_id == source_id))
    connection.execute(delete(SourceRow).where(SourceRow.id == source_id))


def _runs_of_it_alone(source_id: int) -> Select[int]:
    """Select the runs over a source that were over no other one."""
    others = select(RunSourceRow.run_id).where(RunSourceRow.source_id != source_id)
    return select(RunSourceRow.run_id).where(RunSourceRow.source_id == source_id, RunSourceRow.run_id.not_in(others))
