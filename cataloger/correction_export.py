"""Corrections as a CSV file for people who work in spreadsheets: what was said, or what can be said something of."""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import ColumnElement, Select, select

from cataloger.db.database import Database
from cataloger.db.held import held, with_words
from cataloger.db.models import Corrected, Correction, Item, Model, Result, Source
from cataloger.db.paging import paged_source_id, row_pages
from cataloger.db.types import AnyRow
from cataloger.errors import UsageError
from cataloger.ledger import find_source_id
from cataloger.sinks.files import replacing

ROWS_PER_READ = 2000
COLUMNS = (
    *("source", "key", "uri", "product_key", "verdict", "label"),
    *("predicted", "confidence", "model", "author", "corrected_at", "note"),
)
_FORMULA = re.compile(r"'*[=+\-@＝＋－＠\t\r\n]")

What = Literal["words", "history", "predictions"]


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What to export: words that hold, all that were ever said, or the model's answers, with a label where one holds.

    source: name of one, None for all. decision, below: of predictions, only these, and only less confident ones.
    """

    what: What = "words"
    source: str | None = None
    decision: str | None = None
    below: float | None = None

    def __post_init__(self) -> None:
        if self.what != "predictions" and (self.decision is not None or self.below is not None):
            raise UsageError("--decision and --below choose among the model's answers: add --predictions")


def export_corrections(database: Database, path: Path, options: ExportOptions) -> int:
    """Write a file, in UTF-8 as spreadsheets know it by its first bytes; return the number of rows."""
    count = 0
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file, lineterminator="\r\n")
        writer.writerow(COLUMNS)
        for row in _rows(database, options):
            writer.writerow([guard(_text(value)) for value in _cells(row)])
            count += 1
    return count


def guard(cell: str) -> str:
    """Return a cell that no spreadsheet takes for a formula: with an apostrophe before it, if need be."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def unguard(cell: str) -> str:
    """Return what `guard` was given."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def _rows(database: Database, options: ExportOptions) -> Iterator[AnyRow]:
    query, number = _query(options)
    if (source_id := find_source_id(database, options.source)) is not None:
        query = query.where(paged_source_id(database) == source_id)
    for page in row_pages(database, query, number, ROWS_PER_READ):
        yield from page


def _query(options: ExportOptions) -> tuple[Select[Any], ColumnElement[int]]:
    """Return what to select, and the number by which to page through it."""
    columns: tuple[Any, ...] = (
        *(Source.name.label("source"), Item.key, Item.uri, Item.product_key, Correction.verdict, Correction.label),
        *(Result.label_1, Result.confidence_1, Model.name.label("model"), Model.version),
        *(Correction.author, Correction.corrected_at, Correction.note),
    )
    if options.what == "predictions":
        return _predictions(columns, options), Item.id.expression
    query: Select[Any] = select(*columns).select_from(Correction)
    query = query.join(Item, Item.id == Correction.item_id).join(Source)
    if options.what == "words":
        query = query.join(Corrected, Corrected.correction_id == Correction.id)
    query = query.join(Result, Result.id == Correction.result_id, isouter=True)
    return query.join(Model, Model.weights_id == Result.weights_id, isouter=True), Correction.id.expression


def _predictions(columns: Sequence[Any], options: ExportOptions) -> Select[Any]:
    query = with_words(held(*columns).join(Model, Model.weights_id == Result.weights_id)).where(Result.status == "ok")
    if options.decision is not None:
        query = query.where(Result.decision == options.decision)
    return query if options.below is None else query.where(Result.confidence_1 < options.below)


def _cells(row: AnyRow) -> list[Any]:
    model = None if row.model is None else f"{row.model} {row.version}"
    at = None if row.corrected_at is None else row.corrected_at.isoformat(timespec="microseconds")
    confidence = None if row.confidence_1 is None else f"{row.confidence_1:.4f}"
    return [*row[:6], row.label_1, confidence, model, row.author, at, row.note]


def _text(value: Any) -> str:
    return "" if value is None else str(value).encode("utf-8", "backslashreplace").decode()
