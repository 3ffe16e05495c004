"""Rows of a CSV file with corrections, as spreadsheets write such files."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cataloger.contracts import MAX_LABEL_LENGTH, VERDICTS, Verdict
from cataloger.errors import UsageError
from cataloger.tabular import RowProblem, TableFormatError, find_column, open_csv

COLUMNS = (
    *("source", "key", "uri", "product_key", "verdict", "label"),
    *("predicted", "confidence", "model", "author", "corrected_at", "note"),
)

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


def read_rows(path: Path) -> Iterator[tuple[int, CorrectionFileRow | str | None]]:
    """Yield the line of each row with its correction, None if it is empty; or a text that says what is wrong.

    Raises OSError, TableFormatError for a file that is no table in UTF-8, UsageError for one without the columns that
    are needed.
    """
    with open_csv(path, COLUMNS) as table:
        places = {name: place for name in COLUMNS if (place := find_column(name, table.names)) is not None}
        if "label" not in places or not {"key", "uri"} & set(places):
            present = ", ".join(table.names) or "nothing"
            raise UsageError(
                f"{path}: its first line must name the columns, among them label and key or uri; it has {present}. "
                "`cataloger corrections export --predictions` makes such a file"
            )
        for row in table.rows():
            if isinstance(row, RowProblem):
                if row.kind == "encoding":
                    raise TableFormatError(f"has a row that {row.text}: {row.place}")
                yield row.line, f"the row {row.text}"
                continue
            cells = {name: _plain(name, row.cells[place]) for name, place in places.items() if place < len(row.cells)}
            yield row.line, _parse_row(row.line, cells)


def _plain(name: str, cell: str) -> str:
    """Return a cell without blanks around it; names of images may begin and end with some."""
    return cell if name in NAMES else cell.strip()


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
