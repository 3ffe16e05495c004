"""Columns of the labelled images by which they are drawn for training, or chosen to measure by."""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from cataloger.errors import UsageError
from cataloger.training.data.examples import Example
from cataloger.training.options import ColumnShares, ColumnValues, DataOptions
from cataloger.utils import listed

NO_VALUE = "(none)"
"""What an empty cell is called, in messages and as a value of `--balance-by` and `--select-by`."""


def values_of(examples: Sequence[Example], options: DataOptions, column: str) -> list[str]:
    """Return the value of each example in a column that `options.traits` names."""
    position = options.traits.index(column)
    return [example.traits[position] or NO_VALUE for example in examples]


def check_shares(asked: ColumnShares, values: Iterable[str]) -> None:
    """Raise UsageError unless the shares, if there are any, name each value once and no other."""
    present = set(values)
    if asked.shares and set(asked.shares) != present:
        raise UsageError(
            f"--balance-by {asked.column}: its shares are of {_named(asked.shares)}, but the training images have "
            f"{_named(present)} there; give each of these its share"
        )


def rows_with(asked: ColumnValues, values: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return the rows, in order, whose value is one of those asked for. Raises UsageError for one that no row has."""
    unknown = set(asked.values) - set(values)
    if unknown:
        raise UsageError(
            f"--select-by {asked.column}: no validation image has {_named(unknown)} there; they have {_named(values)}"
        )
    return np.flatnonzero(np.isin(np.array(values, object), asked.values))


def _named(values: Iterable[str]) -> str:
    return listed(sorted(set(values)))
