"""What a shop sells, as people write it: labels in a flag or a file, and the labels of departments in a file."""

import tomllib
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path

from cataloger.adaptation.source_calibration import Departments, LabelSelection
from cataloger.errors import UsageError
from cataloger.options import SelectionOptions
from cataloger.tabular import RowProblem, TableFormatError, find_column, open_csv
from cataloger.utils import clean_department, find_label

IGNORE = "ignore"
"""The code of a label that a shop does not sell."""
ALL, NONE = "all", "none"


def changed_selection(known: LabelSelection, options: SelectionOptions, labels: Sequence[str]) -> LabelSelection:
    """Return the selection of a source with what options change of it. labels: of the model.

    Raises UsageError for a file that cannot be read, and for a label that the model does not have.
    """
    sold, excluded, departments = known.labels, known.excluded, known.departments
    if options.labels is not None:
        sold = None if options.labels == ALL else _labels("--labels", options.labels, labels)
    if options.exclude_labels is not None:
        is_none = options.exclude_labels == NONE
        excluded = () if is_none else _labels("--exclude-labels", options.exclude_labels, labels)
    if options.departments is not None:
        column = options.department_column or (departments.column if departments else None)
        departments = _departments(options.departments, column, labels)
    elif options.department_column is not None:
        if departments is None:
            raise UsageError("--department-column needs --departments, a file with the labels of each department")
        departments = Departments(options.department_column, departments.labels)
    return LabelSelection(sold, excluded, known.mapped, departments)


def _labels(flag: str, text: str, known: Sequence[str]) -> tuple[str, ...]:
    """Return the labels of a flag: those of a file, else those between the commas, as the model spells them."""
    path = Path(text)
    if path.is_file():
        return _spelled(f"{flag} {text}", _labels_of_file(flag, path), known)
    names = [part.strip() for part in text.split(",") if part.strip()]
    if len(names) == 1 and find_label(names[0], known) is None:
        raise UsageError(f"{flag} {text}: neither a file nor a label of the model{_close(names[0], known)}")
    return _spelled(flag, names, known)


def _labels_of_file(flag: str, path: Path) -> list[str]:
    """Read labels: one on each line, or the column label of a CSV file, without those whose code is ignore."""
    try:
        with open_csv(path, ("label", "code")) as table:
            place = find_column("label", table.names)
            if place is not None:
                rows = [row for row in table.rows() if not isinstance(row, RowProblem)]
                code = find_column("code", table.names)
                return [
                    row.cells[place].strip()
                    for row in rows
                    if code is None or code >= len(row.cells) or row.cells[code].strip().casefold() != IGNORE
                ]
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise UsageError(f"{flag} {path} cannot be read: {error.strerror}") from error
    except TableFormatError as error:
        raise UsageError(f"{flag} {path} {error}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{flag} {path} is not UTF-8") from error
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def _departments(path: Path, column: str | None, known: Sequence[str]) -> Departments | None:
    """Read the labels of each department: a TOML table of lists, or a CSV with the columns department and label."""
    if str(path) == NONE:
        return None
    if column is None:
        raise UsageError("--departments needs --department-column, the column of the product table that names them")
    try:
        pairs = _pairs_of_toml(path) if path.suffix.lower() == ".toml" else _pairs_of_csv(path)
    except OSError as error:
        raise UsageError(f"--departments {path} cannot be read: {error.strerror}") from error
    except (TableFormatError, ValueError) as error:
        raise UsageError(f"--departments {path} cannot be read: {error}") from error
    found: dict[str, list[str]] = {}
    for department, label in pairs:
        name = clean_department(department)
        if name is None:
            raise UsageError(f"--departments {path}: a department has no name")
        found.setdefault(name, []).append(label)
    if not found:
        raise UsageError(f"--departments {path} names no department")
    origin = f"--departments {path}"
    return Departments(column, {name: _spelled(origin, labels, known) for name, labels in found.items()})


def _pairs_of_toml(path: Path) -> list[tuple[str, str]]:
    values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    pairs = []
    for department, labels in values.items():
        if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
            raise ValueError(f'{department} must be a list of labels, such as {department} = ["Shirt", "Jeans"]')
        pairs += [(department, label) for label in labels]
    return pairs


def _pairs_of_csv(path: Path) -> list[tuple[str, str]]:
    with open_csv(path, ("department", "label")) as table:
        places = [find_column(name, table.names) for name in ("department", "label")]
        if None in places:
            raise ValueError("its first line names the columns, department,label")
        department, label = (int(place) for place in places if place is not None)
        rows = [row for row in table.rows() if not isinstance(row, RowProblem)]
    whole = [row.cells for row in rows if len(row.cells) > max(department, label)]
    return [(cells[department], cells[label].strip()) for cells in whole]


def _spelled(origin: str, names: Iterable[str], known: Sequence[str]) -> tuple[str, ...]:
    """Return labels as the model spells them, in its order. Raises UsageError for one that it does not have."""
    found = {name: find_label(name, known) for name in names if name}
    if unknown := [name for name, label in found.items() if label is None]:
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        raise UsageError(
            f"{origin}: {unknown[0]!r}{more} is no label of the model{_close(unknown[0], known)}; "
            "`cataloger models labels` prints them"
        )
    return tuple(label for label in known if label in set(found.values()))


def _close(name: str, known: Sequence[str]) -> str:
    close = get_close_matches(name.casefold(), {label.casefold(): label for label in known}, n=1)
    labels = {label.casefold(): label for label in known}
    return f" (is it {labels[close[0]]!r}?)" if close else ""
