"""The lines of a CSV file as rows (RFC 4180), read strictly.

A quotation mark that is missing or stray makes the lines behind it part of a cell. They are not swallowed: when a row
of several lines ends in nonsense, or its lines are rows themselves, its first line is a problem and the reading goes
on with the second.
"""

import csv
import re
from collections import deque
from collections.abc import Iterable, Iterator

from cataloger.tabular.formulas import unescape_formula
from cataloger.tabular.problems import RawRow, RowProblem, encoding_problem

MAX_CELL = 131_072
"""Characters of a cell; the csv module has the same limit."""
MAX_ROW = 4_000_000
"""Characters of a row of several lines."""
REREAD = 4
"""How often a file may be read again, in all, behind stray quotation marks; a hostile one would take for ever."""
REREAD_FREELY = 16 * MAX_ROW

Line = tuple[int, str, bool]


class Rows:
    """The rows of some lines. columns: their number, 0 before the header is read.

    keep_empty: whether rows without any text are given, too.
    """

    def __init__(self, lines: Iterable[Line], delimiter: str, columns: int = 0) -> None:
        self._lines = iter(lines)
        self._again: deque[Line] = deque()
        self._damaged: set[int] = set()
        self._delimiter = delimiter
        # Text has blanks behind its commas, rows have none, unless all of them do.
        self._unspaced = re.compile(re.escape(delimiter) + "(?! )")
        self._columns = columns
        self.keep_empty = False
        self._read = self._reread = 0

    def describe(self, cells: tuple[str, ...]) -> None:
        """Say what the header is."""
        self._columns = len(cells)
        if any(cell.startswith(" ") for cell in cells[1:]):
            self._unspaced = re.compile(re.escape(self._delimiter))

    def __iter__(self) -> Iterator[RawRow | RowProblem]:
        while (line := self._next()) is not None:
            row = self._row(line)
            if self.keep_empty or isinstance(row, RowProblem) or any(cell.strip() for cell in row.cells):
                yield row

    def _next(self) -> Line | None:
        if self._again:
            return self._again.popleft()
        line = next(self._lines, None)
        if line is not None:
            self._read += len(line[1])
        return line

    def _row(self, first: Line) -> RawRow | RowProblem:
        number, text, is_whole = first
        if number in self._damaged:
            self._damaged.discard(number)
            return RowProblem(number, number, "quotes", "has a stray quotation mark")
        if not is_whole:
            return RowProblem(number, number, "size", f"has more than {len(text):,} characters")
        if '"' in text:
            return self._quoted(first)
        return self._checked(number, [first], text.rstrip("\r\n").split(self._delimiter))

    def _quoted(self, first: Line) -> RawRow | RowProblem:
        """Read a row with quoted cells, which may go on in the lines behind."""
        used: list[Line] = []
        try:
            cells = next(csv.reader(self._feed(first, used), delimiter=self._delimiter, strict=True))
        except csv.Error as error:
            return self._stray(used, _reason(error, used))
        if len(used) > 1 and self._columns and self._are_rows(used):
            last = used[-1][0]
            self._damaged.add(last)
            text = f"begins a cell that ends in line {last}, over lines that are rows; is a quotation mark missing?"
            return self._stray(used, text)
        return self._checked(first[0], used, cells)

    def _feed(self, line: Line | None, used: list[Line]) -> Iterator[str]:
        size = 0
        while line is not None:
            used.append(line)
            size += len(line[1])
            yield line[1]
            line = self._next() if size < MAX_ROW and line[2] else None

    def _are_rows(self, used: list[Line]) -> bool:
        """True if two of the lines, taken for themselves, have a cell for each column."""
        texts = [text.rstrip("\r\n") for _, text, _ in used]
        filled = [text for text in texts if text.strip('" ')]
        return sum(len(self._unspaced.findall(text)) + 1 >= self._columns for text in filled) > 1

    def _stray(self, used: list[Line], text: str) -> RowProblem:
        """Give the lines behind a stray quotation mark back, unless that has happened too often."""
        first, *rest = used
        size = sum(len(line[1]) for line in rest)
        if self._reread + size > REREAD_FREELY + REREAD * self._read:
            self._damaged.clear()
            return RowProblem(first[0], used[-1][0], "quotes", text)
        self._reread += size
        self._again.extendleft(reversed(rest))
        return RowProblem(first[0], first[0], "quotes", text)

    def _checked(self, number: int, used: list[Line], cells: list[str]) -> RawRow | RowProblem:
        last = used[-1][0]
        for _, text, _ in used:
            if problem := encoding_problem(text):
                return RowProblem(number, last, "encoding", problem)
        if any(len(text) > MAX_CELL for _, text, _ in used) and max(map(len, cells)) > MAX_CELL:
            return RowProblem(number, last, "size", f"has a cell of more than {MAX_CELL:,} characters")
        if self._columns and any(cell.strip() for cell in cells[self._columns :]):
            text = f"has {len(cells)} cells, the first line names {self._columns}; quote a cell that contains "
            return RowProblem(number, last, "cells", text + repr(self._delimiter))
        kept = cells[: self._columns] if self._columns else cells
        text = used[0][1] if len(used) == 1 else "".join(line[1] for line in used)
        return RawRow(number, last, tuple(map(unescape_formula, kept)), text)


def _reason(error: csv.Error, used: list[Line]) -> str:
    if "field larger" in str(error):
        return f"has a cell of more than {MAX_CELL:,} characters; is a quotation mark missing?"
    if len(used) == 1:
        return f"has a stray quotation mark ({error})"
    return f"begins a cell that does not end properly up to line {used[-1][0]}; is a quotation mark missing?"
