"""The shop's own names for the labels of a model: a CSV file, kept for each source in the database."""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import Connection, delete, insert, select

from cataloger.adaptation import IGNORE
from cataloger.contracts import MAX_LABEL_LENGTH
from cataloger.db import Database
from cataloger.errors import LabelMapError, UsageError
from cataloger.schema import LabelMapRow
from cataloger.tabular import RawRow, RowProblem, TableFormatError, csv_line, find_column, open_csv
from cataloger.utils import find_label

COLUMNS = ("label", "code", "name", "parent")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LabelCode:
    """The code of the shop for a label. code: its own key. name, parent: for people and trees; None if not given.

    The code `ignore` says that the shop does not sell what the label means.
    """

    label: str
    code: str
    name: str | None = None
    parent: str | None = None

    @property
    def is_ignored(self) -> bool:
        """True for a label that the shop does not sell."""
        return self.code.casefold() == IGNORE


def read_label_map(path: Path) -> list[LabelCode]:
    """Read a CSV file with the columns label and code, and optionally name and parent. Raises UsageError."""
    try:
        with open_csv(path, COLUMNS) as table:
            places = {name: place for name in COLUMNS if (place := find_column(name, table.names)) is not None}
            if missing := {"label", "code"} - set(places):
                raise UsageError(
                    f"--label-map {path} has no column {' and '.join(sorted(missing))}: its first line names the "
                    "columns, label,code and optionally name,parent"
                )
            categories = [_category(path, row, places) for row in table.rows()]
    except OSError as error:
        raise UsageError(f"--label-map {path} cannot be read: {error.strerror}") from error
    except TableFormatError as error:
        raise UsageError(f"--label-map {path} {error}") from error
    labels = [category.label for category in categories]
    if twice := {label for label in labels if labels.count(label) > 1}:
        raise UsageError(f"--label-map {path} contains {_listed(twice)} more than once")
    return categories


def spelled_like(categories: Iterable[LabelCode], labels: Sequence[str], origin: str) -> list[LabelCode]:
    """Return a map with its labels as a model spells them. Raises UsageError for two lines of one label."""
    spelled = [replace(each, label=find_label(each.label, labels) or each.label) for each in categories]
    counts = Counter(each.label for each in spelled)
    if twice := {label for label, count in counts.items() if count > 1}:
        raise UsageError(f"{origin} contains {_listed(twice)} more than once")
    return spelled


def mapped_labels(categories: Sequence[LabelCode], labels: Sequence[str]) -> tuple[str, ...] | None:
    """Return the labels of a model that a map has a code for; None if that is all of them."""
    coded = {category.label for category in categories if not category.is_ignored}
    found = tuple(label for label in labels if label in coded)
    return None if len(found) == len(labels) else found


def require_labels(
    categories: Iterable[LabelCode], labels: Sequence[str], origin: str, path: Path | None = None
) -> None:
    """Raise LabelMapError if no line of a map is for one of these labels.

    path: file of the map, if it is one; the missing lines have its columns.
    """
    mapped = {category.label for category in categories}
    if missing := [label for label in labels if label not in mapped]:
        raise LabelMapError(
            f"{origin} has no code for {_listed(missing)}, which the model can answer: add a line for each, with a "
            f"code of yours in it, or with {IGNORE} where you do not sell it",
            tuple(_missing_lines(missing, path)),
        )


def warn_of_gaps(categories: Sequence[LabelCode], labels: Sequence[str], origin: str) -> None:
    """Warn of labels of the model that no line of a map is for, and of codes without a label."""
    mapped = {category.label for category in categories}
    if missing := [label for label in labels if label not in mapped]:
        logger.warning(
            "%s has no line for %d of the model's %d labels: they are left out, as if not sold. Give them a code, or "
            "the code %s to say so: %s",
            origin,
            len(missing),
            len(labels),
            IGNORE,
            "; ".join(f"{label},{IGNORE}" for label in missing),
        )
    if unknown := {each.label for each in categories if not each.is_ignored}.difference(labels):
        logger.warning("%s has codes for %s, which are not labels of the model", origin, _listed(unknown))


def label_map_lines(labels: Sequence[str], known: Iterable[LabelCode] = ()) -> list[str]:
    """Return a label map as lines of CSV with a header: known codes, and lines without a code for other labels."""
    codes = {each.label: each for each in spelled_like(known, labels, "the label map")}
    found = [codes.get(label, LabelCode(label, "")) for label in labels]
    return [",".join(COLUMNS), *(_line(each, COLUMNS, ",") for each in found)]


def _missing_lines(labels: Sequence[str], path: Path | None) -> Iterator[str]:
    columns: Sequence[str] = COLUMNS
    separator = ","
    if path is not None:
        with open_csv(path, COLUMNS) as table:
            columns, separator = [name.lower() for name in table.names], table.separator
    for label in labels:
        yield _line(LabelCode(label, ""), columns, separator)


def _line(category: LabelCode, columns: Sequence[str], separator: str) -> str:
    """Return a line of a label map. columns: of the file; those that are none of COLUMNS stay empty."""
    cells = [getattr(category, name) or "" if name in COLUMNS else "" for name in columns]
    return csv_line(cells, separator)


def load_label_map(database: Database, source_id: int) -> list[LabelCode]:
    """Return the map that a source has; empty if it has none."""
    columns = (LabelMapRow.label, LabelMapRow.code, LabelMapRow.name, LabelMapRow.parent)
    query = select(*columns).where(LabelMapRow.source_id == source_id)
    rows = database.rows(query)
    return [LabelCode(*row) for row in rows]


def store_label_map(database: Database, source_id: int, categories: Sequence[LabelCode]) -> None:
    """Store the map of a source, without labels that are ignored; it replaces any other."""
    rows: list[dict[str, object]] = [
        {"source_id": source_id, "label": each.label, "code": each.code, "name": each.name, "parent": each.parent}
        for each in categories
        if not each.is_ignored
    ]

    database.write(_replace, source_id, rows)


def _replace(connection: Connection, source_id: int, rows: list[dict[str, object]]) -> None:
    connection.execute(delete(LabelMapRow).where(LabelMapRow.source_id == source_id))
    connection.execute(insert(LabelMapRow), rows)


def _category(path: Path, row: RawRow | RowProblem, places: Mapping[str, int]) -> LabelCode:
    line = row.line
    if isinstance(row, RowProblem):
        raise UsageError(f"--label-map {path}, {row.place}: the row {row.text}")
    written = {name: row.cells[place].strip() for name, place in places.items() if place < len(row.cells)}
    values = {name: written.get(name, "") for name in COLUMNS}
    for name in ("label", "code"):
        if not values[name]:
            advice = f"; write a code of yours, or {IGNORE} for what you do not sell" if name == "code" else ""
            raise UsageError(f"--label-map {path}, line {line}: {name} is empty{advice}")
    if too_long := [name for name, value in values.items() if len(value) > MAX_LABEL_LENGTH]:
        raise UsageError(
            f"--label-map {path}, line {line}: {too_long[0]} is longer than {MAX_LABEL_LENGTH} characters"
        )
    return LabelCode(values["label"], values["code"], values["name"] or None, values["parent"] or None)


def _listed(labels: Iterable[str]) -> str:
    names = sorted(labels)
    return ", ".join(map(repr, names[:8])) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
