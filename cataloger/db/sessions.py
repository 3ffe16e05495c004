"""What our connections and transactions ask the server for, on each engine.

PostgreSQL is asked at the beginning of every transaction, for that transaction alone: behind a pooler such as
PgBouncer the next transaction on the same server connection may be another program's. Only what we rely on is asked
for. The time zone is not: our times come from functions that answer in UTC, while columns of the shop that the server
fills when we write back (`DEFAULT now()`, triggers) must hold what they hold when the shop writes.
"""

import hashlib
import sqlite3
from typing import Any

from sqlalchemy import Connection, Engine, event

LOCK_TIMEOUT = 30  # seconds that a statement waits for another's lock

# The driver reads dates in ISO alone, whatever their order; the shop's floats must come back bit for bit; SQLAlchemy
# knows types by their bare names.
POSTGRESQL_SETTINGS = (
    f"lock_timeout = '{LOCK_TIMEOUT}s'",
    "datestyle = 'ISO'",
    "extra_float_digits = 1",
    "quote_all_identifiers = off",
)

# Without a strict mode MySQL cuts off what does not fit; the other two change values as they are read or written.
# The rest of the shop's modes stays, since a condition of --where may be written for them. (An empty text in place of
# the two would itself be null where it is.)
STRICT = "'STRICT_TRANS_TABLES'"
MYSQL_MODE = (
    f"REPLACE(REPLACE(CONCAT_WS(',', @@sql_mode, {STRICT}), 'PAD_CHAR_TO_FULL_LENGTH', {STRICT}), "
    f"'EMPTY_STRING_IS_NULL', {STRICT})"
)
MYSQL_SETTINGS = (
    f"SET SESSION lock_wait_timeout = {LOCK_TIMEOUT}, innodb_lock_wait_timeout = {LOCK_TIMEOUT}, "
    f"sql_mode = {MYSQL_MODE}"
)


def set_up(engine: Engine, *, schema: str | None = None, detects_poolers: bool = False) -> None:
    """Have an engine's connections and transactions ask for what we rely on.

    schema: of PostgreSQL, where tables are looked for. detects_poolers: through a pooler no statement is prepared on
    the server; for the driver psycopg.
    """
    name = engine.dialect.name
    if name == "sqlite":
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_immediate)
    elif name == "postgresql":
        if engine.dialect.driver == "psycopg":
            event.listen(engine, "connect", lambda connection, _: _set_up_psycopg(connection, detects_poolers))
        event.listen(engine, "begin", _PostgresqlBegin(engine, schema))
    else:
        event.listen(engine, "connect", _set_up_mysql)
        event.listen(engine, "begin", _begin_read_only)


def quote_schema(schema: str) -> str:
    """Return a schema's name quoted for SQL. SQLAlchemy would double each %, which is for its own statements."""
    return '"' + schema.replace('"', '""') + '"'


def _is_reader(connection: Connection) -> bool:
    return bool(connection.get_execution_options().get("cataloger_read_only", False))


class _PostgresqlBegin:
    """Begins transactions of PostgreSQL: with psycopg in one message, which costs no more than BEGIN alone."""

    def __init__(self, engine: Engine, schema: str | None) -> None:
        begin = "BEGIN" if engine.dialect.driver == "psycopg" else "SET TRANSACTION"
        path = () if schema is None else (f"search_path = {quote_schema(schema)}",)
        settings = "".join(f"; SET LOCAL {setting}" for setting in (*POSTGRESQL_SETTINGS, *path))
        self._writer = f"{begin} ISOLATION LEVEL READ COMMITTED{settings}"
        self._reader = f"{begin} ISOLATION LEVEL READ COMMITTED, READ ONLY{settings}"

    def __call__(self, connection: Connection) -> None:
        statement = self._reader if _is_reader(connection) else self._writer
        # No parameters: a % in the name of the schema stands for itself.
        connection.exec_driver_sql(statement, execution_options={"no_parameters": True})


def _set_up_psycopg(connection: Any, detects_poolers: bool) -> None:
    connection.autocommit = True  # the driver begins nothing; `_PostgresqlBegin` does
    if detects_poolers and _is_pooled(connection):
        connection.prepare_threshold = None


def _is_pooled(connection: Any) -> bool:
    """True when another than the process that greeted us answers: a pooler shares its connections among clients.

    A statement that was prepared for one transaction may be missing, or another's, in the next.
    """
    (answering,) = connection.execute("SELECT pg_backend_pid()").fetchone()
    return bool(answering != connection.info.backend_pid)


def _set_up_mysql(connection: Any, _record: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(MYSQL_SETTINGS)


def _begin_read_only(connection: Connection) -> None:
    """Have MySQL refuse to write where we only read; the driver begins the transaction with the next statement."""
    if _is_reader(connection):
        connection.exec_driver_sql("SET TRANSACTION READ ONLY")


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
    is_reader = _is_reader(connection)
    connection.exec_driver_sql(f"PRAGMA query_only = {'ON' if is_reader else 'OFF'}")
    connection.exec_driver_sql("BEGIN" if is_reader else "BEGIN IMMEDIATE")
