"""A CSV file: its separator, the names of its columns, its rows.

Spreadsheets separate by semicolons where a comma is decimal, and may say so in a line before the header. Without that
line the separator is the one that header and rows agree on.
"""

import itertools
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cataloger.tabular.columns import fold
from cataloger.tabular.csv_rows import Line, Rows
from cataloger.tabular.lines import open_text, read_lines
from cataloger.tabular.problems import RawRow, RowProblem, TableFormatError, encoding_problem

SEPARATORS = (",", ";", "\t")
SAMPLE_LINES = 50
SAMPLE_CHARACTERS = 500_000

_SEPARATOR_LINE = re.compile(r'"?sep=([^\w"\r\n])"?\s*\Z', re.IGNORECASE)


class CsvTable:
    """An open CSV file. names: of its columns, without blanks around them. separator: of its cells.

    header: the row of the names; None for a file without one. Rows can be read once.
    """

    def __init__(self, header: RawRow | None, names: tuple[str, ...], rows: Rows, separator: str) -> None:
        self.header = header
        self.names = names
        self.separator = separator
        self._rows = rows

    def rows(self, *, keep_empty: bool = False) -> Iterator[RawRow | RowProblem]:
        """Yield the rows below the header; those without any text are left out unless they are to be kept."""
        self._rows.keep_empty = keep_empty
        yield from self._rows


@contextmanager
def open_csv(path: Path, known: Sequence[str] = ()) -> Iterator[CsvTable]:
    """Open a CSV file. known: columns that it may have, which show its separator.

    Raises OSError, and TableFormatError for a file whose header cannot be used; a file without one has no names.
    """
    with open_text(path) as file:
        lines = read_lines(file)
        sample = _sample(lines)
        stated = _SEPARATOR_LINE.match(sample[0][1].rstrip("\r\n")) if sample else None
        if stated:
            del sample[0]
        if sample and (problem := encoding_problem(sample[0][1])):
            raise TableFormatError(problem)
        separator = stated[1] if stated else _separator(sample, known)
        rows = Rows(itertools.chain(sample, lines), separator)
        header = _header(rows)
        yield CsvTable(header, () if header is None else _names(header), rows, separator)


def _sample(lines: Iterator[Line]) -> list[Line]:
    sample: list[Line] = []
    size = 0
    for line in itertools.islice(lines, SAMPLE_LINES):
        sample.append(line)
        size += len(line[1])
        if size > SAMPLE_CHARACTERS:
            break
    return sample


def _header(rows: Rows) -> RawRow | None:
    """Read the header."""
    header = next(iter(rows), None)
    if isinstance(header, RowProblem):
        raise TableFormatError(
            header.text if header.kind == "encoding" else f"has a first line that cannot be used: it {header.text}"
        )
    if header is not None:
        rows.describe(header.cells)
    return header


def _names(header: RawRow) -> tuple[str, ...]:
    names = tuple(cell.strip().lstrip("\ufeff") for cell in header.cells)
    if twice := sorted(name for name, count in Counter(filter(None, names)).items() if count > 1):
        raise TableFormatError(f"has the column {twice[0]!r} twice; rename one of them")
    return names


def _separator(sample: list[Line], known: Sequence[str]) -> str:
    return max(SEPARATORS, key=lambda separator: _agreement(sample, separator, known))


def _agreement(sample: list[Line], separator: str, known: Sequence[str]) -> tuple[int, float, int]:
    """Tell how well a separator fits: known columns in the header, rows with as many cells, columns."""
    rows = Rows(sample, separator)
    found = iter(rows)
    header = next(found, None)
    if not isinstance(header, RawRow):
        return (-1, 0.0, 0)
    rows.describe(header.cells)
    folded = {fold(name) for name in known}
    hits = sum(fold(cell) in folded for cell in header.cells)
    alike = [isinstance(row, RawRow) and len(row.cells) == len(header.cells) for row in found]
    return (hits, sum(alike) / len(alike) if alike else 0.0, len(header.cells))
