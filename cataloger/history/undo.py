"""Undoing a run: in the ledger, and in the columns of the shop's table that it wrote to.

A run that is undone is not effective any more; then everything that it touched is recomputed
(`ledger.effective_results`), page by page. Each page is committed as a whole, or not at all, and repeating it changes
nothing: an undo that was killed resumes when it is run again. An undo is a run, too; undoing it reapplies the first
one.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, delete, func, select, update
from sqlalchemy.sql import Select

from cataloger.db import AnyRow, Database, value_pages
from cataloger.errors import EditedError, UsageError
from cataloger.history.undo_cells import RestorePlan, UndoneCells, written_table
from cataloger.hooks import Hooks
from cataloger.ledger import (
    Lease,
    ProductResults,
    Run,
    SourceRef,
    close_abandoned,
    effective_results,
    hold_lease,
    recorded_run,
    source_model,
)
from cataloger.schema import (
    ItemPresenceRow,
    ItemRow,
    ProductCurrentRow,
    ResultRow,
    RunRow,
    RunSourceRow,
    SourceRow,
    WriteRow,
)
from cataloger.utils import failpoints
from cataloger.writeback import (
    Journal,
    PlainWriter,
    WriteCounts,
    write_cells,
)

PAGE = 500
NAMED = 20

logger = logging.getLogger(__name__)


UndoHooks = Hooks[[int, int]]
"""The progress callback receives how many images and products are done, and how many there are."""


@dataclass(slots=True)
class UndoReport:
    """What an undo did. run_id: its own. undone_id: the run that was undone. reapplied_id: the run that this
    reapplies, if the undone one is an undo.

    images, products: whose answers were recomputed. restored: cells by column. edited: cells left as people have
    changed them; edited_products: some of theirs. missing: products that are not in the table any more.
    """

    run_id: int
    undone_id: int
    reapplied_id: int | None = None
    images: int = 0
    products: int = 0
    restored: dict[str, int] = field(default_factory=dict)
    edited: int = 0
    edited_products: list[str] = field(default_factory=list)
    missing: int = 0
    refused: int = 0
    reasons: list[str] = field(default_factory=list)
    interrupted: bool = False

    @property
    def exit_status(self) -> int:
        """130 when interrupted, 3 when the table refused a value, else 0."""
        return 130 if self.interrupted else 3 if self.refused else 0

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        return {
            "run_id": self.run_id,
            "undone_run_id": self.undone_id,
            "counts_again": self.reapplied_id,
            "images": self.images,
            "products": self.products,
            "restored": self.restored,
            "edited": self.edited,
            "edited_products": self.edited_products,
            "missing": self.missing,
            "refused": self.refused,
            "reasons": self.reasons,
            "interrupted": self.interrupted,
            "exit_status": self.exit_status,
        }

    def counts(self) -> dict[str, Any]:
        """Return what is recorded in the run's row."""
        return self.as_json()


@dataclass(frozen=True, slots=True)
class Chain:
    """A run, and the effective undos of it: the first reverts it, the second reverts the first, and so on.

    base: the run that is no undo. is_undone: whether it is undone when the work is done. reapplied_id: the run
    that the undone one has undone, if that is an undo itself.
    """

    base: AnyRow
    is_undone: bool
    reapplied_id: int | None


def undo_run(
    database: Database, run_id: int, *, skip_edited: bool = False, hooks: UndoHooks | None = None
) -> UndoReport:
    """Undo a run. skip_edited: leave cells that people have changed since, instead of refusing.

    Raises UsageError for a run that cannot be undone, EditedError when people have changed what it wrote.
    """
    hooks = hooks or Hooks()
    # A run whose process is dead has ended; nothing else closes it before the chain is read.
    close_abandoned(database)
    chain = _chain(database, run_id)
    cells = _undone_cells(database, chain)
    if not skip_edited:
        _refuse_edited(database, chain, cells)
    options = {"run": run_id, "skip_edited": skip_edited}
    with recorded_run(database, "undo", options, undoes=run_id) as run:
        run.report = report = UndoReport(run.id, run_id, chain.reapplied_id)
        _Work(database, run, chain, cells, hooks, report).do()
    return report


def _chain(database: Database, run_id: int) -> Chain:
    """Return what undoing a run means for the run that is no undo. Raises UsageError unless that is possible."""
    runs = database.fetch(_runs_of, run_id)
    if not runs:
        raise UsageError(f"there is no run {run_id}; `cataloger runs list` shows them")
    target, base = runs[0], runs[-1]
    if base.command not in ("tag", "sync", "recalibrate"):
        instead = "; `cataloger feed --into EXPORT.csv --undo` takes copies back" if base.command == "feed" else ""
        raise UsageError(f"run {run_id} is of `cataloger {base.command}`, which cannot be undone{instead}")
    if any(run.pruned for run in runs):
        raise UsageError(
            f"run {run_id} cannot be undone: `cataloger runs prune` has deleted its history, or `cataloger sources "
            "delete` its source"
        )
    if target.outcome is None:
        raise UsageError(f"run {run_id} has not ended; stop it first")
    if target.undone_by_id is not None:
        by = database.fetch(_runs_of, target.undone_by_id)[0]
        if by.outcome == "done":
            raise UsageError(
                f"run {run_id} was undone by run {by.id} already; `cataloger runs undo {by.id}` reverts that"
            )
    elif target.undoes_id is not None and target.outcome != "done":
        raise UsageError(
            f"run {run_id} is an undo that did not finish; `cataloger runs undo {target.undoes_id}` resumes it"
        )
    return Chain(base, len(runs) % 2 == 1, target.undoes_id)


def _runs_of(connection: Connection, run_id: int) -> list[AnyRow]:
    """Return a run and, if it is an undo, what it undoes, and so on down to a run that is none."""
    found: list[AnyRow] = []
    following: int | None = run_id
    while following is not None:
        row = connection.execute(select(RunRow.__table__).where(RunRow.id == following)).one_or_none()
        if row is None:
            break
        found.append(row)
        following = row.undoes_id
    return found


def _undone_cells(database: Database, chain: Chain) -> list[UndoneCells]:
    """Return what a run wrote to each table. Raises UsageError for a table or columns that no longer exist."""
    base = chain.base.id
    where = (WriteRow.source_id, WriteRow.target_id)
    query = select(*where).where(WriteRow.run_id == base).distinct().order_by(*where)
    return [
        UndoneCells(
            source_id, base, chain.is_undone, database.fetch(written_table, base, source_id, target_id), target_id
        )
        for source_id, target_id in database.rows(query)
    ]


def _refuse_edited(database: Database, chain: Chain, cells: Sequence[UndoneCells]) -> None:
    named: list[str] = []
    count = 0
    for plan in cells:
        for page in plan.pages(database):
            edited = database.fetch(plan.compute, page, lock=False).edited
            count += len(edited)
            named += [f"{key} ({column})" for key, column in edited][: NAMED - len(named)]
    if count:
        more = f" and {count - len(named)} more" if count > len(named) else ""
        raise EditedError(
            f"people have changed what run {chain.base.id} wrote: {', '.join(named)}{more}. Nothing was undone; "
            "--skip-edited undoes the rest and leaves these as they are"
        )


def _sources(database: Database, run_id: int) -> list[int]:
    query = select(RunSourceRow.source_id).where(RunSourceRow.run_id == run_id).order_by(RunSourceRow.source_id)
    return database.scalars(query)


@dataclass(slots=True)
class _Work:
    """One undo."""

    database: Database
    run: Run
    chain: Chain
    cells: Sequence[UndoneCells]
    hooks: UndoHooks
    report: UndoReport
    total: int = 0

    def do(self) -> None:
        sources = _sources(self.database, self.chain.base.id)
        self.total = self.database.fetch(self._count)
        # The leases come first: a run in progress there would not see that this run is no longer effective.
        for number, source_id in enumerate(sources):
            with hold_lease(self.database, source_id, self.run.id) as lease:
                if number == 0:
                    self.database.run(self._mark)
                self._do_source(source_id, lease)
            if self.report.interrupted:
                return
        if not sources:
            self.database.run(self._mark)

    def _mark(self, connection: Connection) -> None:
        """Record which runs of the chain are effective now: every second one, from the new one downwards."""
        ids = [run.id for run in _runs_of(connection, self.run.id)]
        for position, run_id in enumerate(ids):
            undone_by = ids[position - 1] if position % 2 == 1 else None
            connection.execute(update(RunRow).where(RunRow.id == run_id).values(undone_by_id=undone_by))

    def _do_source(self, source_id: int, lease: Lease) -> None:
        base = self.chain.base.id
        weights = select(RunSourceRow.weights_id).where(
            RunSourceRow.run_id == base, RunSourceRow.source_id == source_id
        )
        used = str(self.database.scalar(weights))
        pinned = self.database.write(_recompute_pin, lease, source_id)
        products = self._products(source_id, pinned)
        if products and self.database.fetch(self._moves_pin, source_id, used):
            # The views show another model now, whose answers for products are out of date.
            products.recompute_all(self.database, lease)
        items = select(ResultRow.item_id).where(ResultRow.run_id == base)
        for page in self._pages(ResultRow.item_id, items, source_id):
            self._recompute(lease, page, used, products, results=True)
        left = select(ItemPresenceRow.item_id).where(ItemPresenceRow.run_id == base)
        for page in self._pages(ItemPresenceRow.item_id, left, source_id):
            self._recompute(lease, page, used, products, results=False)
        for plan in self.cells:
            if plan.source_id == source_id:
                self._restore(lease, plan)

    def _moves_pin(self, connection: Connection, source_id: int, used: str) -> bool:
        """True when the source has another model with the run than without it; the same if repeated."""
        query = (
            select(RunSourceRow.run_id, RunSourceRow.weights_id)
            .join(RunRow, RunRow.id == RunSourceRow.run_id)
            .where(
                RunSourceRow.source_id == source_id,
                RunSourceRow.run_id != self.chain.base.id,
                effective_results.is_effective(),
            )
            .order_by(RunSourceRow.run_id.desc())
        )
        last = connection.execute(query.limit(1)).one_or_none()
        return last is None or (last.run_id < self.chain.base.id and last.weights_id != used)

    def _products(self, source_id: int, weights_id: str | None) -> ProductResults | None:
        if weights_id is None:
            return None
        root = select(SourceRow.root).where(SourceRow.id == source_id)
        ref = SourceRef(source_id, str(self.database.scalar(root)))
        return ProductResults(ref, self.run.id, source_model(self.database, source_id, weights_id))

    def _recompute(
        self, lease: Lease, items: list[int], used: str, products: ProductResults | None, *, results: bool
    ) -> None:
        def recompute(connection: Connection) -> None:
            lease.check(connection)
            if results:
                effective_results.recompute_results(connection, items, used)
            else:
                effective_results.recompute_presence(connection, items)
            if products:
                products.recompute_for_items(connection, items)
            if products is None or products.model.weights_id != used:
                _purge_products(connection, lease.source_id, items, used)
            failpoints.reach("before_commit")

        self.database.run(recompute)
        failpoints.reach("after_commit")
        self.report.images += len(items)
        self._report_progress()

    def _restore(self, lease: Lease, plan: UndoneCells) -> None:
        plain = self._plain(lease, plan)
        if plain is not None:
            plain.recover()
        for page in plan.pages(self.database):
            if self._is_stopped():
                return
            if plain is None:
                cells, counts = self.database.write(self._write, lease, plan, page)
            else:
                cells, counts = self.database.fetch(plan.compute, page, lock=False), WriteCounts()
                plain.write(cells.changes, counts, cells.restores)
            self.report.products += len(page)
            self.report.missing += cells.missing
            self.report.edited += len(cells.edited)
            self.report.edited_products += [key for key, _ in cells.edited][
                : NAMED - len(self.report.edited_products)
            ]
            self.report.refused += counts.refused
            self.report.reasons = (self.report.reasons + counts.reasons)[:NAMED]
            for column, count in counts.written.items():
                self.report.restored[column] = self.report.restored.get(column, 0) + count
            failpoints.reach("after_commit")
            self._report_progress()

    def _plain(self, lease: Lease, plan: UndoneCells) -> PlainWriter | None:
        """Return what writes to a table without transactions; None if it has them."""
        journal = Journal(plan.source_id, self.run.id, plan.target_id)
        return PlainWriter(self.database, lease, plan.table, journal) if plan.table.is_plain else None

    def _write(
        self, connection: Connection, lease: Lease, plan: UndoneCells, page: list[str]
    ) -> tuple[RestorePlan, WriteCounts]:
        lease.check(connection)
        counts = WriteCounts()
        cells = plan.compute(connection, page, lock=True)
        journal = Journal(plan.source_id, self.run.id, plan.target_id)
        write_cells(connection, plan.table, journal, cells.changes, counts, restores=cells.restores)
        failpoints.reach("before_commit")
        return cells, counts

    def _pages(self, column: Any, query: Select[Any], source_id: int) -> Iterator[list[int]]:
        """Yield the ids of the items of a source that a query finds, page by page."""
        mine = query.join(ItemRow, ItemRow.id == column).where(ItemRow.source_id == source_id)
        for page in value_pages(self.database, mine, column, PAGE):
            if self._is_stopped():
                return
            yield page

    def _is_stopped(self) -> bool:
        self.report.interrupted = self.report.interrupted or self.hooks.stop.is_set()
        return self.report.interrupted

    def _count(self, connection: Connection) -> int:
        base = self.chain.base.id
        images = connection.scalar(select(func.count()).select_from(ResultRow).where(ResultRow.run_id == base)) or 0
        writes = select(func.count(func.distinct(WriteRow.product_hash))).where(WriteRow.run_id == base)
        return images + (connection.scalar(writes) or 0)

    def _report_progress(self) -> None:
        self.hooks.progress(self.report.images + self.report.products, self.total)


def _recompute_pin(connection: Connection, lease: Lease, source_id: int) -> str | None:
    lease.check(connection)
    return effective_results.recompute_pin(connection, source_id)


def _purge_products(connection: Connection, source_id: int, items: list[int], weights_id: str) -> None:
    """Delete the answers for products under a model that the views do not show: they are not kept up to date."""
    hashes = select(ItemRow.product_hash).where(ItemRow.id.in_(items), ItemRow.product_hash.is_not(None))
    found = list(connection.scalars(hashes.distinct()))
    mine = (ProductCurrentRow.source_id == source_id) & ProductCurrentRow.product_hash.in_(found)
    connection.execute(delete(ProductCurrentRow).where(mine, ProductCurrentRow.weights_id == weights_id))
