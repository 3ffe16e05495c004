"""A manifest of labelled images: CSV, TSV, JSON lines or Parquet."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cataloger.errors import MissingExtraError, TrainingError
from cataloger.tabular import (
    JsonRow,
    RawRow,
    RowProblem,
    TableFormatError,
    open_csv,
    read_json_lines,
    require_regular,
)
from cataloger.training.data.columns import (
    IMAGE_COLUMNS,
    LABEL_COLUMNS,
    PRODUCT_COLUMNS,
    SPLIT_COLUMNS,
    Columns,
    Row,
    find_columns,
    image_below,
    read_rows,
)
from cataloger.training.data.examples import DataProblem, Example
from cataloger.training.options import DataOptions

CSV_SUFFIXES = (".csv", ".tsv", ".txt")
JSON_SUFFIXES = (".jsonl", ".ndjson")
PARQUET_SUFFIXES = (".parquet", ".pq")
BATCH = 10_000


def read_manifest(path: Path, options: DataOptions) -> tuple[list[Example], list[DataProblem]]:
    """Read every row of a manifest. Relative paths start at `options.images`, else at the manifest's folder.

    CSV is UTF-8, separated by comma, semicolon or tab. Raises TrainingError, with the line, for what cannot be read.
    """
    folder = options.images or path.parent
    suffix = path.suffix.lower()
    try:
        require_regular(path)
        if suffix in PARQUET_SUFFIXES:
            columns, rows = _parquet(path, options)
        elif suffix in JSON_SUFFIXES:
            columns, rows = _json_lines(path, options)
        elif suffix in CSV_SUFFIXES:
            columns, rows = _csv(path, options)
        else:
            known = " ".join((*CSV_SUFFIXES, *JSON_SUFFIXES, *PARQUET_SUFFIXES))
            raise TrainingError(f"{path} is neither a folder nor a manifest; manifests end in {known}")
        return read_rows(rows, columns, lambda name: image_below(folder, name, options))
    except TableFormatError as error:
        raise TrainingError(f"{path} {error}") from error
    except OSError as error:
        raise TrainingError(f"the manifest {path} cannot be read: {error.strerror or error}") from error


def _csv(path: Path, options: DataOptions) -> tuple[Columns, Iterator[tuple[str, Row]]]:
    with open_csv(path, _known(options)) as table:
        names = list(table.names)
    return find_columns(names, options, str(path)), _csv_rows(path, options)


def _known(options: DataOptions) -> tuple[str, ...]:
    """Return the columns that a manifest may have."""
    asked = (options.image_column, options.label_column, options.split_column, options.product_column)
    usual = (*IMAGE_COLUMNS, *LABEL_COLUMNS, *SPLIT_COLUMNS, *PRODUCT_COLUMNS)
    return (*usual, *options.report_by, *filter(None, asked))


def _csv_rows(path: Path, options: DataOptions) -> Iterator[tuple[str, Row]]:
    with open_csv(path, _known(options)) as table:
        for row in table.rows():
            place = f"{path.name}:{row.line}" + (f"-{row.last}" if row.last > row.line else "")
            if isinstance(row, RawRow):
                yield place, dict(zip(table.names, row.cells, strict=False))
            else:
                yield place, _problem(row, place)


def _problem(problem: RowProblem, place: str) -> str:
    """Return why a row cannot be read. Raises TrainingError for one in another encoding: then all are."""
    if problem.kind == "encoding":
        raise TrainingError(f"{place} {problem.text}")
    return f"the row {problem.text}"


def _json_lines(path: Path, options: DataOptions) -> tuple[Columns, Iterator[tuple[str, Row]]]:
    present: dict[str, None] = {}
    # A column may be left out of a line where it is empty, so that all lines are needed to know the columns.
    for _, row in _json_rows(path):
        if not isinstance(row, str):
            present.update(dict.fromkeys(row))
    return find_columns(list(present), options, str(path)), _json_rows(path)


def _json_rows(path: Path) -> Iterator[tuple[str, Row]]:
    for row in read_json_lines(path):
        place = f"{path.name}:{row.line}"
        yield place, row.values if isinstance(row, JsonRow) else _problem(row, place)


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
