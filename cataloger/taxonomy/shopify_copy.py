"""A copy of an export of Shopify's products with the categories of the current results, which imports again.

A value of the shop is replaced only where it says nothing, or where that is asked for, and a tag only added. What an
earlier copy was given is brought up to date, unless a person has changed it since.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Select, case, func, select

from cataloger.db import AnyRow, Database
from cataloger.errors import UsageError
from cataloger.ledger import Lease, hold_lease, recorded_run
from cataloger.schema import (
    CurrentProductCorrectionRow,
    ProductCurrentRow,
    ProductResultRow,
    SourceRow,
    key_hash,
)
from cataloger.tabular import row_with_cells
from cataloger.taxonomy.copy_journal import CellWrite, CopyJournal, Values, folded, open_journal
from cataloger.taxonomy.export_rows import (
    MARK,
    TAGS,
    WRITABLE,
    ExportRow,
    ProductExport,
    begins_with_mark,
    open_export,
)
from cataloger.utils import clean_label, replacing

EXAMPLES = 5
PRODUCTS_PER_READ = 500

Wanted = Mapping[str, str]
"""What an answer says for each column; of tags, one of them."""
Judge = Callable[[Mapping[Any, Any]], Wanted | str]
"""Returns what an answer is to be written as, or why it is not."""


@dataclass(frozen=True, slots=True)
class CopyOptions:
    """What to copy. path: the export. columns: of WRITABLE; without any, those that the export has.

    only_if: values of the shop that may be replaced. overwrite: any may be. dry_run: only count. undo: take back what
    earlier copies were given.
    """

    path: Path
    columns: tuple[str, ...] = ()
    only_if: tuple[str, ...] = ()
    overwrite: bool = False
    dry_run: bool = False
    undo: bool = False

    def __post_init__(self) -> None:
        if self.undo and (self.overwrite or self.only_if):
            raise UsageError("--undo gives the shop its own values back: leave out --overwrite and --only-if")
        if self.overwrite and self.only_if:
            raise UsageError("--only-if names the values to replace, --overwrite replaces all: give one of them")

    def may_replace(self, value: str) -> bool:
        """True for a value of the shop that an answer may replace."""
        known = clean_label(value)
        return self.overwrite or not known or any(known == clean_label(text) for text in self.only_if)

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "into": str(self.path),
            "columns": list(self.columns),
            "only_if": list(self.only_if),
            "overwrite": self.overwrite,
            "undo": self.undo,
        }


@dataclass(slots=True)
class CopyReport:
    """What a copy changes. products: of the export. changed: cells by column. left_out: products by why.

    kept: cells with a value that may not be replaced. edited: that people have changed since an earlier copy.
    """

    products: int = 0
    changed: Counter[str] = field(default_factory=Counter)
    kept: int = 0
    edited: int = 0
    edited_products: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    interrupted: bool = False

    def counts(self) -> dict[str, Any]:
        """Return what is recorded in the run's row."""
        return {
            "products": self.products,
            "written": dict(self.changed),
            "kept": self.kept,
            "edited": self.edited,
            "edited_products": self.edited_products,
            "left_out": dict(self.left_out),
        }


def write_copy(database: Database, source_id: int, output: Path, options: CopyOptions, judge: Judge) -> CopyReport:
    """Write a copy of an export, whole or not at all. Raises UsageError, OutputError, LeaseError.

    judge: tells what an answer is to be written as.
    """
    if output.exists() and options.path.exists() and output.samefile(options.path):
        raise UsageError(f"--output {output} is the export itself: name another file, so that the export stays")
    copy = _Copy(database, source_id, options, judge, CopyReport())
    if options.dry_run:
        copy.preview()
        return copy.report
    with recorded_run(database, "feed", {**options.as_json(), "output": str(output)}) as run:
        run.report = copy.report
        with hold_lease(database, source_id, run.id) as lease:
            copy.write(output, lease, run.id)
    return copy.report


@dataclass(frozen=True, slots=True)
class _Copy:
    """One copy of an export."""

    database: Database
    source_id: int
    options: CopyOptions
    judge: Judge
    report: CopyReport

    def preview(self) -> None:
        """Count what `write` would change."""
        journal = open_journal(self.database, self.source_id, records=False)
        imported = self._was_imported(journal)
        with open_export(self.options.path) as export:
            for block in export.blocks():
                self._changed(block, self._places(export), journal, imported=imported)

    def write(self, output: Path, lease: Lease, run_id: int) -> None:
        """Write the copy. What it changes is recorded before it gets its name."""
        journal = open_journal(self.database, self.source_id, records=True)
        imported = self._was_imported(journal)
        self.database.write(journal.settle, lease, imported=imported)
        mark = MARK.decode() if begins_with_mark(self.options.path) else ""
        with (
            open_export(self.options.path) as export,
            replacing(output) as temporary,
            temporary.open("w", encoding="utf-8", newline="") as file,
        ):
            file.write(mark + export.header)
            for block in export.blocks():
                lines, writes = self._changed(block, self._places(export), journal, imported=False)
                self.database.write(journal.intend, lease, run_id, writes)
                file.writelines(lines)

    def _places(self, export: ProductExport) -> dict[str, int]:
        """Return the positions of the columns to write to. Raises UsageError for one that is not there."""
        wanted = self.options.columns or tuple(export.places)
        if missing := [name for name in wanted if name not in export.places]:
            raise UsageError(
                f"--write {missing[0]}: --into {export.path} has no such column; it has "
                f"{', '.join(export.places) or 'none of ' + ', '.join(WRITABLE)}"
            )
        if not wanted:
            raise UsageError(f"--into {export.path} has none of the columns {', '.join(WRITABLE)}")
        return {name: export.places[name] for name in wanted}

    def _was_imported(self, journal: CopyJournal) -> bool:
        """Tell whether the last copy was imported: at least half of what it changed is there. Reads all rows."""
        found = intended = 0
        with open_export(self.options.path) as export:
            self._places(export)
            for block in export.blocks():
                begun = {key_hash(each.product): each for each in block if each.product}
                for product, rows in _read(journal, list(begun)).items():
                    values = journal.intended(rows)
                    intended += len(values)
                    found += sum(_has(export, begun[product], key, value) for key, value in values.items())
        return intended > 0 and 2 * found >= intended

    def _changed(
        self, block: Sequence[ExportRow], places: Mapping[str, int], journal: CopyJournal, *, imported: bool
    ) -> tuple[list[str], list[CellWrite]]:
        """Return the lines of rows as they are to be, and what is changed in them; count it."""
        products = [key_hash(each.product) for each in block if each.product]
        answers = {} if self.options.undo else self._answers(products)
        written = _read(journal, products)
        lines, writes = [], []
        for each in block:
            digest, line = key_hash(each.product), each.row.text
            rows = written.get(digest, ())
            cells = _Cells(self.options, self.report, each, journal.values(rows, imported=imported))
            if each.product and self.options.undo:
                self.report.products += 1
                cells.give_back(places, journal.former(rows, imported=imported))
            elif each.product and (wanted := self._wanted(answers.get(digest))) is not None:
                for column, place in places.items():
                    cells.set(column, place, wanted[column])
            lines.append(row_with_cells(each.row, ",", cells.new) if cells.new else line)
            writes += cells.writes
        return lines, writes

    def _wanted(self, answer: AnyRow | None) -> Wanted | None:
        self.report.products += 1
        judged = "unknown" if answer is None else self.judge(answer._mapping)
        if isinstance(judged, str):
            self.report.left_out[judged] += 1
            return None
        return judged

    def _answers(self, products: Sequence[str]) -> dict[str, AnyRow]:
        """Return the current results of products by their hash; a correction is one."""
        pages = (products[start : start + PRODUCTS_PER_READ] for start in range(0, len(products), PRODUCTS_PER_READ))
        query = _answers(self.source_id)
        return {
            row.product_hash: row
            for page in pages
            for row in self.database.rows(query.where(ProductCurrentRow.product_hash.in_(page)))
        }


@dataclass(slots=True)
class _Cells:
    """The cells of a product's first row. last: what earlier copies were given. new: texts by their positions."""

    options: CopyOptions
    report: CopyReport
    row: ExportRow
    last: Values
    new: dict[int, str] = field(default_factory=dict)
    writes: list[CellWrite] = field(default_factory=list)

    def set(self, column: str, place: int, wanted: str) -> None:
        """Bring a cell up to the answer, as far as that may be."""
        before = len(self.writes)
        present = self.row.cell(place)
        if column == TAGS:
            self._set_tags(place, present, wanted)
        elif clean_label(present) != clean_label(wanted) and self._may_set(column, present):
            self._write((False, column), present, wanted)
            self.new[place] = wanted
        self.report.changed[column] += len(self.writes) > before

    def give_back(self, places: Mapping[str, int], former: Values) -> None:
        """Put back what the shop had before the first copy; what a person has changed since stays."""
        for column, place in places.items():
            before, present = len(self.writes), self.row.cell(place)
            if column == TAGS:
                self._take_tags(place, present)
            elif (ours := self.last.get((False, column))) is not None:
                if clean_label(present) == clean_label(ours):
                    self.new[place] = former[False, column] or ""
                    self._write((False, column), present, self.new[place])
                else:
                    self._leave_edited()
            self.report.changed[column] += len(self.writes) > before

    def _take_tags(self, place: int, present: str) -> None:
        ours = {name for (is_tag, name), tag in self.last.items() if is_tag and tag is not None}
        taken = [tag for tag in _tags(present) if folded(tag) in ours]
        for tag in taken:
            self._write((True, tag), tag, None)
        if taken:
            self.new[place] = ", ".join(tag for tag in _tags(present) if tag not in taken)

    def _may_set(self, column: str, present: str) -> bool:
        ours = self.last.get((False, column))
        if ours is not None:
            is_ours = clean_label(present) == clean_label(ours)
            return is_ours or self._leave_edited()
        may_replace = self.options.may_replace(present)
        self.report.kept += not may_replace
        return may_replace

    def _set_tags(self, place: int, present: str, wanted: str) -> None:
        tags = _tags(present)
        have = {folded(tag) for tag in tags}
        ours = {name: tag for (is_tag, name), tag in self.last.items() if is_tag}
        former = {name for name, tag in ours.items() if tag is not None} - {folded(wanted)}
        kept = [tag for tag in tags if folded(tag) not in former]
        for tag in (tag for tag in tags if folded(tag) in former):
            self._write((True, tag), tag, None)
        if folded(wanted) not in have and (ours.get(folded(wanted)) is None or self._leave_edited()):
            self._write((True, wanted), None, wanted)
            kept.append(wanted)
        if kept != tags:
            self.new[place] = ", ".join(kept)

    def _leave_edited(self) -> bool:
        """Count a cell that a person has changed; return False."""
        self.report.edited += 1
        if len(self.report.edited_products) < EXAMPLES:
            self.report.edited_products.append(self.row.product)
        return False

    def _write(self, key: tuple[bool, str], old: str | None, new: str | None) -> None:
        self.writes.append(CellWrite(self.row.product, key_hash(self.row.product), key, old, new))


def _read(journal: CopyJournal, products: Sequence[str]) -> dict[str, list[AnyRow]]:
    found: dict[str, list[AnyRow]] = {}
    for start in range(0, len(products), PRODUCTS_PER_READ):
        found |= journal.rows(products[start : start + PRODUCTS_PER_READ])
    return found


def _has(export: ProductExport, row: ExportRow, key: tuple[bool, str], value: str | None) -> bool:
    """True when a cell is as a copy was to make it."""
    is_tag, name = key
    place = export.places.get(TAGS if is_tag else name)
    present = "" if place is None else row.cell(place)
    if is_tag:
        return (name in map(folded, _tags(present))) == (value is not None)
    return clean_label(present) == clean_label(value or "")


def _tags(cell: str) -> list[str]:
    return [tag.strip() for tag in cell.split(",") if tag.strip()]


def _answers(source_id: int) -> Select[Any]:
    corrected = CurrentProductCorrectionRow.label
    same = (CurrentProductCorrectionRow.source_id == ProductCurrentRow.source_id) & (
        CurrentProductCorrectionRow.product_hash == ProductCurrentRow.product_hash
    )
    return (
        select(
            ProductCurrentRow.product_hash,
            func.coalesce(corrected, ProductResultRow.label_1).label("label_1"),
            case((corrected.is_not(None), 1.0), else_=ProductResultRow.confidence_1).label("confidence_1"),
            case((corrected.is_not(None), "accept"), else_=ProductResultRow.decision).label("decision"),
        )
        .join(
            SourceRow,
            (SourceRow.id == ProductCurrentRow.source_id) & (SourceRow.weights_id == ProductCurrentRow.weights_id),
        )
        .join(ProductResultRow, ProductResultRow.id == ProductCurrentRow.result_id)
        .join(CurrentProductCorrectionRow, same, isouter=True)
        .where(ProductCurrentRow.source_id == source_id)
    )
