"""Opening a database: its tables are of this version, or an error says why it cannot be used."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine

from cataloger.db import Database, DatabaseURL, accept_odd_values, connected, make_engine
from cataloger.errors import DatabaseError, SchemaError
from cataloger.schema import revisions


def open_database(url: DatabaseURL, *, schema: str | None = None) -> Database:
    """Open a database; a SQLite file that does not exist is created with its tables.

    Raises SchemaError when tables are missing, older or newer; DatabaseError when it cannot be used.
    """
    is_new = url.is_new_sqlite_file()
    with _engine(url, schema) as engine:
        if is_new:
            revisions.upgrade_with(engine, is_new=True)
        revision = revisions.current_of(engine)
        if revision is None:
            raise SchemaError(without_tables(url, schema))
        _require_head(revision, url, schema)
    return Database(engine)


def open_for_planning(url: DatabaseURL, *, schema: str | None = None) -> Database | None:
    """Open a database that is only read; None where there are no tables of cataloger yet.

    Raises SchemaError when the tables are older or newer; DatabaseError when it cannot be used.
    """
    if url.is_new_sqlite_file():
        return None
    with _engine(url, schema) as engine:
        revision = revisions.current_of(engine)
        if revision is None:
            engine.dispose()
            return None
        _require_head(revision, url, schema)
    return Database(engine)


def open_results(url: DatabaseURL, *, schema: str | None = None) -> Database:
    """Open a database that has results; nothing is created. Raises DatabaseError."""
    database = open_for_planning(url, schema=schema)
    if database is None:
        why = ": there is no such file, or it is empty" if url.is_new_sqlite_file() else ""
        raise DatabaseError(f"{url.redacted} has no results of cataloger{why}; name another database, or tag first")
    return database


def open_source(url: DatabaseURL) -> Database:
    """Open the shop's own database to read from: no tables of ours are needed there, and nothing is created.

    Raises DatabaseError at once, without the retries of `Database.run`: a wrong address is no outage. No transaction
    is begun: on SQLite it would wait for a lock of others that a reader does not need, or waits for in `run`.
    """
    if url.is_new_sqlite_file():
        raise DatabaseError(f"{url.redacted} does not exist or is empty: there is no table to read")
    with _engine(url) as engine:
        accept_odd_values(engine)
        connected(engine).close()
    return Database(engine)


@contextmanager
def _engine(url: DatabaseURL, schema: str | None = None) -> Iterator[Engine]:
    """Give a new engine, which stays open unless something fails."""
    engine = make_engine(url, schema=schema)
    try:
        yield engine
    except BaseException:
        engine.dispose()
        raise


def _require_head(revision: str, url: DatabaseURL, schema: str | None) -> None:
    if revision != revisions.HEAD:
        revisions.refuse_newer(revision, url)
        hint = _upgrade_command(url, schema)
        raise SchemaError(f"the tables in {url.redacted} are older than this version: run {hint}")


def without_tables(url: DatabaseURL, schema: str | None) -> str:
    """Say that a database has no tables of cataloger yet, and what makes them."""
    return f"{url.redacted} has no tables of cataloger: run {_upgrade_command(url, schema)}"


def _upgrade_command(url: DatabaseURL, schema: str | None) -> str:
    return f"`cataloger db upgrade --db '{url.redacted}'" + (f" --schema {schema}`" if schema else "`")
