"""Reading labelled images from a CSV; partial labels."""

import csv
import hashlib
import json
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
class Problem:
    """Something in a source that was left out, or is worth a look.

    kind: stable name, see `cataloger.training.data_report`. place: file, or file and line. message: what is wrong.
    """

    kind: str
    place: str
    message: str


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled image. labels: the accepted ones; any of them is right. groups: its `report_by` values.

    split: train, val, test or, before splits are made, "". product: what it shows; "" if the source does not say.
    """

    file: str
    path: Path
    labels: tuple[str, ...]
    split: str
    groups: tuple[str, ...] = ()
    product: str = ""


@dataclass(frozen=True, slots=True)
class LabelledImages:
    """All examples of a source. labels: every label, sorted; the order of the network's head.

    problems: what the reader left out or found odd, in the order of the source.
    """

    labels: tuple[str, ...]
    examples: tuple[Example, ...]
    problems: tuple[Problem, ...] = ()

    def split(self, name: str) -> list[Example]:
        """Return the examples of one split, in the order of the file."""
        return [example for example in self.examples if example.split == name]

    @property
    def has_splits(self) -> bool:
        """True when there is something to train on and something to choose the best epoch by."""
        return {"train", "val"} <= {example.split for example in self.examples}

    @property
    def fingerprint(self) -> str:
        """SHA-256 of files, labels and splits, hexadecimal; the order of the rows does not count."""
        rows = sorted(json.dumps([e.file, sorted(e.labels), e.split]) for e in self.examples)
        return hashlib.sha256("\n".join([json.dumps(self.labels), *rows]).encode()).hexdigest()


def read_labels(path: Path, images: Path, *, report_by: Sequence[str] = ()) -> LabelledImages:
    """Read a labels CSV. Raises TrainingError with line numbers for anything that cannot be used."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            _check_columns(path, reader.fieldnames or (), (*COLUMNS, *report_by))
            examples = [_example(row, images, report_by, f"{path}:{reader.line_num}") for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TrainingError(f"{path} cannot be read as a CSV of labels: {error}") from error
    _check_unique(path, examples)
    labels = tuple(sorted({label for example in examples for label in example.labels}))
    if len(labels) < 2:
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


def _example(row: dict[str, str], images: Path, report_by: Sequence[str], place: str) -> Example:
    labels = tuple(dict.fromkeys(part.strip() for part in (row["labels"] or "").split("|") if part.strip()))
    if not row["file"] or not labels:
        raise TrainingError(f"{place}: `file` and `labels` must not be empty")
    if row["split"] not in SPLITS:
        raise TrainingError(f"{place}: split is {row['split']!r}; it must be one of {', '.join(SPLITS)}")
    groups = tuple(row[name] or "" for name in report_by)
    return Example(row["file"], images / row["file"], labels, row["split"], groups)


def _check_unique(path: Path, examples: Sequence[Example]) -> None:
    file, count = Counter(example.file for example in examples).most_common(1)[0] if examples else ("", 0)
    if count > 1:
        raise TrainingError(f"{path} names {file} {count} times; give each image one row")
    for split in ("train", "val"):
        if not any(example.split == split for example in examples):
            raise TrainingError(f"{path} has no row with split {split!r}")
