"""Keys of a shop's table that are recorded otherwise than they are written, since they hold what cannot be seen."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, LargeBinary, String, Text, cast, false, func, or_, select

from cataloger.sources.image_references import clean_values

ROWS_PER_FETCH = 5000
_BLANKS = " \t\n\v\f\r"


def odd_keys(connection: Connection, columns: Sequence[ColumnElement[Any]]) -> Iterator[tuple[Any, ...]]:
    """Yield the values of the rows that clean ones differ from, e.g. with blanks around them or in NFD.

    The server narrows them down to those with blanks around them or with other letters than those of ASCII, in one
    pass over the table.
    """
    query = select(*columns).where(or_(false(), *(_may_be_odd(connection.dialect.name, each) for each in columns)))
    for row in connection.execute(query, execution_options={"yield_per": ROWS_PER_FETCH}):
        values = tuple(row)
        if clean_values(values) != values:
            yield values


def _may_be_odd(dialect: str, column: ColumnElement[Any]) -> ColumnElement[bool]:
    if dialect == "sqlite":
        is_long = func.length(cast(column, LargeBinary)) != func.length(column)
        return or_(column != func.trim(column, _BLANKS), is_long)
    text = cast(column, Text if dialect == "postgresql" else String)
    return or_(text.regexp_match("^[[:space:]]|[[:space:]]$"), func.octet_length(text) != func.char_length(text))
