"""Going through many rows in pages, each read by itself, so that memory stays small and no connection stays open.

And through many values, of which a statement takes only so many.
"""

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from sqlalchemy import Select

from cataloger.db.database import Database
from cataloger.db.types import AnyRow

T = TypeVar("T")


def slices(values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Yield the values in their order, `size` at a time."""
    return (values[start : start + size] for start in range(0, len(values), size))


def row_pages(database: Database, query: Select[Any], number: Any, size: int) -> Iterator[Sequence[AnyRow]]:
    """Yield the rows of a query by a number above 0 that is different in each, `size` at a time.

    number: the column; the rows have it at their end once more, as `number`.
    """
    ordered = query.add_columns(number.label("number")).order_by(number).limit(size)
    last = 0
    while page := database.rows(ordered.where(number > last)):
        yield page
        last = page[-1].number


def value_pages(database: Database, query: Select[Any], column: Any, size: int) -> Iterator[list[Any]]:
    """Yield the different values of the column that a query selects, in order, `size` at a time."""
    ordered = query.distinct().order_by(column).limit(size)
    following = ordered
    while page := database.scalars(following):
        yield page
        following = ordered.where(column > page[-1])
