"""Counting by coarser labels: answers and labels of newer categories are folded into the older ones.

Test images that were labelled before a category existed call it by another name: boots are casual shoes there. A
model that answers "Boots" is right on them. A fold map names each newer label, and the older ones that it counts as.
The order of a model's answers, its confidences and its decisions stay as they are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cataloger.errors import UsageError
from cataloger.tabular import RowProblem, TableFormatError, find_column, open_csv
from cataloger.training.data import Example, accepted_matrix, labels_of
from cataloger.training.metrics import Predictions

COLUMNS = ("label", "counts_as")


@dataclass(frozen=True, slots=True)
class FoldMap:
    """Labels, each with those that it counts as. Of several any is right; of none the answer is never right."""

    labels: Mapping[str, tuple[str, ...]]

    def __post_init__(self) -> None:
        twice = sorted({old for olds in self.labels.values() for old in olds} & set(self.labels))
        if twice:
            raise UsageError(
                f"--fold: {twice[0]!r} is folded, and others count as it; name what it counts as for both"
            )

    def fold(self, labels: Sequence[str]) -> tuple[str, ...]:
        """Return labels with the older ones in the place of the newer."""
        return tuple(dict.fromkeys(old for label in labels for old in self.labels.get(label, (label,))))

    def examples(self, examples: Sequence[Example]) -> tuple[list[Example], int]:
        """Return examples with folded labels; and how many are left out, since their labels count as none."""
        folded = [replace(example, labels=self.fold(example.labels)) for example in examples]
        kept = [example for example in folded if example.labels]
        return kept, len(folded) - len(kept)

    def names(self, labels: Sequence[str]) -> tuple[str, ...]:
        """Return what a model with these labels can answer: one that counts as none stays, and is never right."""
        return tuple(dict.fromkeys(old for label in labels for old in self.fold((label,)) or (label,)))

    def predictions(self, predictions: Predictions, examples: Sequence[Example]) -> Predictions:
        """Return predictions with folded answers. examples: with folded labels.

        An answer that counts as several labels counts as the first of them that is accepted, if any is.
        """
        names = self.names(predictions.labels)
        position = {name: index for index, name in enumerate(names)}
        table = np.array([position[(self.fold((label,)) or (label,))[0]] for label in predictions.labels])
        ranked = np.where(predictions.ranked < 0, predictions.ranked, table[predictions.ranked])
        accepted = accepted_matrix(examples, tuple(dict.fromkeys((*names, *(x for e in examples for x in e.labels)))))
        for number, label in enumerate(predictions.labels):
            for old in reversed(self.labels.get(label, ())):
                fits = (predictions.ranked == number) & accepted[:, [position[old]]]
                ranked[fits] = position[old]
        return Predictions(names, ranked, predictions.confidence, predictions.decisions)


def read_fold_map(path: Path) -> FoldMap:
    """Read a CSV file with the columns label and counts_as; several labels are joined by "|". Raises UsageError."""
    labels: dict[str, tuple[str, ...]] = {}
    try:
        with open_csv(path, COLUMNS) as table:
            places = [find_column(name, table.names) for name in COLUMNS]
            if None in places:
                raise UsageError(f"--fold {path}: its first line names the columns, {','.join(COLUMNS)}")
            for row in table.rows():
                if isinstance(row, RowProblem):
                    raise UsageError(f"--fold {path}, {row.place}: the row {row.text}")
                new, olds = (labels_of(row.cells[place]) for place in places if place is not None)
                if len(new) != 1 or new[0] in labels:
                    raise UsageError(f"--fold {path}, line {row.line}: name one label, and each once")
                labels[new[0]] = olds
    except OSError as error:
        raise UsageError(f"--fold {path} cannot be read: {error.strerror}") from error
    except (TableFormatError, ValueError) as error:
        raise UsageError(f"--fold {path} {error}") from error
    return FoldMap(labels)
