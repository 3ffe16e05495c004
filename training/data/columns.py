"""Rows of a manifest or a query as examples: which column is what, and what a cell says.

A row that cannot be used becomes a `DataProblem` named after its place; the others are not affected. What cannot be
meant, such as an unknown split, ends the reading with an error: a guess could leak test images into training.
"""

import json
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cataloger.errors import TrainingError, UsageError
from cataloger.records import StoredObject
from cataloger.sources import Location, ReferenceProblem, find_below, key_of, key_of_address, locate, text_of
from cataloger.training.data.examples import SPLITS, DataProblem, Example, WebImage
from cataloger.training.options import DataOptions
from cataloger.utils import clean_label

IMAGE_COLUMNS = ("image", "file", "path", "filename", "image_path")
LABEL_COLUMNS = ("labels", "label", "category", "class")
SPLIT_COLUMNS = ("split",)
PRODUCT_COLUMNS = ("product_id", "product", "sku", "group")
SPLIT_NAMES = {
    **{name: name for name in SPLITS},
    "training": "train",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "testing": "test",
}
SEPARATOR = "|"

_NOT_UTF8 = re.compile("[\ud800-\udfff]")  # what such bytes became when they were read

Row = Mapping[str, Any] | str
"""The cells of a row by column; or, as a text, why it cannot be read."""

Found = tuple[str, Path | StoredObject | WebImage]
"""The name of an image, and where it is."""

Finder = Callable[[str], Found | str]
"""Turns the cell of an image into its name and its place; or, as a text, says why it names none."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns of a source are what; "" for one that it does not have.

    takes_empty: whether a row without a label is an example, of what is no product.
    """

    image: str
    label: str
    split: str = ""
    product: str = ""
    groups: tuple[str, ...] = ()
    traits: tuple[str, ...] = ()
    takes_empty: bool = False

    @property
    def all(self) -> list[str]:
        """Every column that is read, once."""
        named = (self.image, self.label, self.split, self.product, *self.groups, *self.traits)
        return list(dict.fromkeys(name for name in named if name))


def find_columns(present: Sequence[str], options: DataOptions, where: str) -> Columns:
    """Choose the columns of a source. where: its name, for messages.

    Raises UsageError for a column that was asked for and is not there, TrainingError when none of the usual ones is.
    """

    def choose(flag: str, asked: str | None, usual: Sequence[str], *, needed: bool) -> str:
        if asked == "" and not needed:
            return ""
        if asked is not None:
            return _asked(asked, present, flag, where)
        found = next((match for name in usual if (match := _match(name, present))), "")
        if needed and not found:
            raise TrainingError(
                f"{where} has no column {' or '.join(usual)}; it has {', '.join(present) or 'none'}. "
                f"Name the right one: {flag} NAME"
            )
        return found

    return Columns(
        image=choose("--image-column", options.image_column, IMAGE_COLUMNS, needed=True),
        label=choose("--label-column", options.label_column, LABEL_COLUMNS, needed=True),
        split=choose("--split-column", options.split_column, SPLIT_COLUMNS, needed=False),
        product=choose("--product-column", options.product_column, PRODUCT_COLUMNS, needed=False),
        groups=tuple(_asked(name, present, "--report-by", where) for name in options.report_by),
        traits=tuple(_asked(name, present, "--balance-by or --select-by", where) for name in options.traits),
        takes_empty=options.no_product == "",
    )


def read_rows(
    rows: Iterable[tuple[str, Row]], columns: Columns, find: Finder
) -> tuple[list[Example], list[DataProblem]]:
    """Turn rows (place, cells) into examples, and those that cannot be used into problems.

    Raises TrainingError for a split that is none.
    """
    examples: list[Example] = []
    problems: list[DataProblem] = []
    for place, row in rows:
        made = DataProblem("bad_row", place, row) if isinstance(row, str) else _example(place, row, columns, find)
        if isinstance(made, DataProblem):
            problems.append(made)
        else:
            examples.append(made)
    return examples, problems


def labels_of(cell: Any) -> tuple[str, ...]:
    """Return the accepted labels of a cell: a text with "|" between them, a JSON list, a list, or one value.

    Raises ValueError, with the reason, for what is none of these.
    """
    if isinstance(cell, str) and cell.lstrip().startswith("["):
        cell = _json_list(cell)
    if isinstance(cell, str):
        cell = cell.split(SEPARATOR)
    elif not isinstance(cell, list | tuple):
        cell = [cell]
    if any(isinstance(value, Mapping | list | tuple) for value in cell):
        raise ValueError("the list of labels contains lists or objects; it must contain texts")
    if any(isinstance(value, str) and "\n" in value.strip() for value in cell):
        raise ValueError("the label contains a line break; is a closing quote missing?")
    if any(isinstance(value, str) and _NOT_UTF8.search(value) for value in cell):
        raise ValueError("the label is not UTF-8")
    texts = (clean_label(_text(value)) for value in cell)
    return tuple(dict.fromkeys(text for text in texts if text))


def split_of(cell: Any, place: str) -> str:
    """Return the split that a cell names; "" for none. Raises TrainingError for one that is unknown."""
    text = "" if is_empty(cell) else str(cell).strip().lower()
    if text and text not in SPLIT_NAMES:
        known = ", ".join(SPLIT_NAMES)
        raise TrainingError(
            f"{place}: the split is {str(cell)!r}; it must be train, val or test (accepted: {known}). "
            "Name another column with --split-column, or correct it"
        )
    return SPLIT_NAMES.get(text, "")


def is_empty(cell: Any) -> bool:
    """True for a cell that says nothing: NULL, blanks, not a number."""
    if isinstance(cell, float):
        return math.isnan(cell)
    return cell is None or (isinstance(cell, str) and not cell.strip())


def image_below(folder: Path, name: str, options: DataOptions) -> Found | str:
    """Find the file that a manifest calls `name`, or what has this address: of objects those below the roots."""
    if "://" not in name:
        return file_below(folder, name)
    place = locate(name, None, options.roots())
    if isinstance(place, ReferenceProblem):
        return place.message.replace("--image-root", "--images")
    return far_image(place, options)


def far_image(place: Location, options: DataOptions) -> Found | str:
    """Return the name of an image that is no file, and where it is. The name holds nothing that may be secret."""
    if place.stored is not None:
        return place.uri, place.stored
    name = key_of_address(place)
    if isinstance(name, ReferenceProblem) or place.url is None:
        return "the address is not a valid one"
    return name, WebImage(place.url, options.allow_private)


def file_below(folder: Path, name: str) -> tuple[str, Path] | str:
    """Find the file that a manifest calls `name`, as it is written or cleaned: see `cataloger.utils.names`."""
    if "\0" in name or "\n" in name.strip():
        return "the path contains a line break or a zero byte; is a closing quote missing?"
    try:
        found, path = find_below(os.fsencode(folder), name)
    except UnicodeEncodeError:
        return "the path contains half a surrogate pair, which is not possible in a file name"
    return key_of(found), Path(os.fsdecode(path))


def _asked(name: str, present: Sequence[str], flag: str, where: str) -> str:
    found = _match(name, present)
    if not found:
        raise UsageError(f"{flag} {name}: {where} has no such column; it has {', '.join(present) or 'none'}")
    return found


def _match(name: str, present: Sequence[str]) -> str:
    """Find a column by its exact name, else whatever its case: databases differ in how they give names."""
    if present.count(name) > 1:
        raise UsageError(f"the column {name} appears twice; rename one of them, in a query with `as`")
    if name in present:
        return name
    return next((other for other in present if other.strip().lower() == name.lower()), "")


def _example(place: str, row: Mapping[str, Any], columns: Columns, find: Finder) -> Example | DataProblem:
    image, label = row.get(columns.image), row.get(columns.label)
    product = _text(row.get(columns.product)) if columns.product else ""
    if is_empty(image):
        named = f"{place} (product {product})" if product else place
        return DataProblem("no_image", named, f"the column {columns.image} is empty")
    if not isinstance(image, str):
        return DataProblem("no_image", place, f"{columns.image} contains no path, but {type(image).__name__}")
    try:
        labels = labels_of(label)
    except ValueError as error:
        return DataProblem("no_label", place, str(error))
    split = split_of(row.get(columns.split) if columns.split else None, place)
    found = find(image)
    if isinstance(found, str):
        return DataProblem("no_image", place, found)
    if not labels and not columns.takes_empty:
        return DataProblem("no_label", f"{place} ({found[0]})", f"the column {columns.label} is empty")
    groups = tuple(_text(row.get(name)) for name in columns.groups)
    traits = tuple(_text(row.get(name)) for name in columns.traits)
    name, where = found
    example = Example(name, None, labels, split, groups, product, traits)
    kind = "path" if isinstance(where, Path) else "web" if isinstance(where, WebImage) else "stored"
    return replace(example, **{kind: where})  # type: ignore[arg-type]


def _text(cell: Any) -> str:
    if is_empty(cell):
        return ""
    if isinstance(cell, float) and math.isfinite(cell) and cell == int(cell):
        return str(int(cell))  # a column of whole numbers with gaps comes as floats
    return text_of(cell).strip()


def _json_list(cell: str) -> list[Any] | str:
    """Read a JSON list; a text that only begins like one is a label."""
    try:
        return list(json.loads(cell))
    except (ValueError, RecursionError):
        return cell
