"""Going through many rows in pages, each read by itself, so that memory stays small and no connection is held."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Select

from cataloger.db.database import Database


def value_pages(database: Database, query: Select[Any], column: Any, size: int) -> Iterator[list[Any]]:
    """Yield the different values of the column that a query selects, in order, so many at a time."""
    ordered = query.distinct().order_by(column).limit(size)
    following = ordered
    while page := database.run(lambda connection: list(connection.scalars(following)), read_only=True):  # noqa: B023
        yield page
        following = ordered.where(column > page[-1])
