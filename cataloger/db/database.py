"""An open database whose tables fit this version."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine

from cataloger.db import schema as schemas
from cataloger.db.session import connect, is_new_sqlite_file, make_engine, redact
from cataloger.errors import SchemaError


class Database:
    """An open database whose tables have been checked. Usable from any thread."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._reader = engine.execution_options(cataloger_read_only=True)

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
    if revision != schemas.head():
        schemas.refuse_newer(revision, url)
        raise SchemaError(
            f"the tables in {redact(url)} are older than this version: run `cataloger db upgrade {hint}`"
        )
    return Database(engine)
