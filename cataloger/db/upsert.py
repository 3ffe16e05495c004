"""INSERT of many rows at once, and INSERT that copes with rows that exist already, in the SQL of each engine.

On PostgreSQL the columns of a batch go as arrays, which `unnest` makes rows of on the server, so that a batch is one
statement with constant text. Unlike COPY into a staging table this makes no table: it needs no privilege for
temporary ones, leaves nothing on a connection of a pooler, and writes each row once; direct connections keep the
statement prepared. On MySQL and MariaDB a statement has many rows, on SQLite the driver repeats it.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from itertools import chain
from typing import Any

from sqlalchemy import JSON, Connection, DateTime, Dialect, LargeBinary, String, Text, bindparam, cast, func, select
from sqlalchemy.dialects import mysql, postgresql, sqlite

from cataloger.db.types import UtcDateTime

Row = dict[str, Any]
Rows = Sequence[Row]
Values = tuple[Any, ...]

FEW = 8
"""Rows that PostgreSQL gets one by one, which costs less than arrays."""
MOST = 4096
"""Rows of one statement."""
NAMED = re.compile(r"%\((\w+)\)s")
ROW = re.compile(r"^\(%(\(\w+\))?s(, %(\(\w+\))?s)*\)")
"""The parameters of a row in a statement, as drivers of MySQL have them."""
MOST_BYTES = 500_000
"""Of values in one statement of MySQL, before they are quoted; the smallest limit that servers have is a million."""


@dataclass(frozen=True, slots=True)
class _Insert:
    """An INSERT. table: a mapped class. keys: with rows of which it copes; none when there cannot be any."""

    table: Any
    columns: tuple[str, ...]
    keys: tuple[str, ...] = ()
    update: tuple[str, ...] = ()
    returning: tuple[str, ...] = ()


def insert_rows(
    connection: Connection, table: Any, rows: Rows, *, returning: Sequence[str] = ()
) -> list[Values] | None:
    """Insert rows, which must have the same columns. table: a mapped class.

    Returns the columns `returning` of all rows, in any order, or None where the engine does not return them.
    """
    if not rows:
        return []
    return _write(connection, _Insert(table, tuple(rows[0]), returning=tuple(returning)), rows)


def upsert_rows(
    connection: Connection,
    table: Any,
    rows: Rows,
    *,
    keys: Sequence[str],
    update: Sequence[str],
    returning: Sequence[str] = (),
) -> list[Values] | None:
    """Insert rows; where one with the same `keys` exists, set its `update` columns, or leave it if there are none.

    table: a mapped class. All rows must have the same columns. Returns as `insert_rows` does.
    """
    if not rows:
        return []
    insert = _Insert(table, tuple(rows[0]), tuple(keys), tuple(update), tuple(returning))
    return _write(connection, insert, _once_each(rows, insert))


def array_of(values: Iterable[Any]) -> str:
    """Return values as PostgreSQL writes an array: numbers, text, bytes, times, None."""
    return "{" + ",".join(map(_element, values)) + "}"


def _write(connection: Connection, insert: _Insert, rows: Rows) -> list[Values] | None:
    name = connection.dialect.name
    if name == "postgresql" and len(rows) > FEW:
        return _write_arrays(connection, insert, rows)
    if name in ("mysql", "mariadb"):
        return _write_wide(connection, insert, rows)
    insert = replace(insert, returning=())
    if name == "sqlite":
        text, order = _statement_of(insert, connection.dialect)
        columns = _columns(rows, order, insert, connection.dialect)
        connection.exec_driver_sql(text, list(zip(*columns, strict=True)))
    else:
        connection.execute(_insert_of(insert, name), list(rows))
    return None


def _once_each(rows: Rows, insert: _Insert) -> Rows:
    """Return each row once: one statement cannot change a row twice. What is updated is that of the last one."""
    merged: dict[Values, Row] = {}
    for row in rows:
        key = tuple(row[name] for name in insert.keys)
        if (first := merged.get(key)) is None:
            merged[key] = row
        elif insert.update:
            merged[key] = {**first, **{name: row[name] for name in insert.update}}
    return rows if len(merged) == len(rows) else list(merged.values())


def _write_arrays(connection: Connection, insert: _Insert, rows: Rows) -> list[Values] | None:
    statement = _array_statement(insert)
    found: list[Values] = []
    for start in range(0, len(rows), MOST):
        columns = _columns(rows[start : start + MOST], insert.columns, insert, connection.dialect)
        arrays = {f"b_{name}": array_of(values) for name, values in zip(insert.columns, columns, strict=True)}
        result = connection.execute(statement, arrays)
        if insert.returning:
            found += [tuple(row) for row in result]
    return found if insert.returning else None


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, bytes):
        return '"\\\\x' + value.hex() + '"'
    return f'"{value}"' if isinstance(value, datetime) else str(value)


@lru_cache(64)
def _array_statement(insert: _Insert) -> Any:
    table = insert.table.__table__
    types = {name: _array_type(table.c[name].type) for name in insert.columns}
    arrays = [cast(bindparam(f"b_{name}", type_=Text()), postgresql.ARRAY(each)) for name, each in types.items()]
    given = func.unnest(*arrays).table_valued(*insert.columns).render_derived(name="given")
    rows = select(*[given.c[name] for name in insert.columns])
    statement = postgresql.insert(table).from_select(list(insert.columns), rows, include_defaults=False)
    return _coping(statement, insert, "postgresql")


def _array_type(column: Any) -> Any:
    """Return the type of the elements of an array for a column; a cast to a short text would cut off what is long."""
    if isinstance(column, UtcDateTime):
        return DateTime()
    if isinstance(column, JSON):
        return JSON()
    return Text() if isinstance(column, String) else column


def _write_wide(connection: Connection, insert: _Insert, rows: Rows) -> list[Values] | None:
    if not getattr(connection.dialect, "insert_returning", False):
        insert = replace(insert, returning=())
    text, order = _statement_of(insert, connection.dialect)
    head, _, rest = text.partition(" VALUES ")
    one = "(" + ", ".join(["%s"] * len(order)) + ")"
    tail = ROW.sub("", rest, count=1)
    found: list[Values] = []
    for chunk in _chunks(zip(*_columns(rows, order, insert, connection.dialect), strict=True)):
        statement = f"{head} VALUES {', '.join([one] * len(chunk))}{tail}"
        result = connection.exec_driver_sql(statement, tuple(chain.from_iterable(chunk)))
        if insert.returning:
            found += [tuple(row) for row in result]
    return found if insert.returning else None


def _chunks(rows: Iterable[Values]) -> Iterator[list[Values]]:
    """Yield rows in pieces that a statement of MySQL may have."""
    chunk: list[Values] = []
    size = 0
    for row in rows:
        more = sum(len(value) if isinstance(value, str | bytes) else 20 for value in row)
        if chunk and (size + more > MOST_BYTES or len(chunk) == MOST):
            yield chunk
            chunk, size = [], 0
        chunk.append(row)
        size += more
    if chunk:
        yield chunk


def _columns(rows: Rows, names: Sequence[str], insert: _Insert, dialect: Dialect) -> list[list[Any]]:
    """Return the values of rows by column, as drivers take them."""
    found = []
    for name in names:
        values, convert = [row[name] for row in rows], _converter(insert.table.__table__.c[name].type, dialect)
        found.append(values if convert is None else list(map(convert, values)))
    return found


def _converter(column: Any, dialect: Dialect) -> Callable[[Any], Any] | None:
    """Return what makes a value of a column one that drivers take; None where it is one already."""
    if isinstance(column, JSON):
        return _json if column.none_as_null else json.dumps
    if isinstance(column, LargeBinary):
        return None
    convert: Callable[[Any], Any] | None = column.dialect_impl(dialect).bind_processor(dialect)
    return convert


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(value)


@lru_cache(64)
def _statement_of(insert: _Insert, dialect: Dialect) -> tuple[str, tuple[str, ...]]:
    """Return the text of an INSERT of one row, and its columns in the order of the parameters."""
    compiled = _insert_of(insert, dialect.name).compile(dialect=dialect, column_keys=list(insert.columns))
    text = str(compiled)
    return text, tuple(compiled.positiontup or NAMED.findall(text))


@lru_cache(64)
def _insert_of(insert: _Insert, name: str) -> Any:
    if name in ("mysql", "mariadb"):
        return _coping(mysql.insert(insert.table), insert, name)
    return _coping((postgresql if name == "postgresql" else sqlite).insert(insert.table), insert, name)


def _coping(statement: Any, insert: _Insert, name: str) -> Any:
    """Add to an INSERT what is to become of rows that exist, and what it returns."""
    if insert.keys and name in ("mysql", "mariadb"):
        # Setting a key to itself changes nothing, and unlike INSERT IGNORE it hides no other error.
        columns = insert.update or insert.keys[:1]
        statement = statement.on_duplicate_key_update({each: statement.inserted[each] for each in columns})
    elif insert.update:
        changes = {each: statement.excluded[each] for each in insert.update}
        statement = statement.on_conflict_do_update(index_elements=list(insert.keys), set_=changes)
    elif insert.keys:
        statement = statement.on_conflict_do_nothing(index_elements=list(insert.keys))
    if insert.returning:
        statement = statement.returning(*[insert.table.__table__.c[each] for each in insert.returning])
    return statement
