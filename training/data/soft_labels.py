"""What another model says of training images: probabilities of the labels, which a training may learn as well.

They are a teacher's answers (Hinton et al., arXiv:1503.02531), from a larger network or from one that has learned
from other images; where it disagrees with a wrong label, they soften it.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cataloger.errors import TrainingError
from cataloger.tabular import RawRow, RowProblem, TableFormatError, find_column, open_csv, require_regular
from cataloger.training.data.columns import Finder, image_below
from cataloger.training.data.examples import Example
from cataloger.training.options import DataOptions
from cataloger.utils import clean_label

COLUMNS = ("file", "label", "probability")

SoftLabels = Mapping[str, Mapping[str, float]]
"""By the name of an image, the probability of each label that was named."""


def read_soft_labels(path: Path, options: DataOptions) -> SoftLabels:
    """Read a CSV file with the columns file, label and probability, a row for each label of an image.

    Files are named as in a manifest: relative paths start at `options.images`, else at the file's folder.
    Raises TrainingError, with the line, for what cannot be read: to train on the rest would be another training.
    """
    found: dict[str, dict[str, float]] = defaultdict(dict)
    # An image has many rows, and each search looks at the disk.
    find = cache(lambda name: image_below(options.images or path.parent, name, options))
    try:
        require_regular(path)
        with open_csv(path, COLUMNS) as table:
            places = [place for name in COLUMNS if (place := find_column(name, table.names)) is not None]
            if len(places) != len(COLUMNS):
                raise TrainingError(f"--soft-labels {path}: its first line names the columns, {','.join(COLUMNS)}")
            for row in table.rows():
                try:
                    name, label, probability = _answer(row, places, find)
                    if label in found[name]:
                        raise ValueError(f"names {label!r} again for {name}")
                except ValueError as error:
                    raise TrainingError(f"--soft-labels {path}, line {row.line}: the row {error}") from error
                found[name][label] = probability
    except OSError as error:
        raise TrainingError(f"--soft-labels {path} cannot be read: {error.strerror or error}") from error
    except TableFormatError as error:
        raise TrainingError(f"--soft-labels {path} {error}") from error
    return found


def _answer(row: RawRow | RowProblem, places: Sequence[int], find: Finder) -> tuple[str, str, float]:
    """Return the name of an image, a label and its probability. Raises ValueError, as a text without its subject."""
    if isinstance(row, RowProblem):
        raise ValueError(row.text)
    if len(row.cells) <= max(places):
        raise ValueError(f"has {len(row.cells)} cells")
    name, label, text = (row.cells[place].strip() for place in places)
    if not (name and label):
        raise ValueError("names no image or no label")
    image = find(name)
    if isinstance(image, str):
        raise ValueError(f"names an image that cannot be: {image}")
    try:
        probability = float(text)
    except ValueError:
        probability = -1.0
    if not 0.0 <= probability <= 1.0:
        raise ValueError(f"has the probability {text!r}; it must be a number from 0 to 1")
    return image[0], clean_label(label), probability


def soft_matrix(examples: Sequence[Example], labels: Sequence[str], soft: SoftLabels) -> npt.NDArray[np.float32]:
    """Return float32 N x labels: the probabilities of each example, which add up to 1; zeros where there are none.

    Examples that show no product have none, and labels that are not among `labels` do not count.
    """
    index = {label: position for position, label in enumerate(labels)}
    matrix = np.zeros((len(examples), len(labels)), np.float32)
    for row, example in enumerate(examples):
        for label, probability in soft.get(example.file, {}).items() if example.labels else ():
            if label in index:
                matrix[row, index[label]] = probability
    total = matrix.sum(axis=1, keepdims=True)
    return (matrix / np.where(total > 0, total, 1)).astype(np.float32)
