"""A manifest, CSV or JSONL with a column of paths, as items."""

import csv
import itertools
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from cataloger.errors import SourceError
from cataloger.records import Failure, Item
from cataloger.sources import change_tokens
from cataloger.sources.file_keys import find_below, key_of, name_bytes
from cataloger.sources.web_addresses import WEB_ADDRESS
from cataloger.utils import clean_name

PATH_COLUMNS = ("path", "file", "image", "filename", "image_path")
EXTENSIONS = (".csv", ".tsv", ".jsonl", ".ndjson")
BAD_ROW = "source.bad_row"

_NOT_UTF8 = re.compile("[\udc80-\udcff]")  # what errors="surrogateescape" makes of such bytes


@dataclass(slots=True)
class ManifestSource:
    """Rows of a manifest. The key of an item is its path as written.

    path_column: without it the first of PATH_COLUMNS that is there. product_column: names the product, if given.
    Relative paths start at the manifest's folder. A row that cannot be used becomes a failure named after its line.
    """

    path: Path
    path_column: str | None = None
    product_column: str | None = None
    prefix: str = ""

    kind = "manifest"
    without_image = 0
    uncertain_queries = 0
    is_complete = True

    @property
    def root(self) -> str:
        """Identity of the source."""
        return key_of(os.fsencode(self.path))

    @property
    def problems(self) -> list[str]:
        """None: rows that cannot be used are failures."""
        return []

    def scan(self) -> Iterator[Item | Failure]:
        """Yield one item per row. Raises SourceError when the file or its columns cannot be used."""
        try:
            with self.path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
                for line, row in self._rows(file):
                    yield self._subject(line, row)
        except (OSError, csv.Error) as error:
            raise SourceError(f"the manifest {self.path} cannot be read: {error}") from error

    def check(self) -> None:
        """Raise SourceError if the file, its header or its first row cannot be used; reads no more than that."""
        next(self.scan(), None)

    def count(self) -> int:
        """Count the rows; for a progress bar."""
        return sum(1 for _ in self.scan())

    def nothing_found(self) -> str:
        """Return why a scan found nothing."""
        return f"the manifest {self.path} has no rows"

    def _rows(self, file: TextIO) -> Iterator[tuple[int, Mapping[str, Any] | str]]:
        if self.path.suffix.lower() in (".jsonl", ".ndjson"):
            return self._json_rows(file)
        return self._csv_rows(file)

    def _csv_rows(self, file: TextIO) -> Iterator[tuple[int, Mapping[str, Any] | str]]:
        first = file.readline()
        if _NOT_UTF8.search(first):
            raise SourceError(f"the manifest {self.path} cannot be read: it is not UTF-8; save it in UTF-8")
        file.seek(0)
        reader = csv.reader(file, delimiter=max(",;\t", key=first.count))
        header = next(reader, [])
        self._column(header)
        while (row := _next_row(reader, header)) is not None:
            if row:
                yield reader.line_num, row

    def _json_rows(self, file: TextIO) -> Iterator[tuple[int, Mapping[str, Any] | str]]:
        is_checked = False
        for line, text in enumerate(file, start=1):
            if not text.strip():
                continue
            row = _json_object(text)
            if isinstance(row, dict) and not is_checked:
                self._column(row)
                is_checked = True
            yield line, row

    def _column(self, columns: Iterable[str]) -> None:
        columns = list(columns)
        wanted = (self.path_column,) if self.path_column else PATH_COLUMNS
        if not set(wanted) & set(columns):
            names = " or ".join(repr(name) for name in wanted)
            raise SourceError(
                f"the manifest {self.path} has no column {names}; it has {', '.join(columns) or 'none'}. "
                "Give the column of the paths: --path-column NAME"
            )
        if self.product_column and self.product_column not in columns:
            raise SourceError(f"the manifest {self.path} has no column {self.product_column!r} for the products")

    def _subject(self, line: int, row: Mapping[str, Any] | str) -> Item | Failure:
        place = f"line {line}"
        unusable = Item(key=place, uri=f"{self.path}:{line}", version="")
        if isinstance(row, str):
            return Failure(unusable, BAD_ROW, row)
        value = next((row[name] for name in self._candidates() if name in row), None)
        if not isinstance(value, str) or not value or "\0" in value:
            return Failure(unusable, BAD_ROW, "the row has no path")
        if WEB_ADDRESS.match(value):
            return Failure(unusable, BAD_ROW, "it is a web address; `cataloger sync` downloads those of a table")
        try:
            name, path = find_below(os.fsencode(self.path.parent), value)
        except UnicodeEncodeError:
            return Failure(
                unusable, BAD_ROW, "the path holds half a surrogate pair, which is not possible in a file name"
            )
        product = row.get(self.product_column) if self.product_column else None
        written = None if product in (None, "") else str(product)
        product = None if written is None else clean_name(written)
        return Item(
            key=key_of(name),
            uri=key_of(path),
            version=_version(path),
            path=path,
            product_key=product,
            former_key=None if name == name_bytes(value) else key_of(name_bytes(value)),
            former_product=None if product == written else written,
        )

    def _candidates(self) -> tuple[str, ...]:
        return (self.path_column,) if self.path_column else PATH_COLUMNS


def _next_row(reader: Iterator[list[str]], header: list[str]) -> Mapping[str, Any] | str | None:
    """Return the next row, empty for a blank line; a text that says why it is unusable; None at the end."""
    try:
        cells = next(reader)
    except StopIteration:
        return None
    except csv.Error as error:  # a cell above csv.field_size_limit, which an unclosed quote makes, too
        return f"the row cannot be read: {error}"
    if any(map(_NOT_UTF8.search, cells)):
        return "the row is not UTF-8"
    return dict(itertools.zip_longest(header, cells)) if cells else {}


def _json_object(text: str) -> Mapping[str, Any] | str:
    if _NOT_UTF8.search(text):
        return "the line is not UTF-8"
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:
        return f"the line is not valid JSON: {error}"
    return row if isinstance(row, dict) else "the line is not a JSON object"


def _version(path: bytes) -> str:
    try:
        return change_tokens.of_file(os.stat(path))
    except OSError:
        return ""
