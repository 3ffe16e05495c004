"""A copy of a table without transactions, in whose place it is tried out what the table accepts."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import Connection, Dialect, insert, select, table
from sqlalchemy import column as named
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import quoted_name

from cataloger.db import DatabaseURL, TableName, driver_message
from cataloger.errors import UsageError
from cataloger.writeback.product_table import ProductTable

COPY = "cataloger_trial"


@contextmanager
def shadow(connection: Connection, products: ProductTable) -> Iterator[None]:
    """Have this session see a copy with one row in place of a table of MySQL. Raises UsageError.

    A temporary table hides one of the same name from its session, and from no other.
    """
    name = products.info.name
    own, copy = (quoted_in(connection.dialect, each) for each in (name, TableName(COPY, name.schema)))
    try:
        _create(connection, copy, own)
    except DBAPIError as error:
        why = driver_message(error, DatabaseURL(connection.engine.url))
        raise UsageError(
            f"{name} has no transactions, so that its rules are tried out on a temporary copy, which cannot be made: "
            f"{why}; grant CREATE TEMPORARY TABLES on its database"
        ) from error
    made = [copy]
    try:
        _fill(connection, products)
        # A copy of the copy, as giving it this name would need the privilege CREATE.
        _create(connection, own, copy)
        made.append(own)
        connection.exec_driver_sql(f"ALTER TABLE {own} ENGINE=InnoDB")
        _copy_row(connection, products, name)
        yield
    finally:
        _drop(connection, made)


def _create(connection: Connection, copy: str, original: str) -> None:
    connection.exec_driver_sql(f"CREATE TEMPORARY TABLE {copy} LIKE {original}")


def _fill(connection: Connection, products: ProductTable) -> None:
    info = products.info
    names = _names(products)
    copy = table(COPY, *(named(name) for name in names), schema=info.name.schema)
    row = select(*(products.rows.c[name] for name in names)).where(*products.conditions()).limit(1)
    connection.execute(insert(copy).from_select([str(name) for name in names], row))


def _copy_row(connection: Connection, products: ProductTable, name: TableName) -> None:
    """Give the row of the copy to the one that hides the table."""
    names = _names(products)
    copy = table(COPY, *(named(each) for each in names), schema=name.schema)
    hiding = table(quoted_name(name.name, True), *(named(each) for each in names), schema=name.schema)
    connection.execute(insert(hiding).from_select([str(each) for each in names], select(*copy.c)))


def _names(products: ProductTable) -> list[quoted_name]:
    info = products.info
    return [quoted_name(name, True) for name in info.columns if name not in info.computed]


def _drop(connection: Connection, made: Sequence[str]) -> None:
    """Take the copies away, or the connection, so that nothing is ever written to it by mistake."""
    try:
        connection.exec_driver_sql(f"DROP TEMPORARY TABLE {', '.join(made)}")
    except BaseException:
        connection.invalidate()
        raise


def quoted_in(dialect: Dialect, name: TableName) -> str:
    """Return a name as a statement without parameters has it: there, drivers leave '%' as it is."""
    text = ".".join(dialect.identifier_preparer.quote_identifier(part) for part in (name.schema, name.name) if part)
    return text if dialect.paramstyle == "qmark" else text.replace("%%", "%")
