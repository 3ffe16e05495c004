"""A manifest of labelled images: CSV, TSV, JSON lines or Parquet."""

import csv
import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from cataloger.errors import MissingExtraError, TrainingError
from cataloger.training.data.columns import Columns, Row, file_below, find_columns, read_rows
from cataloger.training.data.examples import DataProblem, Example
from cataloger.training.options import DataOptions

CSV_SUFFIXES = (".csv", ".tsv", ".txt")
JSON_SUFFIXES = (".jsonl", ".ndjson")
PARQUET_SUFFIXES = (".parquet", ".pq")
BATCH = 10_000

_NOT_UTF8 = re.compile("[\udc80-\udcff]")  # what errors="surrogateescape" makes of such bytes


def read_manifest(path: Path, options: DataOptions) -> tuple[list[Example], list[DataProblem]]:
    """Read every row of a manifest. Relative paths start at `options.images`, else at the manifest's folder.

    CSV is UTF-8, separated by comma, semicolon or tab. Raises TrainingError, with the line, for what cannot be read.
    """
    folder = options.images or path.parent
    suffix = path.suffix.lower()
    try:
        if suffix in PARQUET_SUFFIXES:
            columns, rows = _parquet(path, options)
        elif suffix in JSON_SUFFIXES:
            columns, rows = _json_lines(path, options)
        elif suffix in CSV_SUFFIXES:
            columns, rows = _csv(path, options)
        else:
            known = " ".join((*CSV_SUFFIXES, *JSON_SUFFIXES, *PARQUET_SUFFIXES))
            raise TrainingError(f"{path} is neither a folder nor a manifest; manifests end in {known}")
        return read_rows(rows, columns, lambda name: file_below(folder, name))
    except OSError as error:
        raise TrainingError(f"the manifest {path} cannot be read: {error.strerror or error}") from error


def _csv(path: Path, options: DataOptions) -> tuple[Columns, Iterator[tuple[str, Row]]]:
    with _open(path) as file:
        first = file.readline()
        file.seek(0)
        header = _next_row(csv.reader(file, delimiter=_delimiter(first), strict=True), path) or []
    _check_utf8("".join(header), f"{path}:1")
    names = [name.strip() for name in header]
    repeated = sorted({name for name in names if name and names.count(name) > 1})
    if repeated:
        raise TrainingError(f"{path} has the column {repeated[0]!r} twice; rename one of them")
    return find_columns(names, options, str(path)), _csv_rows(path, names, _delimiter(first))


def _csv_rows(path: Path, names: list[str], delimiter: str) -> Iterator[tuple[str, Row]]:
    with _open(path) as file:
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        next(reader)
        start = reader.line_num + 1
        while (cells := _next_row(reader, path)) is not None:
            place = f"{path.name}:{start}" + (f"-{reader.line_num}" if reader.line_num > start else "")
            start = reader.line_num + 1
            _check_utf8("".join(cells), place)
            if len(cells) > len(names) and any(cells[len(names) :]):
                yield place, f"the row has {len(cells)} cells, the header {len(names)}; quote a cell with a comma"
            elif any(cell.strip() for cell in cells):
                yield place, dict(zip(names, cells, strict=False))


def _next_row(reader: Any, path: Path) -> list[str] | None:
    try:
        cells: list[str] | None = next(reader, None)
    except csv.Error as error:  # an unclosed quote swallows the rest of the file
        raise TrainingError(
            f"{path}:{reader.line_num} is not valid CSV: {error}; is a closing quote missing?"
        ) from error
    return cells


def _delimiter(first: str) -> str:
    return max(",;\t", key=first.count)


def _open(path: Path) -> TextIO:
    return path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")


def _check_utf8(text: str, place: str) -> None:
    # Rows in another encoding are one problem of the file, not one of each row.
    if "\0" in text or _NOT_UTF8.search(text):
        raise TrainingError(f"{place} is not UTF-8; save the manifest as UTF-8")


def _json_lines(path: Path, options: DataOptions) -> tuple[Columns, Iterator[tuple[str, Row]]]:
    present: dict[str, None] = {}
    # A column may be left out of a line where it is empty, so that all lines are needed to know the columns.
    for _, row in _json_rows(path):
        if not isinstance(row, str):
            present.update(dict.fromkeys(row))
    return find_columns(list(present), options, str(path)), _json_rows(path)


def _json_rows(path: Path) -> Iterator[tuple[str, Row]]:
    with _open(path) as file:
        for number, line in enumerate(file, start=1):
            _check_utf8(line, f"{path.name}:{number}")
            if line.strip():
                yield f"{path.name}:{number}", _json_object(line)


def _json_object(line: str) -> Row:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        return f"the line is not valid JSON: {error}"
    return row if isinstance(row, dict) else "the line is not a JSON object"


def _parquet(path: Path, options: DataOptions) -> tuple[Columns, Iterator[tuple[str, Row]]]:
    if importlib.util.find_spec("pyarrow") is None:
        raise MissingExtraError("parquet", f"reading {path.name}")
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
    except pyarrow.ArrowException as error:
        raise TrainingError(f"{path} is not a Parquet file that can be read: {error}") from error
    columns = find_columns(file.schema_arrow.names, options, str(path))
    return columns, _parquet_rows(path, file, columns.all)


def _parquet_rows(path: Path, file: Any, names: list[str]) -> Iterator[tuple[str, Row]]:
    import pyarrow

    number = 0
    try:
        for batch in file.iter_batches(batch_size=BATCH, columns=names):
            for row in batch.to_pylist():
                number += 1
                yield f"{path.name}, row {number}", row
    except pyarrow.ArrowException as error:
        raise TrainingError(f"{path} is damaged behind row {number}: {error}") from error
