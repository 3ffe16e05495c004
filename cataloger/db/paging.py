"""Going through many rows in pages, each read by itself, so that memory stays small and no connection stays open.

And through many values, of which a statement takes only so many.
"""

import json
from collections.abc import Collection, Iterator, Sequence
from typing import Any, TypeVar

from sqlalchemy import BigInteger, ColumnElement, Select, String, Text, any_, bindparam, cast, func, select
from sqlalchemy.dialects.postgresql import ARRAY

from cataloger.db.database import Database
from cataloger.db.types import AnyRow
from cataloger.db.upsert import array_of

T = TypeVar("T")

WIDEST = 64
"""Times the size of a page, so many numbers at most are looked through at once where few rows match."""


def slices(values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Yield the values in their order, `size` at a time."""
    return (values[start : start + size] for start in range(0, len(values), size))


def is_among(dialect: str, column: Any, values: Collection[str] | Collection[int]) -> ColumnElement[bool]:
    """Return the condition that a column has one of many values, which are one parameter where that is possible.

    dialect: name of it. Values are texts without lone surrogates, or whole numbers.
    """
    if dialect == "postgresql":
        # A constant, of which the server makes a hash table. With a parameter it would try one value after the other,
        # for each row of a source where its statistics do not know the source.
        kind = Text() if isinstance(column.type, String) else BigInteger()
        given = bindparam(None, array_of(values), Text(), unique=True, literal_execute=True)
        is_any: ColumnElement[bool] = column == any_(cast(given, ARRAY(kind)))
        return is_any
    if dialect == "sqlite":
        each = func.json_each(json.dumps(list(values))).table_valued("value")
        is_in: ColumnElement[bool] = column.in_(select(each.c.value))
        return is_in
    is_one: ColumnElement[bool] = column.in_(values)
    return is_one


def row_pages(database: Database, query: Select[Any], number: Any, size: int) -> Iterator[Sequence[AnyRow]]:
    """Yield the rows of a query by a number above 0 that is different in each, `size` at a time.

    number: a column with an index; the rows have it at their end once more, as `number`.
    """
    ordered = query.add_columns(number.label("number")).order_by(number)
    page: list[AnyRow] = []
    last, width = 0, size
    # With both ends: where PostgreSQL underestimates how many rows match, it would go through the whole table and
    # sort it for each page.
    while (end := _end(database, number, last, width)) is not None:
        page += database.rows(ordered.where(number > last, number <= end).limit(size - len(page)))
        is_full = len(page) == size
        last = page[-1].number if is_full else end
        width = max(width // 2, size) if is_full else min(width * 2, WIDEST * size)
        if is_full:
            yield page
            page = []
    if page:
        yield page


def _end(database: Database, number: Any, last: int, width: int) -> int | None:
    """Return the number that is `width` numbers behind another one, or the last one; None if there is none."""
    behind = select(number.label("number")).where(number > last).order_by(number).limit(width).subquery()
    end: int | None = database.scalar(select(func.max(behind.c.number)))
    return end


def value_pages(database: Database, query: Select[Any], column: Any, size: int) -> Iterator[list[Any]]:
    """Yield the different values of the column that a query selects, in order, `size` at a time."""
    ordered = query.distinct().order_by(column).limit(size)
    following = ordered
    while page := database.scalars(following):
        yield page
        following = ordered.where(column > page[-1])
