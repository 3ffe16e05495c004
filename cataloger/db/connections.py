"""Connections: one short transaction at a time, errors that say what to do, no password anywhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, RootTransaction, create_engine
from sqlalchemy.exc import DBAPIError, NoSuchModuleError, OperationalError, SQLAlchemyError

from cataloger.db.driver_errors import translate_driver_error
from cataloger.db.sessions import set_up
from cataloger.db.url_options import driver_arguments
from cataloger.db.urls import BUSY_TIMEOUT, DRIVERS, EXTRAS, DatabaseURL
from cataloger.errors import MissingExtraError, UsageError


def make_engine(url: DatabaseURL, *, schema: str | None = None) -> Engine:
    """Make an engine. Raises UsageError for an unknown kind of database or option, MissingExtraError for a driver."""
    parsed, backend = url.parsed, url.backend
    if schema and backend != "postgresql":
        raise UsageError("--schema is for PostgreSQL; elsewhere name the database in --db")
    try:
        arguments = driver_arguments(url)
        engine = create_engine(parsed, **_engine_options(backend, arguments))
    except NoSuchModuleError as error:
        known = "sqlite, postgresql, mysql, mariadb"
        raise UsageError(
            f"--db names the unknown kind of database {parsed.drivername!r}; known are {known}"
        ) from error
    except ImportError as error:  # psycopg raises it too, where it is installed but not the C library that it needs
        driver = parsed.get_driver_name()
        if driver == DRIVERS.get(backend):
            raise MissingExtraError(EXTRAS[backend], f"a {backend} database") from error
        raise UsageError(f"--db needs the driver {driver!r}, which is not installed") from error
    set_up(engine, schema=schema, detects_poolers="prepare_threshold" not in arguments)
    return engine


@contextmanager
def connect(engine: Engine) -> Iterator[Connection]:
    """Give a connection in a transaction that is committed at the end; driver errors become DatabaseError."""
    try:
        transaction = _begin(engine)
        with transaction.connection as connection, transaction:
            yield connection
    except (SQLAlchemyError, UnicodeEncodeError, OverflowError) as error:
        raise translate_driver_error(error, DatabaseURL(engine.url)) from error


def _begin(engine: Engine) -> RootTransaction:
    """Begin a transaction, on a new connection where the server has closed the one of the pool meanwhile."""
    connection = connected(engine)
    try:
        return connection.begin()
    except DBAPIError as error:
        connection.close()
        if not error.connection_invalidated:
            raise
    connection = connected(engine)
    try:
        return connection.begin()
    except DBAPIError:
        connection.close()
        raise


def connected(engine: Engine) -> Connection:
    """Return a connection that has begun nothing. Raises DatabaseError."""
    try:
        return engine.connect()
    except OperationalError as error:
        raise translate_driver_error(error, DatabaseURL(engine.url), connecting=True) from error
    except (SQLAlchemyError, OSError, ValueError, TypeError, RuntimeError) as error:
        # Drivers let these pass: a host name that cannot be one, a login that needs another package, an odd option.
        raise translate_driver_error(error, DatabaseURL(engine.url)) from error


def _engine_options(backend: str, arguments: dict[str, Any]) -> dict[str, Any]:
    if backend == "sqlite":
        return {"connect_args": {"timeout": BUSY_TIMEOUT, "check_same_thread": False, **arguments}}
    own = {"connect_timeout": 10, **arguments}
    if backend == "postgresql":
        # A server that disappears without closing the connection is noticed after a minute. The encoding is asked for
        # with the connection, which poolers allow, since the driver chooses by it how it reads text.
        return {"connect_args": {"tcp_user_timeout": 60_000, **own, "client_encoding": "utf8"}}
    # A connection that the server closed overnight is noticed and replaced instead of failing the run. Elsewhere the
    # BEGIN does that.
    options: dict[str, Any] = {"pool_pre_ping": True, "isolation_level": "READ COMMITTED"}
    return options | {"connect_args": {**own, "charset": "utf8mb4"}}
