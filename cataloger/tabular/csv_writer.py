"""The one writer of CSV files (RFC 4180); `open_csv` reads what it writes, cell by cell the same."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from cataloger.tabular.formulas import escape_formula


def write_csv(
    file: TextIO,
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    line_end: str = "\n",
    escape: bool = True,
) -> int:
    """Write a header and rows; return the number of rows. file: opened with newline="".

    Text that a spreadsheet would take for a formula is escaped; numbers are not. None becomes an empty cell.
    escape: False for a file that programs read, which would take the apostrophe as a part of the text.
    """
    writer = csv.writer(_LineEnds(file, line_end))
    writer.writerow(columns)
    count = 0
    for count, row in enumerate(rows, start=1):  # noqa: B007 (it is returned)
        writer.writerow([escape_formula(cell) if escape and isinstance(cell, str) else cell for cell in row])
    return count


def csv_line(cells: Sequence[Any], separator: str = ",") -> str:
    """Return a row as `write_csv` writes it, without the end of its line."""
    text = io.StringIO()
    row = [escape_formula(cell) if isinstance(cell, str) else cell for cell in cells]
    csv.writer(text, delimiter=separator).writerow(row)
    return text.getvalue().removesuffix("\r\n")


class _LineEnds:
    """Gives rows another end than \\r\\n, with which alone the csv module quotes cells that have a \\r within."""

    def __init__(self, file: TextIO, line_end: str) -> None:
        self._file = file
        self._end = line_end

    def write(self, row: str) -> int:
        """Write a row, which ends in \\r\\n."""
        return self._file.write(row.removesuffix("\r\n") + self._end)
