"""Rows of a CSV file with corrections, as spreadsheets write such files."""

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from cataloger.contracts import MAX_LABEL_LENGTH, VERDICTS, Verdict
from cataloger.errors import UsageError

COLUMNS = (
    *("source", "key", "uri", "product_key", "verdict", "label"),
    *("predicted", "confidence", "model", "author", "corrected_at", "note"),
)
_FORMULA = re.compile(r"'*[=+\-@＝＋－＠\t\r\n]")

NAMES = ("source", "key", "uri")
_KNOWN: Mapping[str, Verdict] = {verdict: verdict for verdict in VERDICTS}


@dataclass(frozen=True, slots=True)
class CorrectionFileRow:
    """A row with a correction."""

    line: int
    cells: Mapping[str, str]
    verdict: Verdict
    label: str | None

    @property
    def image(self) -> tuple[str, str]:
        """The column that names the image, and its cell."""
        column = "key" if self.cells.get("key", "").strip() else "uri"
        return column, self.cells.get(column, "")

    @property
    def place(self) -> str:
        """The image, for people."""
        return self.image[1].strip()

    @property
    def correction(self) -> tuple[Verdict, str | None]:
        """Verdict and label."""
        return self.verdict, self.label


def read_rows(file: TextIO, path: Path) -> Iterator[tuple[int, CorrectionFileRow | str | None]]:
    """Yield the line of each row with its correction, None if it is empty; or a text that says what is wrong.

    Spreadsheets separate by semicolons where a comma is decimal, and may write so in a line before the first one.
    Raises UsageError for a file without the required columns.
    """
    first = file.readline()
    start = 0
    if first.strip().lower().startswith("sep="):
        first, start = file.readline(), 1
    delimiter = max(",;\t", key=first.count)
    names = [name.strip().lower() for name in next(csv.reader([first], delimiter=delimiter), [])]
    if "label" not in names or not {"key", "uri"} & set(names):
        raise UsageError(
            f"{path}: its first line must name the columns, among them label and key or uri; it has "
            f"{', '.join(names) or 'nothing'}. `cataloger corrections export --predictions` makes such a file"
        )
    for line, cells in _rows(file, delimiter, first=start + 2):
        if isinstance(cells, str):
            yield line, cells
        elif len(cells) > len(names) and any(cells[len(names) :]):
            yield line, f"it has {len(cells)} cells, the first line names {len(names)} columns"
        elif any(cells):
            pairs = zip(names, cells, strict=False)
            yield line, _parse_row(line, {name: _plain(name, cell) for name, cell in pairs if name in COLUMNS})


def _rows(file: TextIO, delimiter: str, first: int) -> Iterator[tuple[int, list[str] | str]]:
    """Yield the first line of each row (of the first one: `first`), and its cells or what is wrong with it."""
    reader = csv.reader(file, delimiter=delimiter, strict=True)
    while True:
        line = reader.line_num + first
        try:
            yield line, next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            last = reader.line_num + first - 1
            span = f"up to line {last} it" if last > line else "it"
            yield line, f"{span} cannot be read ({error}); is a quotation mark missing?"


def _plain(name: str, cell: str) -> str:
    """Return a cell without what was added for spreadsheets; names of images may begin and end with blanks."""
    return unguard(cell if name in NAMES else cell.strip())


def _parse_row(line: int, cells: dict[str, str]) -> CorrectionFileRow | str | None:
    """Return the correction of a row, None if it is empty; or a text that says what is wrong."""
    label, verdict = cells.get("label", ""), cells.get("verdict", "").lower()
    if not label and not verdict:
        return None
    parsed = _KNOWN.get(verdict or "label")
    if parsed is None:
        return f"the verdict is {verdict!r}; it must be {', '.join(VERDICTS)} or empty"
    if parsed == "label" and not label:
        return "the label is empty; to withdraw a correction, write withdrawn into the column verdict"
    if parsed == "not_product" and label:
        return f"it has both the label {label!r} and the verdict not_product; clear one of them"
    if len(label) > MAX_LABEL_LENGTH:
        return f"the label has {len(label)} characters; at most {MAX_LABEL_LENGTH} are allowed"
    return CorrectionFileRow(line, cells, parsed, label if parsed == "label" else None)


def guard(cell: str) -> str:
    """Return a cell that no spreadsheet reads as a formula: with an apostrophe before it if needed."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def unguard(cell: str) -> str:
    """Undo `guard`."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
