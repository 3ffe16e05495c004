"""Connections: one short transaction at a time, errors that say what to do, no password anywhere."""

import hashlib
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError, SQLAlchemyError

from cataloger.errors import DatabaseError, MissingExtraError, UnavailableError, UsageError

BUSY_TIMEOUT = 30.0
SQLITE_PAGE = 4096  # bytes
DRIVERS = {"postgresql": "psycopg", "mysql": "pymysql", "mariadb": "pymysql"}
EXTRAS = {"postgresql": "postgres", "mysql": "mysql", "mariadb": "mysql"}

LOCK_TIMEOUT = 30  # seconds that a statement waits for another's lock
# Errors that pass: SQLSTATEs of PostgreSQL, by their beginning (connection, rollback, shutdown, locks, too many),
# error numbers of MySQL and MariaDB, and names of SQLite's, by their beginning.
PASSING_STATES = ("08", "40", "57P", "55P03", "53300")
PASSING_NUMBERS = frozenset({1040, 1053, 1205, 1213, 1927, 2002, 2003, 2006, 2013, 2014, 2055})
PASSING_NAMES = ("SQLITE_BUSY", "SQLITE_LOCKED")

WRONG_PASSWORD = ("password authentication failed", "access denied for user")
NOT_THERE = ("connection refused", "could not translate host", "can't connect", "name or service not known")
ADVICE = {
    "database is locked": "another program holds it; wait for that or stop it, then run again",
    "readonly database": "the file or its folder may not be written by this user",
    "file is not a database": "it is not a SQLite file; name another one with --db",
    "malformed": "the SQLite file is damaged; restore it from a backup",
    "unable to open database file": "the file or folder does not exist, or this user may not read or write there",
    "disk i/o error": "the disk is full or failing",
    "disk is full": "make room, then run again",
    "permission denied": "grant the privilege, then run again",
    "command denied": "grant the privilege, then run again",
    "'cryptography' package is required": "install it: pip install cryptography",
}


def parse_url(url: str) -> URL:
    """Read a database URL and choose the driver. Raises UsageError for what is none or cannot be used."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise UsageError(
            "--db is not a database URL; write e.g. sqlite:///catalog.db or postgresql://user@host/name"
        ) from error
    backend = parsed.get_backend_name()
    if backend == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise UsageError("--db needs a file, e.g. sqlite:///catalog.db: a database in memory would be lost")
    if backend != "sqlite" and "@" in f"{parsed.host}{parsed.database}":
        # Part of the password would pass for the host, and be shown.
        raise UsageError("--db has more than one @; in a user name or password write @ as %40, / as %2F, : as %3A")
    if parsed.drivername == backend and backend in DRIVERS:
        parsed = parsed.set(drivername=f"{backend}+{DRIVERS[backend]}")
    return parsed


def redact(url: str | URL) -> str:
    """Return a database URL without its password and query, fit for logs."""
    parsed = parse_url(url) if isinstance(url, str) else url
    return parsed.set(query={}).render_as_string(hide_password=True)


def server_of(url: URL) -> str:
    """Return what stays the same when the user, the password or the driver changes: host, port and database."""
    if url.get_backend_name() == "sqlite":
        return str(Path(str(url.database)).resolve())
    port = f":{url.port}" if url.port else ""
    return f"{url.host or 'localhost'}{port}/{url.database}"


def make_engine(url: str | URL, *, schema: str | None = None) -> Engine:
    """Make an engine. Raises UsageError for an unknown kind of database, MissingExtraError for its driver."""
    parsed = parse_url(url) if isinstance(url, str) else url
    backend = parsed.get_backend_name()
    if schema and backend != "postgresql":
        raise UsageError("--schema is for PostgreSQL; elsewhere name the database in --db")
    try:
        engine = create_engine(parsed, **_engine_options(backend))
    except NoSuchModuleError as error:
        known = "sqlite, postgresql, mysql, mariadb"
        raise UsageError(
            f"--db names the unknown kind of database {parsed.drivername!r}; known are {known}"
        ) from error
    except ImportError as error:  # psycopg raises it too, where it is there but not the C library that it needs
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
        raise explain(error, engine.url) from error


def connected(engine: Engine) -> Connection:
    """Return a connection that has begun nothing. Raises DatabaseError."""
    try:
        return engine.connect()
    except OperationalError as error:
        raise explain(error, engine.url, connecting=True) from error
    except (OSError, UnicodeError, RuntimeError) as error:
        # pymysql lets these pass: a host name that cannot be one, a login that needs another package.
        raise explain(error, engine.url) from error


def is_new_sqlite_file(url: str | URL) -> bool:
    """True for a SQLite file that does not exist or is empty: we create it, so its tables are ours to make."""
    parsed = parse_url(url) if isinstance(url, str) else url
    if parsed.get_backend_name() != "sqlite":
        return False
    path = Path(str(parsed.database))
    try:
        size = path.stat().st_size if path.exists() else 0
    except OSError as error:
        raise DatabaseError(f"{path} cannot be looked at: {error.strerror}") from error
    return size == 0 or (size == SQLITE_PAGE and _was_begun(path))


def _was_begun(path: Path) -> bool:
    """True for what we leave when we are killed before the tables are made: a bare header, or less.

    A header that was being written is taken back by SQLite when we look; the file is empty then.
    """
    try:
        with closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT)) as connection:
            (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
            (tables,) = connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
    except sqlite3.Error:
        return False  # whoever opens it is told why it cannot be used
    return bool(tables == 0 and (mode == "wal" or path.stat().st_size == 0))


def _engine_options(backend: str) -> dict[str, Any]:
    # A connection that the server closed overnight is noticed and replaced instead of failing the run.
    options: dict[str, Any] = {"pool_pre_ping": backend != "sqlite"}
    if backend == "sqlite":
        options["connect_args"] = {"timeout": BUSY_TIMEOUT, "check_same_thread": False}
    elif backend == "postgresql":
        # A server that is gone without a word is noticed after a minute.
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
    """Return a schema's name as it stands in SQL. SQLAlchemy would double each %, which is for its own statements."""
    return '"' + schema.replace('"', '""') + '"'


def explain(error: Exception, url: URL, *, connecting: bool = False) -> DatabaseError:
    """Turn a driver's error into one line that says what to do. Parameters and passwords are left out.

    It becomes an UnavailableError if the same transaction may succeed a little later. connecting: it was not begun.
    """
    text = words_of(error, url)
    lowered = text.lower()
    where = redact(url)
    if any(phrase in lowered for phrase in WRONG_PASSWORD):
        return DatabaseError(f"{where}: the user name or password is wrong, or the user may not connect")
    if any(phrase in lowered for phrase in NOT_THERE):
        return UnavailableError(f"{where}: no database server answers there; check host and port, and that it runs")
    advice = next((advice for phrase, advice in ADVICE.items() if phrase in lowered), None)
    kind = UnavailableError if passes(error) or (connecting and _has_no_state(error)) else DatabaseError
    return kind(f"{where}: {text}" + (f": {advice}" if advice else ""))


def words_of(error: Exception, url: URL) -> str:
    """Return what a driver said, in one line without passwords."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return _clean(str(cause.args[-1] if isinstance(error, DBAPIError) and cause.args else cause), url)


def passes(error: Exception) -> bool:
    """True for a lost connection, a lock that another holds, a deadlock or a failed serialization."""
    if not isinstance(error, DBAPIError):
        return False
    state = getattr(error.orig, "sqlstate", None)
    number = error.orig.args[0] if error.orig is not None and error.orig.args else None
    name = getattr(error.orig, "sqlite_errorname", "")
    is_known = str(state or "").startswith(PASSING_STATES) or name.startswith(PASSING_NAMES)
    return error.connection_invalidated or is_known or number in PASSING_NUMBERS


def _has_no_state(error: Exception) -> bool:
    """True for what psycopg says when a server starts, stops or hangs up: there is only text, in any language."""
    return isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", "") is None


def _clean(text: str, url: URL) -> str:
    """Return one line without the password, which drivers also take from the query of the URL."""
    queried = [value for name, value in url.query.items() if "pass" in name.lower()]
    for secret in (url.password, *queried):
        for form in (str(secret), quote(str(secret), safe="")) if secret else ():
            text = text.replace(form, "***")
    return re.sub(r"\s+", " ", text).strip()[:300]
