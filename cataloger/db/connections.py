"""Connections: one short transaction at a time, errors that say what to do, no password anywhere."""

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import NoSuchModuleError, OperationalError, SQLAlchemyError

from cataloger.db.driver_errors import translate_driver_error
from cataloger.db.urls import BUSY_TIMEOUT, DRIVERS, EXTRAS, DatabaseURL
from cataloger.errors import MissingExtraError, UsageError

LOCK_TIMEOUT = 30  # seconds that a statement waits for another's lock


def make_engine(url: DatabaseURL, *, schema: str | None = None) -> Engine:
    """Make an engine. Raises UsageError for an unknown kind of database, MissingExtraError for its driver."""
    parsed, backend = url.parsed, url.backend
    if schema and backend != "postgresql":
        raise UsageError("--schema is for PostgreSQL; elsewhere name the database in --db")
    try:
        engine = create_engine(parsed, **_engine_options(backend))
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
    if backend == "sqlite":
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_immediate)
    elif backend == "postgresql":
        event.listen(engine, "connect", lambda connection, _: _set_up_postgresql(connection, schema))
    else:
        event.listen(engine, "begin", _begin_read_only)
    return engine


@contextmanager
def connect(engine: Engine) -> Iterator[Connection]:
    """Give a connection in a transaction that is committed at the end; driver errors become DatabaseError."""
    try:
        with connected(engine) as connection, connection.begin():
            yield connection
    except (SQLAlchemyError, UnicodeEncodeError) as error:
        raise translate_driver_error(error, DatabaseURL(engine.url)) from error


def connected(engine: Engine) -> Connection:
    """Return a connection that has begun nothing. Raises DatabaseError."""
    try:
        return engine.connect()
    except OperationalError as error:
        raise translate_driver_error(error, DatabaseURL(engine.url), connecting=True) from error
    except (OSError, UnicodeError, RuntimeError) as error:
        # pymysql lets these pass: a host name that cannot be one, a login that needs another package.
        raise translate_driver_error(error, DatabaseURL(engine.url)) from error


def _engine_options(backend: str) -> dict[str, Any]:
    # A connection that the server closed overnight is noticed and replaced instead of failing the run.
    options: dict[str, Any] = {"pool_pre_ping": backend != "sqlite"}
    if backend == "sqlite":
        options["connect_args"] = {"timeout": BUSY_TIMEOUT, "check_same_thread": False}
    elif backend == "postgresql":
        # A server that disappears without closing the connection is noticed after a minute.
        options["connect_args"] = {"connect_timeout": 10, "tcp_user_timeout": 60_000}
    else:
        locks = f"SET SESSION lock_wait_timeout = {LOCK_TIMEOUT}, innodb_lock_wait_timeout = {LOCK_TIMEOUT}"
        options["connect_args"] = {"connect_timeout": 10, "charset": "utf8mb4", "init_command": locks}
        options["isolation_level"] = "READ COMMITTED"
    return options


def _set_up_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    # The driver's own transactions would begin late and deferred; `_begin_immediate` takes their place.
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys = ON")
    # SQLite keeps text as it was written: one cell in another encoding must not end a run, and be shown in its error.
    connection.text_factory = _decode
    connection.create_function("cataloger_sha256", 1, _sha256, deterministic=True)


def _decode(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")


def _sha256(value: bytes | str | None) -> str | None:
    """What PostgreSQL and MySQL have built in, so that an unchanged image never leaves the database."""
    if value is None:
        return None
    return hashlib.sha256(value if isinstance(value, bytes) else str(value).encode()).hexdigest()


def _begin_immediate(connection: Connection) -> None:
    """Take the write lock first: a transaction that reads and then writes could otherwise fail half-way."""
    is_reader = connection.get_execution_options().get("cataloger_read_only", False)
    connection.exec_driver_sql(f"PRAGMA query_only = {'ON' if is_reader else 'OFF'}")
    connection.exec_driver_sql("BEGIN" if is_reader else "BEGIN IMMEDIATE")


def _begin_read_only(connection: Connection) -> None:
    """Have MySQL refuse to write where we only read; the driver begins the transaction with the next statement."""
    if connection.get_execution_options().get("cataloger_read_only", False):
        connection.exec_driver_sql("SET TRANSACTION READ ONLY")


def _set_up_postgresql(connection: Any, schema: str | None) -> None:
    connection.autocommit = True
    connection.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}s'")
    if schema:
        connection.execute(f"SET search_path TO {quote_schema(schema)}")
    connection.autocommit = False


def quote_schema(schema: str) -> str:
    """Return a schema's name quoted for SQL. SQLAlchemy would double each %, which is for its own statements."""
    return '"' + schema.replace('"', '""') + '"'
