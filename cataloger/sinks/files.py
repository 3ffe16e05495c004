"""The current results of sources as a file: JSONL, CSV or Parquet, by its extension.

It is read from the database after a run, so it is complete however often the run was interrupted; it is written
under a temporary name and renamed, so it is never half there.
"""

import importlib.util
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

from sqlalchemy import select

from cataloger.db import Database
from cataloger.errors import LostOutputError, MissingExtraError, OutputError, UsageError
from cataloger.objects import ObjectAddress, ObjectStores, StoreError, is_object_address, read_address
from cataloger.schema import IMAGE_COLUMNS, IMAGE_TOP5
from cataloger.tabular import write_csv
from cataloger.utils import replacing

ROWS_PER_FETCH = 5000
TIMES = ("tagged_at", "corrected_at")

Rows = Iterable[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which images of a source, None for all sources. prefix: of their keys; keys: only these, None means all."""

    source: str | None
    prefix: str = ""
    keys: frozenset[str] | None = None

    def contains(self, other: "Selection") -> bool:
        """Tell whether all that another one selects is in this one."""
        return self.source == other.source and self.keys is None and other.prefix.startswith(self.prefix)


def check_output(output: Path | str) -> None:
    """Raise UsageError, MissingExtraError or OutputError now and not after hours of work.

    output: path, or address in an object store.
    """
    if is_object_address(str(output)):
        _check_stored(_address(str(output)))
        return
    path = Path(output)
    _check_kind(path)
    if path.is_dir():
        raise UsageError(f"--output {path} is a folder; name a file in it")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"--output {path}: its folder does not exist; make it first")
    if not os.access(path.absolute().parent, os.W_OK):
        raise OutputError(f"--output {path}: this user may not write to its folder")


def _check_kind(name: PurePath, shown: object = None) -> None:
    if name.suffix.lower() not in WRITERS:
        raise UsageError(f"--output {shown or name}: write .jsonl, .csv or .parquet; the extension says which")
    if name.suffix.lower() == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise MissingExtraError("parquet", "writing Parquet")


def _check_stored(address: ObjectAddress) -> None:
    """Look for the bucket; whether an object may be written there shows when it is written."""
    _check_kind(PurePosixPath(address.key), address)
    try:
        ObjectStores().get(address, lambda *_: None)
    except StoreError as error:
        if error.is_of_store:
            raise OutputError(f"--output {address}: {error}") from None


def _address(text: str) -> ObjectAddress:
    try:
        return read_address(text)
    except ValueError as error:
        raise UsageError(f"--output: {error}") from None


def export(database: Database, selections: Iterable[Selection], output: Path | str) -> int:
    """Write the current rows of the selected images, ordered by source and key; return their number.

    The columns are those of the view cataloger_image_top5. output: path, or address in an object store. Raises
    LostOutputError, and an existing file or object is unchanged.
    """
    rows = _Counted(row for selection in selections for row in current_rows(database, selection))
    advice = "; the results are in the database"
    if is_object_address(str(output)):
        _store(rows, _address(str(output)), advice)
        return rows.count
    path = Path(output)
    with replacing(path, failure=LostOutputError, advice=advice) as temporary:
        WRITERS[path.suffix.lower()](rows, temporary)
    return rows.count


def _store(rows: "_Counted", address: ObjectAddress, advice: str) -> None:
    """Write a file here, then all of it there: an object of a store is there as a whole or not at all."""
    try:
        with tempfile.TemporaryDirectory(prefix="cataloger-output-") as folder:
            file = Path(folder) / "output"
            WRITERS[PurePosixPath(address.key).suffix.lower()](rows, file)
            ObjectStores().put(address, file)
    except StoreError as error:
        raise LostOutputError(f"{address} cannot be written: {error}{advice}") from None
    except OSError as error:
        raise LostOutputError(f"{address} cannot be written by way of a file: {error.strerror}{advice}") from error


class _Counted:
    """Counts rows as they pass, so that they need not be in memory."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self.count = 0

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        for row in self._rows:
            self.count += 1
            yield row


def current_rows(database: Database, selection: Selection) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of the view cataloger_image_top5 of some images, by source and key, with times in UTC.

    They are read as they are asked for, in one transaction. Raises DatabaseError.
    """
    view = IMAGE_TOP5.c
    query = select(IMAGE_TOP5)
    if selection.source is None:
        query = query.order_by(view.source, view.key)
    else:
        query = query.where(view.source == selection.source).order_by(view.key)
    if selection.prefix:
        query = query.where(view.key.startswith(selection.prefix, autoescape=True))
    with database.read() as connection:
        stream = connection.execution_options(yield_per=ROWS_PER_FETCH).execute(query)
        with closing(stream):
            for row in stream.mappings():
                if _is_selected(row, selection):
                    yield {**row, **{name: _utc(row[name]) for name in TIMES}}


def _is_selected(row: Mapping[Any, Any], selection: Selection) -> bool:
    """Compare exactly: LIKE ignores case in some engines and collations, and = spaces at the end in MySQL."""
    is_wanted = selection.source in (None, row["source"]) and row["key"].startswith(selection.prefix)
    return is_wanted and (selection.keys is None or row["key"] in selection.keys)


def _utc(value: datetime | str | None) -> datetime | None:
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return None if moment is None else moment.replace(tzinfo=UTC)


def _write_jsonl(rows: Rows, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            file.write(json.dumps(_with_text(row), ensure_ascii=False) + "\n")


def _write_csv(rows: Rows, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        write_csv(file, IMAGE_COLUMNS, ([values[name] for name in IMAGE_COLUMNS] for values in map(_with_text, rows)))


def _write_parquet(rows: Rows, path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    special = {"run_id": pyarrow.int64(), **dict.fromkeys(TIMES, pyarrow.timestamp("us", tz="UTC"))}
    types = {
        name: special.get(name, pyarrow.float64() if name.startswith("confidence") else pyarrow.string())
        for name in IMAGE_COLUMNS
    }
    schema = pyarrow.schema(list(types.items()))
    with parquet.ParquetWriter(path, schema) as writer:
        page: list[Mapping[str, Any]] = []
        for row in rows:
            page.append(row)
            if len(page) == ROWS_PER_FETCH:
                writer.write_table(pyarrow.Table.from_pylist(page, schema))
                page = []
        writer.write_table(pyarrow.Table.from_pylist(page, schema))


def _with_text(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with its times as text."""
    times = {name: row[name] and row[name].isoformat(timespec="milliseconds") for name in TIMES}
    return {**row, **times}


WRITERS = {".jsonl": _write_jsonl, ".csv": _write_csv, ".parquet": _write_parquet}
