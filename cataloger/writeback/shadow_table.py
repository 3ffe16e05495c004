"""A copy of a table without transactions, in whose place it is tried out what the table accepts."""

from collections.abc import Iterator
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
        connection.exec_driver_sql(f"CREATE TEMPORARY TABLE {copy} LIKE {own}")
    except DBAPIError as error:
        why = driver_message(error, DatabaseURL(connection.engine.url))
        raise UsageError(
            f"{name} has no transactions, so that its rules are tried out on a temporary copy, which cannot be made: "
            f"{why}; grant CREATE TEMPORARY TABLES on its database"
        ) from error
    try:
        connection.exec_driver_sql(f"ALTER TABLE {copy} ENGINE=InnoDB")
        _fill(connection, products)
        connection.exec_driver_sql(f"ALTER TABLE {copy} RENAME TO {own}")
        copy = own
        yield
    finally:
        _drop(connection, copy)


def _fill(connection: Connection, products: ProductTable) -> None:
    info = products.info
    names = [quoted_name(name, True) for name in info.columns if name not in info.computed]
    copy = table(COPY, *(named(name) for name in names), schema=info.name.schema)
    row = select(*(products.rows.c[name] for name in names)).where(*products.conditions()).limit(1)
    connection.execute(insert(copy).from_select([str(name) for name in names], row))


def _drop(connection: Connection, quoted: str) -> None:
    """Take the copy away, or the connection, so that nothing is ever written to it by mistake."""
    try:
        connection.exec_driver_sql(f"DROP TEMPORARY TABLE {quoted}")
    except BaseException:
        connection.invalidate()
        raise


def quoted_in(dialect: Dialect, name: TableName) -> str:
    """Return a name as a statement without parameters has it: there, drivers leave '%' as it is."""
    text = ".".join(dialect.identifier_preparer.quote_identifier(part) for part in (name.schema, name.name) if part)
    return text if dialect.paramstyle == "qmark" else text.replace("%%", "%")
