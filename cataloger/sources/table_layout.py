"""The shop's tables, checked before any work: which columns name a product, order the rows and hold the image."""

import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    CHAR,
    NCHAR,
    ColumnElement,
    Connection,
    Float,
    LargeBinary,
    String,
    Text,
    and_,
    cast,
    exists,
    false,
    func,
    literal,
    literal_column,
    or_,
    select,
    true,
    tuple_,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.types import NullType

from cataloger.db import TableInfo, TableName, describe
from cataloger.errors import WrongSourceError
from cataloger.sources.image_references import clean_values
from cataloger.table_options import TableOptions

Column = ColumnElement[Any]

ROWS_PER_FETCH = 5000
_BLANKS = " \t\n\v\f\r"


@dataclass(frozen=True, slots=True)
class TableLayout:
    """What to select. rows: the table with one row per image or product. keys: identify a row and order the pages.

    products: name the product, columns of the same table. own: positions in `keys` that tell the images of one
    product apart. parents: the columns of the product table that `products` refers to. padded_keys,
    padded_products: whether the server fills up each of those columns with blanks. digest: SHA-256 of the bytes in
    hexadecimal, computed by the server; None unless `is_blob`. department: of the product; None without departments.
    """

    name: TableName
    rows: Any
    keys: tuple[Column, ...]
    products: tuple[Column, ...]
    own: tuple[int, ...]
    parents: tuple[Column, ...]
    padded_keys: tuple[bool, ...]
    padded_products: tuple[bool, ...]
    image: Column
    is_blob: bool
    version: Column | None
    digest: Column | None
    conditions: tuple[Column, ...]
    department: Column | None = None

    def after(self, key: tuple[Any, ...] | None) -> list[Column]:
        """Return the conditions that hold for the rows behind a key, in the server's own order."""
        if key is None:
            return list(self.conditions)
        values = _bound(key)
        if len(key) > 1:
            # MySQL finds no range in a comparison of rows; this one it does.
            return [*self.conditions, self.keys[0] >= values[0], tuple_(*self.keys) > tuple_(*values)]
        return [*self.conditions, self.keys[0] > values[0]]

    def at(self, rows: list[tuple[Any, ...]]) -> Column:
        """Return the condition for certain rows."""
        return or_(false(), *(and_(*map(operator.eq, self.keys, _bound(row))) for row in rows))

    def of_parents(self, products: list[tuple[Any, ...]]) -> Column:
        """Return the condition for the rows of certain products in the product table."""
        return or_(false(), *(and_(*map(operator.eq, self.parents, _bound(values))) for values in products))

    def named(self, product: tuple[str, ...], own: tuple[str, ...]) -> Column:
        """Return the condition for the row of a key: what names its product, and what tells its images apart."""
        columns = (*self.products, *(self.keys[position] for position in self.own))
        values = (*product, *own)
        if len(columns) != len(values):
            return false()
        return and_(true(), *map(operator.eq, columns, _bound(values)))


def _bound(values: tuple[Any, ...]) -> list[Column]:
    """Return values for a statement, as the driver gave them.

    With a type of its own, a value would be cast to that, and PostgreSQL compare another way than it sorts (citext)
    or not at all (an enumeration).
    """
    return [_exact(value) if isinstance(value, str) else literal(value, NullType()) for value in values]


def _exact(text: str) -> Column:
    """Return a text for a statement; one of SQLite that is not UTF-8 goes back as the bytes that it is."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return cast(literal(text.encode("utf-8", "surrogateescape"), LargeBinary), String)
    return literal(text, NullType())


def inspect_layout(connection: Connection, options: TableOptions) -> TableLayout:
    """Check tables, columns and keys. Raises WrongSourceError, which names what is missing and its flag."""
    products = describe(connection, TableName.parse(options.table), "--table")
    products.require(options.ids, "--id")
    products.require([options.department_column] if options.department_column else [], "--department-column")
    _check_identity(connection, products, options.ids, "--id")
    if options.image_table is None:
        return _of_products(connection, products, options)
    return _of_images(connection, products, options)


def _of_products(connection: Connection, info: TableInfo, options: TableOptions) -> TableLayout:
    _check_columns(info, options)
    rows = info.clause()
    _check_where(connection, options, rows)
    where = _where(options)
    conditions = (*_not_null(info, rows, options.ids), *([] if where is None else [where]))
    keys = _keys(info, rows, options.ids)
    padded = _padded(connection, info, options.ids)
    parts: dict[str, Any] = {"rows": rows, "keys": keys, "products": keys, "parents": keys, "own": ()}
    parts |= {"padded_keys": padded, "padded_products": padded, "conditions": conditions}
    parts["department"] = rows.c[options.department_column] if options.department_column else None
    return _layout(connection, info, options, **parts)


def _of_images(connection: Connection, products: TableInfo, options: TableOptions) -> TableLayout:
    info = describe(connection, TableName.parse(str(options.image_table)), "--image-table")
    info.require(options.image_fk, "--image-fk")
    info.require(options.image_ids, "--image-id")
    _check_columns(info, options)
    names = options.image_ids or info.primary_key
    if not names:
        raise WrongSourceError(
            f"{info.name} has no primary key: name the columns that identify a row with --image-id"
        )
    _check_identity(connection, info, names, "--image-id")
    rows = info.clause("cataloger_images")
    parent = products.clause()
    pairs = zip(options.ids, options.image_fk, strict=True)
    belongs = and_(*(parent.c[product] == rows.c[image] for product, image in pairs))
    _check_where(connection, options, parent)
    # Inside the subquery the columns that --where names are those of the products.
    where = _where(options)
    shown = exists().where(belongs if where is None else and_(belongs, where)).select_from(parent).correlate(rows)
    conditions = (*_not_null(info, rows, names), shown)
    own = tuple(index for index, name in enumerate(names) if name not in options.image_fk)
    keys = _keys(info, rows, names)
    fk = tuple(rows.c[name] for name in options.image_fk)
    ids = tuple(parent.c[name] for name in options.ids)
    parts: dict[str, Any] = {"rows": rows, "keys": keys, "products": fk, "parents": ids, "own": own}
    parts |= {"padded_keys": _padded(connection, info, names), "conditions": conditions}
    parts |= {"padded_products": _padded(connection, info, options.image_fk)}
    if options.department_column:
        named = select(parent.c[options.department_column]).where(belongs).correlate(rows)
        parts["department"] = named.limit(1).scalar_subquery()
    return _layout(connection, info, options, **parts)


def _keys(info: TableInfo, rows: Any, names: Sequence[str]) -> tuple[Column, ...]:
    """Return the columns that order the rows. MySQL sorts an ENUM by number and compares it as text: text it is."""
    by_number = (mysql.ENUM, mysql.SET)
    return tuple(
        cast(rows.c[name], String) if isinstance(info.columns[name], by_number) else rows.c[name] for name in names
    )


def _not_null(info: TableInfo, rows: Any, names: Sequence[str]) -> list[Column]:
    """Return the conditions that keep out what comes after the check: behind a null there would be no next page."""
    return [rows.c[name].is_not(None) for name in names if name not in info.not_null]


def _layout(connection: Connection, info: TableInfo, options: TableOptions, **parts: Any) -> TableLayout:
    image = parts["rows"].c[options.image]
    is_blob = info.is_binary(options.image) or _holds_bytes(connection, parts["rows"], image)
    if is_blob and options.image_list:
        raise WrongSourceError(f"--image {options.image} holds bytes; --image-list is for text and arrays")
    version = parts["rows"].c[options.version_column] if options.version_column else None
    digest = digest_of(connection.dialect.name, image) if is_blob and version is None else None
    return TableLayout(name=info.name, image=image, is_blob=is_blob, version=version, digest=digest, **parts)


def _padded(connection: Connection, info: TableInfo, names: Sequence[str]) -> tuple[bool, ...]:
    """Tell which columns are CHAR, whose blanks at the end mean nothing to their server. SQLite fills none up."""
    is_filled = connection.dialect.name != "sqlite"
    return tuple(is_filled and isinstance(info.columns[name], CHAR | NCHAR) for name in names)


def _holds_bytes(connection: Connection, rows: Any, image: Column) -> bool:
    """Look at a value: in SQLite any column can hold bytes, and the declared type says nothing of it."""
    if connection.dialect.name != "sqlite":
        return False
    is_there = func.length(image) > 0
    return connection.scalar(select(func.typeof(image)).select_from(rows).where(is_there).limit(1)) == "blob"


def _check_columns(info: TableInfo, options: TableOptions) -> None:
    info.require((options.image,), "--image")
    if options.version_column:
        info.require((options.version_column,), "--version-column")


def _check_identity(connection: Connection, info: TableInfo, names: tuple[str, ...], flag: str) -> None:
    """Raise WrongSourceError unless the columns are unique and not null; look, where the database does not say so."""
    for name in names:
        if isinstance(info.columns[name], Float):
            raise WrongSourceError(f"{flag} {name} is a floating-point number, which cannot identify a row exactly")
    rows = info.clause()
    shown = ", ".join(names)
    nullable = [rows.c[name].is_(None) for name in names if name not in info.not_null]
    if nullable and connection.execute(select(1).where(or_(*nullable)).limit(1)).first():
        advice = "use a view without them, or other columns"
        raise WrongSourceError(f"{flag} {shown} is null in some rows of {info.name}: {advice}")
    if info.is_unique(names):
        return
    columns = [rows.c[name] for name in names]
    twice = select(*columns).group_by(*columns).having(func.count() > 1).limit(1)
    row = connection.execute(twice).first()
    if row is not None:
        values = ", ".join(str(value) for value in row)
        raise WrongSourceError(
            f"{flag} {shown} does not identify a row of {info.name}: {values} occurs more than once"
        )


def _where(options: TableOptions) -> Column | None:
    """Return the operator's own condition. The line breaks keep a comment in it from reaching our SQL."""
    return None if options.where is None else literal_column(f"(\n{options.where}\n)")


def _check_where(connection: Connection, options: TableOptions, rows: Any) -> None:
    """Try the condition without our parentheses, since "a) OR (b" fits in between but would undo the paging."""
    if options.where is not None:
        alone: Column = literal_column(f"\n{options.where}\n")
        connection.execute(select(1).select_from(rows).where(alone).limit(0))


def digest_of(dialect: str, image: Column) -> Column:
    """Return the SHA-256 of bytes in hexadecimal, which the server computes."""
    if dialect == "postgresql":
        return func.encode(func.sha256(image), "hex")
    if dialect in ("mysql", "mariadb"):
        return func.sha2(image, 256)
    return func.cataloger_sha256(image)


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
