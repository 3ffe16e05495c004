"""Reading labelled images from a CSV; partial labels."""

import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cataloger.errors import TrainingError

SPLITS = ("train", "val", "test")
COLUMNS = ("file", "labels", "split")


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled image. labels: the accepted ones; any of them is right. groups: its `report_by` values."""

    file: str
    path: Path
    labels: tuple[str, ...]
    split: str
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LabelledImages:
    """All examples of a labels file. labels: every label, sorted; the order of the network's head."""

    labels: tuple[str, ...]
    examples: tuple[Example, ...]

    def split(self, name: str) -> list[Example]:
        """Return the examples of one split, in the order of the file."""
        return [example for example in self.examples if example.split == name]


def read_labels(
    path: Path, images: Path, *, report_by: Sequence[str] = (), for_training: bool = True
) -> LabelledImages:
    """Read a labels CSV. Raises TrainingError with line numbers for anything that cannot be used.

    for_training: splits and two labels are needed; otherwise the column `split` may be missing, or empty.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            needed = COLUMNS if for_training else COLUMNS[:2]
            _check_columns(path, reader.fieldnames or (), (*needed, *report_by))
            splits = SPLITS if for_training else (*SPLITS, "")
            examples = [_example(row, images, report_by, splits, f"{path}:{reader.line_num}") for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TrainingError(f"{path} cannot be read as a CSV of labels: {error}") from error
    _check_unique(path, examples)
    if for_training:
        _check_splits(path, examples)
    labels = tuple(sorted({label for example in examples for label in example.labels}))
    if for_training and len(labels) < 2:
        raise TrainingError(f"{path} has {len(labels)} labels; a classifier needs at least two")
    return LabelledImages(labels, tuple(examples))


def accepted_matrix(examples: Sequence[Example], labels: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Return bool N x labels: which labels are right for each example. Raises TrainingError."""
    index = {label: position for position, label in enumerate(labels)}
    accepted = np.zeros((len(examples), len(labels)), dtype=np.bool_)
    for row, example in enumerate(examples):
        unknown = [label for label in example.labels if label not in index]
        if unknown:
            raise TrainingError(f"{example.file} is labelled {unknown[0]!r}, which the model does not know")
        accepted[row, [index[label] for label in example.labels]] = True
    return accepted


def _check_columns(path: Path, present: Iterable[str], wanted: Sequence[str]) -> None:
    present = list(present)
    missing = [name for name in wanted if name not in present]
    if missing:
        raise TrainingError(f"{path} lacks the column {missing[0]!r}; it has {', '.join(present) or 'no header'}")


def _example(
    row: dict[str, str], images: Path, report_by: Sequence[str], splits: Sequence[str], place: str
) -> Example:
    labels = tuple(dict.fromkeys(part.strip() for part in (row["labels"] or "").split("|") if part.strip()))
    if not row["file"] or not labels:
        raise TrainingError(f"{place}: `file` and `labels` must not be empty")
    split = row.get("split") or ""
    if split not in splits:
        raise TrainingError(f"{place}: split is {split!r}; it must be one of {', '.join(SPLITS)}")
    groups = tuple(row[name] or "" for name in report_by)
    return Example(row["file"], images / row["file"], labels, split, groups)


def _check_unique(path: Path, examples: Sequence[Example]) -> None:
    file, count = Counter(example.file for example in examples).most_common(1)[0] if examples else ("", 0)
    if count > 1:
        raise TrainingError(f"{path} names {file} {count} times; give each image one row")


def _check_splits(path: Path, examples: Sequence[Example]) -> None:
    for split in ("train", "val"):
        if not any(example.split == split for example in examples):
            raise TrainingError(f"{path} has no row with split {split!r}")
