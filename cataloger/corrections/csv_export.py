"""Corrections as a CSV file for spreadsheets: those that were made, or the model's answers to be corrected."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import ColumnElement, Select, select

from cataloger.corrections.csv_rows import COLUMNS
from cataloger.corrections.for_adapting import choose_for_adapting
from cataloger.db import AnyRow, Database, row_pages, slices
from cataloger.errors import UsageError
from cataloger.ledger import find_source_id, find_tagged_source
from cataloger.schema import (
    CorrectionRow,
    CurrentCorrectionRow,
    ItemRow,
    ModelRow,
    ResultRow,
    SourceRow,
    paged_source_id,
    select_current,
    with_corrections,
)
from cataloger.tabular import write_csv
from cataloger.utils import replacing

ROWS_PER_READ = 2000

What = Literal["current", "history", "predictions"]


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What to export: the current corrections, all ever made, or the model's answers with their current corrections.

    source: its name, None for all. decision, below: only predictions with this decision, or below this confidence.
    for_adapting: only so many predictions, those whose labels teach most about the source.
    """

    what: What = "current"
    source: str | None = None
    decision: str | None = None
    below: float | None = None
    for_adapting: int | None = None

    def __post_init__(self) -> None:
        if self.what != "predictions" and (self.decision is not None or self.below is not None):
            raise UsageError("--decision and --below select among the model's answers: add --predictions")
        if self.for_adapting is not None and (self.what != "current" or self.decision or self.below is not None):
            raise UsageError("--for-adapting chooses the images itself: leave the other choices out")


def export_corrections(database: Database, path: Path, options: ExportOptions) -> int:
    """Write a file in UTF-8 with a byte order mark, which spreadsheets need; return the number of rows."""
    rows = ([_text(value) for value in _cells(row)] for row in _rows(database, options))
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8-sig", newline="") as file:
        return write_csv(file, COLUMNS, rows, line_end="\r\n")


def _rows(database: Database, options: ExportOptions) -> Iterator[AnyRow]:
    if options.for_adapting is not None:
        yield from _rows_for_adapting(database, options.source, options.for_adapting)
        return
    query, id_column = _query(options)
    if (source_id := find_source_id(database, options.source)) is not None:
        query = query.where(paged_source_id(database) == source_id)
    for page in row_pages(database, query, id_column, ROWS_PER_READ):
        yield from page


def _rows_for_adapting(database: Database, name: str | None, count: int) -> Iterator[AnyRow]:
    """Yield the model's answers for the images that teach most, in this order."""
    query, id_column = _query(ExportOptions("predictions"))
    for items in slices(choose_for_adapting(database, find_tagged_source(database, name), count), ROWS_PER_READ):
        rows = database.rows(query.add_columns(id_column.label("number")).where(id_column.in_(items)))
        found = {row.number: row for row in rows}
        yield from (found[item] for item in items if item in found)


def _query(options: ExportOptions) -> tuple[Select[Any], ColumnElement[int]]:
    """Return the query, and the id column to page by."""
    columns: tuple[Any, ...] = (
        *(
            SourceRow.name.label("source"),
            ItemRow.key,
            ItemRow.uri,
            ItemRow.product_key,
            CorrectionRow.verdict,
            CorrectionRow.label,
        ),
        *(ResultRow.label_1, ResultRow.confidence_1, ModelRow.name.label("model"), ModelRow.version),
        *(CorrectionRow.author, CorrectionRow.corrected_at, CorrectionRow.note),
    )
    if options.what == "predictions":
        return _predictions(columns, options), ItemRow.id.expression
    query: Select[Any] = select(*columns).select_from(CorrectionRow)
    query = query.join(ItemRow, ItemRow.id == CorrectionRow.item_id).join(SourceRow)
    if options.what == "current":
        query = query.join(CurrentCorrectionRow, CurrentCorrectionRow.correction_id == CorrectionRow.id)
    query = query.join(ResultRow, ResultRow.id == CorrectionRow.result_id, isouter=True)
    return query.join(
        ModelRow, ModelRow.weights_id == ResultRow.weights_id, isouter=True
    ), CorrectionRow.id.expression


def _predictions(columns: Sequence[Any], options: ExportOptions) -> Select[Any]:
    query = with_corrections(
        select_current(*columns).join(ModelRow, ModelRow.weights_id == ResultRow.weights_id)
    ).where(ResultRow.status == "ok")
    if options.decision is not None:
        query = query.where(ResultRow.decision == options.decision)
    return query if options.below is None else query.where(ResultRow.confidence_1 < options.below)


def _cells(row: AnyRow) -> list[Any]:
    model = None if row.model is None else f"{row.model} {row.version}"
    at = None if row.corrected_at is None else row.corrected_at.isoformat(timespec="microseconds")
    confidence = None if row.confidence_1 is None else f"{row.confidence_1:.4f}"
    return [*row[:6], row.label_1, confidence, model, row.author, at, row.note]


def _text(value: Any) -> str:
    return "" if value is None else str(value).encode("utf-8", "backslashreplace").decode()
