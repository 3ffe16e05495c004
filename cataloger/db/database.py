"""An open database whose tables fit this version."""

import itertools
import logging
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Executable, Row

from cataloger.db import schema as schemas
from cataloger.db.session import connect, connected, is_new_sqlite_file, make_engine, redact
from cataloger.errors import DatabaseError, SchemaError, UnavailableError

PATIENCE = 120.0
LONGEST_PAUSE = 5.0

T = TypeVar("T")
logger = logging.getLogger(__name__)


class Database:
    """An open database whose tables have been checked. Usable from any thread.

    patience: seconds in a row that `run` waits for it while it cannot be used; None: PATIENCE.
    """

    def __init__(self, engine: Engine, *, patience: float | None = None) -> None:
        self.engine = engine
        self._patience = patience
        options = {"postgresql_readonly": True} if engine.dialect.name == "postgresql" else {}
        self._reader = engine.execution_options(cataloger_read_only=True, **options)

    @property
    def name(self) -> str:
        """The URL without password, for people."""
        return redact(self.engine.url)

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Give a connection in one short writing transaction."""
        with connect(self.engine) as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a connection in one short transaction that only reads."""
        with connect(self._reader) as connection:
            yield connection

    def run(self, action: Callable[[Connection], T], *, read_only: bool = False) -> T:
        """Run an action in a transaction of its own; do it again while the database cannot be used for the moment.

        Lost connections, deadlocks and locks of others are waited for, but not longer than the patience of this
        object in a row. A commit whose answer was lost may have happened: a writing action must notice that itself.
        """
        deadline: float | None = None
        for pause in _pauses():
            try:
                with self.read() if read_only else self.begin() as connection:
                    return action(connection)
            except UnavailableError as error:
                now = time.monotonic()
                deadline = deadline or now + (PATIENCE if self._patience is None else self._patience)
                if now + pause > deadline:
                    raise
                logger.warning("%s; trying again in %.1f seconds", error, pause)
                time.sleep(pause)
        raise AssertionError("unreachable: there is no last pause")

    def rows(self, query: Executable) -> Sequence[Row[*tuple[Any, ...]]]:
        """Return all rows of a query, read in a transaction of its own as `run` does."""
        return self.run(lambda connection: connection.execute(query).all(), read_only=True)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def open_database(url: str, *, schema: str | None = None) -> Database:
    """Open a database; a SQLite file that does not exist is created with its tables.

    Raises SchemaError when tables are missing, older or newer; DatabaseError when it cannot be used.
    """
    if is_new_sqlite_file(url):
        schemas.upgrade(url, schema=schema)
    engine = make_engine(url, schema=schema)
    revision = schemas.current_of(engine)
    hint = f"--db '{redact(url)}'" + (f" --schema {schema}" if schema else "")
    if revision is None:
        raise SchemaError(f"{redact(url)} has no tables of cataloger: run `cataloger db upgrade {hint}`")
    if revision != schemas.HEAD:
        schemas.refuse_newer(revision, url)
        raise SchemaError(
            f"the tables in {redact(url)} are older than this version: run `cataloger db upgrade {hint}`"
        )
    return Database(engine)


def open_for_planning(url: str, *, schema: str | None = None) -> Database | None:
    """Open a database that is only looked at; None where there are no tables of cataloger yet."""
    if is_new_sqlite_file(url) or schemas.current(url, schema=schema) is None:
        return None
    return open_database(url, schema=schema)


def open_results(url: str, *, schema: str | None = None) -> Database:
    """Open a database that has results; nothing is created. Raises DatabaseError."""
    database = open_for_planning(url, schema=schema)
    if database is None:
        why = ": there is no such file, or it is empty" if is_new_sqlite_file(url) else ""
        raise DatabaseError(f"{redact(url)} has no results of cataloger{why}; name another database, or tag first")
    return database


def open_source(url: str) -> Database:
    """Open the shop's own database to read from: no tables of ours are needed there, and nothing is created.

    Raises DatabaseError at once, without the patience of `Database.run`: a wrong address is no outage. No transaction
    is begun: on SQLite it would wait for a lock of others that a reader gets past, or has the patience for.
    """
    if is_new_sqlite_file(url):
        raise DatabaseError(f"{redact(url)} does not exist or is empty: there is no table to read")
    engine = make_engine(url)
    connected(engine).close()
    return Database(engine)


def _pauses() -> Iterator[float]:
    """Yield growing pauses, in seconds; with chance in them, so that two that met do not meet again."""
    for attempt in itertools.count():
        yield min(LONGEST_PAUSE, 0.1 * 2**attempt) * random.uniform(0.5, 1.0)
