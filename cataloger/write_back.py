"""Answers into columns of the shop's own table, in the transaction that records them.

A value that a person changed after we wrote it is never overwritten: `cataloger_write` keeps what we wrote, as the
database read it back, and a cell that holds something else is left alone.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, insert, select
from sqlalchemy.exc import DBAPIError

from cataloger.contracts import TOP_K
from cataloger.db.cells import UnwritableError, keep, restore
from cataloger.db.clock import utc_now
from cataloger.db.database import Database
from cataloger.db.driver_errors import driver_message, is_transient
from cataloger.db.models import CorrectedProduct, ProductCurrent, ProductResult
from cataloger.db.models import Write as WriteRow
from cataloger.db.types import AnyRow, storable
from cataloger.db.urls import DatabaseURL
from cataloger.label_map import Category
from cataloger.lease import Lease
from cataloger.ledger import SourceRef
from cataloger.options import WriteOptions
from cataloger.product_table import Cells, Found, ProductTable

PRODUCTS_PER_STATEMENT = 250
PRODUCTS_PER_TRANSACTION = 1000
EXAMPLES = 5


@dataclass(slots=True)
class WriteCounts:
    """What became of cells. written: by column. edited: changed by people since we wrote them, and left so.

    not_null: held something before us, under --only-null. refused: by the database itself, e.g. a trigger.
    edited_products: some examples. reasons: why cells were refused, some examples.
    """

    written: dict[str, int] = field(default_factory=dict)
    edited: int = 0
    not_null: int = 0
    refused: int = 0
    edited_products: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    def add(self, other: "WriteCounts") -> None:
        """Add the counts of more rows."""
        for column, count in other.written.items():
            self.written[column] = self.written.get(column, 0) + count
        self.edited += other.edited
        self.not_null += other.not_null
        self.refused += other.refused
        self.edited_products = (self.edited_products + other.edited_products)[:EXAMPLES]
        self.reasons = (self.reasons + other.reasons)[:EXAMPLES]

    def as_json(self) -> dict[str, Any]:
        """Return the counts as plain JSON values."""
        return {
            "written": self.written,
            "edited": self.edited,
            "edited_products": self.edited_products,
            "not_null": self.not_null,
            "refused": self.refused,
            "reasons": self.reasons,
        }


@dataclass(frozen=True, slots=True)
class WritePlan:
    """What to write where, checked. categories: the shop's own, by label; empty without a label map."""

    table: ProductTable
    options: WriteOptions
    categories: Mapping[str, Category]

    def values(self, row: AnyRow) -> Cells | None:
        """Return what an answer says for each column; None if it is not to be written. Raises UnwritableError."""
        ranked = [(getattr(row, f"label_{n}"), getattr(row, f"confidence_{n}")) for n in range(1, TOP_K + 1)]
        answers = [(label, confidence) for label, confidence in ranked if label is not None]
        decision = row.decision
        if row.word is not None:
            answers = [(row.word, 1.0), *(answer for answer in answers if answer[0] != row.word)][:TOP_K]
            decision = "accept"
        if not self._is_wanted(answers, decision):
            return None
        return {
            column: self.table.cells[column].wanted(self._value(name, answers, decision))
            for column, name in self.options.columns
        }

    def _is_wanted(self, answers: Sequence[tuple[str, float]], decision: str | None) -> bool:
        wanted = self.options.only_decision
        is_decided = decision in wanted if wanted else decision in (None, "accept")
        least = self.options.min_confidence
        return is_decided and bool(answers) and (least is None or answers[0][1] >= least)

    def _value(self, name: str, answers: Sequence[tuple[str, float]], decision: str | None) -> Any:
        if name == "decision":
            return decision
        if name == "top5_json":
            return top5_json([(self._code(label), confidence) for label, confidence in answers])
        kind, _, rank = name.rpartition("_")
        if int(rank) > len(answers):
            return None
        label, confidence = answers[int(rank) - 1]
        if kind == "confidence":
            return confidence
        return self._code(label) if kind == "label" else getattr(self._category(label), kind)

    def _code(self, label: str) -> str:
        return self._category(label).code if self.categories else label

    def _category(self, label: str) -> Category:
        """Return the shop's own. People may have said a label that the model does not have, and so the map."""
        if label not in self.categories:
            raise UnwritableError(f"a person said {label!r}, for which the label map has no code: add a line for it")
        return self.categories[label]


def top5_json(answers: Iterable[tuple[str, float]]) -> str:
    """Return answers as a JSON array, best first."""
    found = [{"label": label, "confidence": round(confidence, 4)} for label, confidence in answers]
    return json.dumps(found, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Change:
    """Cells of one row to set. old: what stands there."""

    product_hash: str
    product_key: str
    row: Found
    new: Cells

    @property
    def old(self) -> Cells:
        return {column: self.row.cells[column] for column in self.new}


class WriteBack:
    """Writes for the products of one source in one run."""

    def __init__(self, plan: WritePlan, source: SourceRef, run_id: int, weights_id: str) -> None:
        self._plan = plan
        self._source = source
        self._run_id = run_id
        self._weights_id = weights_id

    def write(self, connection: Connection, products: Collection[str]) -> WriteCounts:
        """Bring the rows of products, by hash, up to their answers, in the caller's transaction."""
        counts = WriteCounts()
        ordered = sorted(products)
        for start in range(0, len(ordered), PRODUCTS_PER_STATEMENT):
            answers = self._answers(connection, ordered[start : start + PRODUCTS_PER_STATEMENT])
            changes = self._changes(connection, answers, counts, lock=True)
            write_cells(connection, self._plan.table, self._journal, changes, counts)
        return counts

    def settle(self, database: Database, lease: Lease) -> WriteCounts:
        """After a run: bring every row up to its answer, also those that the run had no reason to touch.

        The counts are those of all rows, except that what was written before is not in them.
        """
        counts = WriteCounts()
        for answers in self._pages(database):
            seen = WriteCounts()
            if database.fetch(self._changes, answers, seen, lock=False):
                seen = database.write(self._write_page, lease, [row.product_hash for row in answers])
            counts.add(seen)
        return counts

    def _write_page(self, connection: Connection, lease: Lease, products: Collection[str]) -> WriteCounts:
        lease.check(connection)
        return self.write(connection, products)

    def preview(self, database: Database) -> WriteCounts:
        """Count what `settle` would write, and write nothing."""
        counts = WriteCounts()
        for answers in self._pages(database):
            for change in database.fetch(self._changes, answers, counts, lock=False):
                counts.add(WriteCounts(dict.fromkeys(change.new, 1)))
        return counts

    @property
    def _journal(self) -> "Journal":
        return Journal(self._source.id, self._run_id)

    def _pages(self, database: Database) -> Iterator[Sequence[AnyRow]]:
        last, page = "", self._query().order_by(ProductCurrent.product_hash).limit(PRODUCTS_PER_TRANSACTION)
        while rows := database.rows(page.where(ProductCurrent.product_hash > last)):
            yield rows
            last = rows[-1].product_hash

    def _answers(self, connection: Connection, products: list[str]) -> Sequence[AnyRow]:
        return connection.execute(self._query().where(ProductCurrent.product_hash.in_(products))).all()

    def _query(self) -> Any:
        mine = (ProductCurrent.source_id == self._source.id) & (ProductCurrent.weights_id == self._weights_id)
        said = (CorrectedProduct.source_id == ProductCurrent.source_id) & (
            CorrectedProduct.product_hash == ProductCurrent.product_hash
        )
        columns = [
            getattr(ProductResult, f"{kind}_{n}") for n in range(1, TOP_K + 1) for kind in ("label", "confidence")
        ]
        return (
            select(ProductCurrent.product_hash, ProductResult.product_key, ProductResult.decision, *columns)
            .add_columns(CorrectedProduct.label.label("word"))
            .join(ProductResult, ProductResult.id == ProductCurrent.result_id)
            .join(CorrectedProduct, said, isouter=True)
            .where(mine)
        )

    def _changes(
        self, connection: Connection, answers: Iterable[AnyRow], counts: WriteCounts, *, lock: bool
    ) -> list[Change]:
        wanted = self._wanted(answers, counts)
        if not wanted:
            return []
        rows = self._plan.table.read(connection, {each: key for each, (key, _) in wanted.items()}, lock=lock)
        last = last_writes(connection, self._source.id, list(rows))
        changes = []
        for product_hash, row in rows.items():
            key, cells = wanted[product_hash]
            new = self._decide(key, row, cells, last.get(product_hash, {}), counts)
            if new:
                changes.append(Change(product_hash, key, row, new))
        return changes

    def _wanted(self, answers: Iterable[AnyRow], counts: WriteCounts) -> dict[str, tuple[str, Cells]]:
        """Return product hash -> (key, what its answer says); count what cannot be said in the shop's codes."""
        wanted = {}
        for row in answers:
            try:
                cells = self._plan.values(row)
            except UnwritableError as error:
                counts.add(WriteCounts(refused=1, reasons=[f"{row.product_key}: {error}"]))
                continue
            if cells:
                wanted[row.product_hash] = (row.product_key, cells)
        return wanted

    def _decide(self, key: str, row: Found, wanted: Cells, last: Mapping[str, AnyRow], counts: WriteCounts) -> Cells:
        """Return the cells to set: those that differ, and that nobody else has a say in."""
        new = {}
        for column, value in wanted.items():
            cell, present, ours = self._plan.table.cells[column], row.cells[column], last.get(column)
            if cell.is_same(present, value):
                continue
            if ours is not None and not cell.is_same(present, restore(ours.new_value)):
                counts.add(WriteCounts(edited=1, edited_products=[key]))
            elif self._plan.options.only_null and present is not None and (ours is None or ours.restores):
                counts.not_null += 1
            else:
                new[column] = value
        return new


@dataclass(frozen=True, slots=True)
class Journal:
    """Where writes are kept: of which source and run."""

    source_id: int
    run_id: int

    def append(self, connection: Connection, entries: Iterable[dict[str, Any]]) -> None:
        """Keep what was written."""
        common = {"source_id": self.source_id, "run_id": self.run_id, "written_at": utc_now(connection)}
        if rows := [common | entry for entry in entries]:
            connection.execute(insert(WriteRow), rows)


def last_writes(connection: Connection, source_id: int, products: Sequence[str]) -> dict[str, dict[str, AnyRow]]:
    """Return what was written last into each cell: product hash -> column -> row."""
    columns = (WriteRow.product_hash, WriteRow.column_name, WriteRow.new_value, WriteRow.restores)
    mine = (WriteRow.source_id == source_id) & WriteRow.product_hash.in_(products)
    found: dict[str, dict[str, AnyRow]] = {}
    for row in connection.execute(select(*columns).where(mine).order_by(WriteRow.id)):
        found.setdefault(row.product_hash, {})[row.column_name] = row
    return found


def write_cells(
    connection: Connection,
    table: ProductTable,
    journal: Journal,
    changes: Sequence[Change],
    counts: WriteCounts,
    *,
    restores: Mapping[tuple[str, str], bool] | None = None,
) -> None:
    """Set cells and keep what stood there and what stands there now, as the database reads it back.

    restores: which of them, by product hash and column, give the shop back its own value.
    """
    changes = [kept for change in changes if (kept := _keepable(change, counts)) is not None]
    done = _update(connection, table, changes, counts)
    after = table.read(connection, {change.product_hash: change.product_key for change in done}, lock=True)
    entries = []
    for change in done:
        stands = after.get(change.product_hash, change.row).cells
        for column, old in change.old.items():
            if table.cells[column].is_same(old, stands[column]):
                continue
            counts.written[column] = counts.written.get(column, 0) + 1
            entries.append(
                {
                    "product_key": storable(change.product_key),
                    "product_hash": change.product_hash,
                    "column_name": column,
                    "old_value": keep(old),
                    "new_value": keep(stands[column]),
                    "restores": bool(restores and restores[change.product_hash, column]),
                }
            )
    journal.append(connection, entries)


def _keepable(change: Change, counts: WriteCounts) -> Change | None:
    """Leave out what could not be put back."""
    new = {}
    for column, value in change.new.items():
        try:
            keep(change.row.cells[column])
        except UnwritableError as error:
            _refuse(counts, change, f"{column}: {error}")
        else:
            new[column] = value
    return Change(change.product_hash, change.product_key, change.row, new) if new else None


def _update(
    connection: Connection, table: ProductTable, changes: Sequence[Change], counts: WriteCounts
) -> Sequence[Change]:
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
            _refuse(counts, change, driver_message(error, DatabaseURL(connection.engine.url)))
        else:
            done.append(change)
    return done


def _refuse(counts: WriteCounts, change: Change, reason: str) -> None:
    counts.add(WriteCounts(refused=1, reasons=[f"{change.product_key}: {reason}"]))
