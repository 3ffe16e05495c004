"""Deleting history: what older runs recorded and nothing needs any more is deleted; what is current stays.

The newest runs stay whole, so that they can be undone and compared. Of each older run only that stays which is
current, or would be current if all newer runs were undone.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import Any

from sqlalchemy import Connection, delete, func, or_, select, update

from cataloger.db import AnyRow, Database, value_pages
from cataloger.errors import UsageError
from cataloger.hooks import Hooks
from cataloger.ledger import TAGGING, Lease, effective_results, hold_lease, recorded_run
from cataloger.schema import (
    INTENDED,
    CorrectionRow,
    CurrentRow,
    ItemPresenceRow,
    ProductCurrentRow,
    ProductResultRow,
    ResultRow,
    RunRow,
    SourceRow,
    WriteRow,
)

PAGE = 1000


@dataclass(slots=True)
class PruneReport:
    """What was deleted. runs: whose history is deleted, now or before."""

    run_id: int
    runs: int = 0
    results: int = 0
    product_results: int = 0
    writes: int = 0
    presences: int = 0
    interrupted: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "run_id": self.run_id,
            "runs": self.runs,
            "results": self.results,
            "product_results": self.product_results,
            "writes": self.writes,
            "presences": self.presences,
            "interrupted": self.interrupted,
        }

    def counts(self) -> dict[str, Any]:
        """Return what is recorded in the run's row."""
        return self.as_json()


PruneHooks = Hooks[[int]]
"""The progress callback receives how many rows have been deleted."""


def prune_runs(database: Database, keep: int, hooks: PruneHooks | None = None) -> PruneReport:
    """Delete the history before the newest `keep` runs of tag and sync. Run it again after an interruption."""
    if keep < 1:
        raise UsageError(f"--keep must be at least 1, not {keep}")
    with recorded_run(database, "prune", {"keep": keep}) as run, ExitStack() as stack:
        run.report = report = PruneReport(run.id)
        sources = database.scalars(select(SourceRow.id))
        leases = [stack.enter_context(hold_lease(database, source, run.id)) for source in sorted(sources)]
        old, needed = database.fetch(divide, keep)
        if old:
            _Work(database, leases, old, needed, hooks or Hooks(), report).do()
    return report


def divide(connection: Connection, keep: int) -> tuple[list[int], list[int]]:
    """Return the runs before the newest ones: those whose history is deleted, and those that an undo still needs.

    Needed is what an undo among the newest runs has reverted, and what one that has not ended is to revert.
    """
    newest = select(RunRow.id).where(RunRow.command.in_(TAGGING)).order_by(RunRow.id.desc()).limit(keep)
    kept = list(connection.scalars(newest))
    if len(kept) < keep:
        return [], []
    columns = (RunRow.id, RunRow.undoes_id, RunRow.undone_by_id, RunRow.outcome, RunRow.pruned)
    rows = connection.execute(select(*columns).order_by(RunRow.id.desc())).all()
    ended = {row.id for row in rows if row.outcome == "done"}
    needed: set[int] = set()
    for row in rows:
        is_half_undone = row.undone_by_id not in ended and row.undone_by_id is not None and not row.pruned
        if is_half_undone:
            needed.add(row.id)
        if (row.id >= min(kept) or row.id in needed) and row.undoes_id is not None:
            needed.add(row.undoes_id)
    before = [row for row in rows if row.id < min(kept)]
    old = [row.id for row in before if row.id not in needed and row.outcome is not None]
    return old, [row.id for row in before if row.id in needed]


@dataclass(frozen=True, slots=True)
class _Work:
    """One pruning. runs: whose history is deleted. needed: older runs whose history stays."""

    database: Database
    leases: Sequence[Lease]
    runs: Sequence[int]
    needed: Sequence[int]
    hooks: PruneHooks
    report: PruneReport

    def do(self) -> None:
        report = self.report
        report.runs = len(self.runs)
        # First of all, so that no run is undone of which only a part is left.
        marked = update(RunRow).where(self._is_old(RunRow.id)).values(pruned=True)
        self._commit(lambda connection: connection.execute(marked))
        for page in self._pages(ResultRow.item_id, ResultRow.run_id):
            report.results += self._commit(partial(self._prune_results, items=page))
            self._report_progress()
        for page in self._pages(ItemPresenceRow.item_id, ItemPresenceRow.run_id):
            report.presences += self._commit(partial(self._prune_presence, items=page))
            self._report_progress()
        for source_id in (lease.source_id for lease in self.leases):
            mine = ProductResultRow.source_id == source_id
            for page in self._pages(ProductResultRow.product_hash, ProductResultRow.run_id, mine):
                prune_products = partial(self._prune_products, source_id=source_id, products=page)
                report.product_results += self._commit(prune_products)
                self._report_progress()
            for page in self._pages(WriteRow.product_hash, WriteRow.run_id, WriteRow.source_id == source_id):
                report.writes += self._commit(partial(self._prune_writes, source_id=source_id, products=page))
                self._report_progress()

    def _commit(self, action: Callable[[Connection], Any]) -> Any:
        def act(connection: Connection) -> Any:
            for lease in self.leases:
                lease.check(connection)
            return action(connection)

        return self.database.run(act)

    def _report_progress(self) -> None:
        report = self.report
        self.hooks.progress(report.results + report.product_results + report.writes + report.presences)

    def _pages(self, column: Any, run_id: Any, *where: Any) -> Iterator[list[Any]]:
        """Yield the values of a column of what old runs recorded, in pages of PAGE to twice that, some repeatedly.

        They are read from one run after the other: of all runs at once, databases read and sort all that is left of
        them for every page. Those of many small runs make a page together, since each is a transaction.
        """
        found: set[Any] = set()
        for run in self._that_recorded(run_id, where):
            for values in value_pages(self.database, select(column).where(run_id == run, *where), column, PAGE):
                if self._is_stopped():
                    return
                found.update(values)
                if len(found) >= PAGE:
                    yield sorted(found)
                    found = set()
        if found and not self._is_stopped():
            yield sorted(found)

    def _that_recorded(self, run_id: Any, where: Sequence[Any]) -> Sequence[int]:
        """Return the old runs of which something is left in a table. run_id: its column."""
        query = select(run_id).where(self._is_old(run_id), *where).distinct().order_by(run_id)
        return self.database.scalars(query)

    def _is_stopped(self) -> bool:
        self.report.interrupted = self.report.interrupted or self.hooks.stop.is_set()
        return self.report.interrupted

    def _is_old(self, run_id: Any) -> Any:
        return run_id.in_(self.runs)

    def _prune_results(self, connection: Connection, items: list[int]) -> int:
        query = (
            select(
                ResultRow.id, ResultRow.item_id, ResultRow.weights_id, ResultRow.error_code, ResultRow.content_hash
            )
            .add_columns(effective_results.is_effective().label("is_effective"))
            .join(RunRow, RunRow.id == ResultRow.run_id)
            .where(ResultRow.item_id.in_(items), self._is_old(ResultRow.run_id))
            .order_by(ResultRow.id)
        )
        rows = self._before_needed(connection, connection.execute(query).all(), items)
        keep = set(self._pointed(connection, CurrentRow, (CurrentRow.result_id, CurrentRow.latest_id), items))
        corrected = select(CorrectionRow.result_id).where(CorrectionRow.item_id.in_(items))
        keep.update(each for each in connection.scalars(corrected) if each is not None)
        for weights_id in {row.weights_id for row in rows}:
            mine = [row for row in rows if row.weights_id == weights_id and row.is_effective]
            keep.update(each for pair in effective_results.fold(mine).values() for each in pair)
            keep.update(_replacing(mine, keep))
        return _delete(connection, ResultRow, [row.id for row in rows if row.id not in keep])

    def _before_needed(self, connection: Connection, rows: Sequence[AnyRow], items: list[int]) -> list[AnyRow]:
        """Leave out what came after a result of a run that may be effective or not: which later result is current
        depends on it."""
        first = select(ResultRow.item_id, func.min(ResultRow.id).label("id")).group_by(ResultRow.item_id)
        mine = ResultRow.item_id.in_(items) & ResultRow.run_id.in_(self.needed)
        bounds = {row.item_id: row.id for row in connection.execute(first.where(mine))}
        return [row for row in rows if row.item_id not in bounds or row.id < bounds[row.item_id]]

    def _pointed(self, connection: Connection, table: Any, columns: Sequence[Any], items: list[int]) -> Iterable[int]:
        rows = connection.execute(select(*columns).where(table.item_id.in_(items)))
        return [each for row in rows for each in row]

    def _prune_products(self, connection: Connection, source_id: int, products: list[str]) -> int:
        mine = (ProductResultRow.source_id == source_id) & ProductResultRow.product_hash.in_(products)
        query = (
            select(ProductResultRow.id, ProductResultRow.product_hash, ProductResultRow.weights_id)
            .add_columns(effective_results.is_effective().label("is_effective"))
            .join(RunRow, RunRow.id == ProductResultRow.run_id)
            .where(mine, self._is_old(ProductResultRow.run_id))
            .order_by(ProductResultRow.run_id)
        )
        rows = connection.execute(query).all()
        last = {(row.product_hash, row.weights_id): row.id for row in rows if row.is_effective}
        current = (ProductCurrentRow.source_id == source_id) & ProductCurrentRow.product_hash.in_(products)
        keep = {*last.values(), *connection.scalars(select(ProductCurrentRow.result_id).where(current))}
        return _delete(connection, ProductResultRow, [row.id for row in rows if row.id not in keep])

    def _prune_writes(self, connection: Connection, source_id: int, products: list[str]) -> int:
        """Keep of each cell the last write: it records the value before the runs that stay.

        One that is only intended may be taken back: it is kept, and so is the last before it.
        """
        mine = (WriteRow.source_id == source_id) & WriteRow.product_hash.in_(products)
        columns = (WriteRow.id, WriteRow.target_id, WriteRow.product_hash, WriteRow.column_name, WriteRow.state)
        query = select(*columns).where(mine, self._is_old(WriteRow.run_id)).order_by(WriteRow.id)
        rows = connection.execute(query).all()
        cell = attrgetter("target_id", "product_hash", "column_name")
        keep = {row.id for row in rows if row.state == INTENDED}
        keep.update({cell(row): row.id for row in rows if row.state != INTENDED}.values())
        return _delete(connection, WriteRow, [row.id for row in rows if row.id not in keep])

    def _prune_presence(self, connection: Connection, items: list[int]) -> int:
        query = (
            select(
                ItemPresenceRow.item_id,
                ItemPresenceRow.run_id,
                effective_results.is_effective().label("is_effective"),
            )
            .join(RunRow, RunRow.id == ItemPresenceRow.run_id)
            .where(ItemPresenceRow.item_id.in_(items), self._is_old(ItemPresenceRow.run_id))
            .order_by(ItemPresenceRow.run_id)
        )
        rows = connection.execute(query).all()
        last = {row.item_id: row.run_id for row in rows if row.is_effective}
        old = [row for row in rows if last.get(row.item_id) != row.run_id]
        by_run: dict[int, list[int]] = {}
        for row in old:
            by_run.setdefault(row.run_id, []).append(row.item_id)
        parts = [
            (ItemPresenceRow.run_id == run_id) & ItemPresenceRow.item_id.in_(ids) for run_id, ids in by_run.items()
        ]
        if parts:
            connection.execute(delete(ItemPresenceRow).where(or_(*parts)))
        return len(old)


def _replacing(rows: Iterable[AnyRow], kept: Collection[int]) -> set[int]:
    """Return what replaced good results that are kept, e.g. because people corrected them, and what replaced that.

    Without it they would look current after a later failure on the same bytes. rows: in the order of time.
    """
    found: set[int] = set()
    for row, before, after in effective_results.steps(rows):
        if before is None or before.error_code is not None or after is not row:
            continue
        if before.id in kept or before.id in found:
            found.add(row.id)
    return found


def _delete(connection: Connection, table: Any, ids: list[int]) -> int:
    for start in range(0, len(ids), PAGE):
        connection.execute(delete(table).where(table.id.in_(ids[start : start + PAGE])))
    return len(ids)
