"""The revision of cataloger's tables: the current one, the one that is needed, and the migration between.

Alembic is only loaded for a migration: it would take a sixth of the start of every run.
"""

import io
import sqlite3
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, column, func, inspect, select, table
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.schema import CreateSchema

from cataloger.db import (
    BUSY_TIMEOUT,
    Database,
    DatabaseURL,
    connect,
    connected,
    make_engine,
    quote_schema,
    translate_driver_error,
)
from cataloger.errors import DatabaseError, SchemaError, UsageError
from cataloger.schema.encoding import limits_of
from cataloger.schema.table_locks import lock_tables

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

HEAD = "0018"
"""The revision that this version needs, the last one of `cataloger.migrations`."""
VERSION_TABLE = "cataloger_alembic_version"
UPGRADE_LOCK = 0x636174616C6F67  # "catalog"
LOCK_SECONDS = 60
ALEMBIC = threading.Lock()
"""Alembic keeps what it works on in module globals: in one process one thread at a time."""


def revisions() -> set[str]:
    """Return every revision of this version."""
    return {script.revision for script in _scripts().walk_revisions()}


def current(url: DatabaseURL, *, schema: str | None = None) -> str | None:
    """Return the revision of a database, None where there are no tables of cataloger."""
    if url.is_new_sqlite_file():
        return None
    engine = make_engine(url, schema=schema)
    try:
        return current_of(engine)
    finally:
        engine.dispose()


def upgrade(url: DatabaseURL, *, schema: str | None = None) -> None:
    """Bring the tables to this version; other tables are not touched."""
    is_new = url.is_new_sqlite_file()
    engine = make_engine(url, schema=schema)
    try:
        upgrade_with(engine, schema=schema, is_new=is_new)
    finally:
        engine.dispose()


def encoding_limits(url: DatabaseURL, *, schema: str | None = None) -> str | None:
    """Return what a database cannot hold of what is recorded, as one sentence; None if it can hold all text."""
    engine = make_engine(url, schema=schema)
    try:
        return limits_of(engine)
    finally:
        engine.dispose()


def upgrade_with(engine: Engine, *, schema: str | None = None, is_new: bool = False) -> None:
    """Bring the tables of an engine's database to this version. is_new: it is a SQLite file that we create.

    While the database cannot be used at the moment, as after a deadlock or in a restart, it is tried again.
    """
    url = DatabaseURL(engine.url)
    if is_new:
        _check_folder(url)
        _use_wal(engine)
    connected(engine).close()  # where no server answers from the beginning, that is told at once
    Database(engine).write(_upgrade, schema)


def _upgrade(connection: Connection, schema: str | None) -> None:
    from alembic import command

    _wait_for_others(connection)
    revision = _revision_in(connection)
    if revision is not None:
        refuse_newer(revision, DatabaseURL(connection.engine.url))
    # IF NOT EXISTS would ask for the right to create schemas even where this one exists.
    if schema and not inspect(connection).has_schema(schema):
        connection.execute(CreateSchema(schema))
    if revision is not None and revision != HEAD:
        lock_tables(connection)
    config = _config()
    config.attributes["connection"] = connection
    with ALEMBIC:
        command.upgrade(config, "head")


def downgrade(url: DatabaseURL, revision: str, *, schema: str | None = None) -> None:
    """Take the tables back to an older revision, or to none with "base"; what only newer ones store is lost."""
    if revision not in {*revisions(), "base"}:
        raise UsageError(f"there is no revision {revision}; there are base, {', '.join(sorted(revisions()))}")
    without_tables = SchemaError(f"{url.redacted} has no tables of cataloger; is --db the right database?")
    if url.is_new_sqlite_file():
        raise without_tables
    engine = make_engine(url, schema=schema)
    try:
        if current_of(engine) is None:
            raise without_tables
        Database(engine).write(_downgrade, revision)
    finally:
        engine.dispose()


def _downgrade(connection: Connection, revision: str) -> None:
    from alembic import command

    url = DatabaseURL(connection.engine.url)
    _wait_for_others(connection)
    found = _revision_in(connection)
    if found is None or found == revision:
        return  # where it is tried again, the answer to our own commit may have been lost
    refuse_newer(found, url)
    if revision != "base" and revision > found:
        raise SchemaError(f"{url.redacted} is at revision {found}, which is older than {revision}")
    lock_tables(connection)
    config = _config()
    config.attributes["connection"] = connection
    with ALEMBIC:
        command.downgrade(config, revision)
    if revision == "base":
        connection.exec_driver_sql(f"DROP TABLE {VERSION_TABLE}")


def upgrade_sql(url: DatabaseURL, *, schema: str | None = None) -> str:
    """Return the statements of `upgrade` from nothing, for somebody else to run."""
    from alembic import command

    engine = make_engine(url, schema=schema)
    buffer = io.StringIO()
    config = _config()
    if schema:
        quoted = quote_schema(schema)
        buffer.write(f"CREATE SCHEMA IF NOT EXISTS {quoted};\n\n")
        config.attributes["first"] = (
            f"SET LOCAL search_path TO {quoted};"  # for the transaction that the others are in
        )
    config.output_buffer = buffer
    config.attributes["url"] = engine.url
    with ALEMBIC:
        command.upgrade(config, "head", sql=True)
    return buffer.getvalue()


def current_of(engine: Engine) -> str | None:
    """Return the revision of an engine's database, None where there are no tables of cataloger."""
    with connect(engine.execution_options(cataloger_read_only=True)) as connection:
        return _revision_in(connection)


def refuse_newer(revision: str, url: DatabaseURL) -> None:
    """Raise SchemaError for a revision that this version does not have."""
    if revision not in revisions():
        raise SchemaError(
            f"{url.redacted} was made by a newer version of cataloger (revision {revision}): upgrade cataloger"
        )


def _revision_in(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    revision: str | None = connection.scalar(select(column("version_num")).select_from(table(VERSION_TABLE)))
    return revision


def _wait_for_others(connection: Connection) -> None:
    """Let one process upgrade at a time; IF NOT EXISTS fails where two create the same. SQLite has its write lock."""
    name = connection.dialect.name
    if name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(UPGRADE_LOCK)))
    elif name != "sqlite":
        # Names of locks are the whole server's. This one ends with the connection, as upgrades do.
        lock = func.get_lock(func.concat("cataloger ", func.md5(func.database())), LOCK_SECONDS)
        if connection.scalar(select(lock)) != 1:
            raise DatabaseError(
                f"{DatabaseURL(connection.engine.url).redacted} is being upgraded by another process; "
                "wait until that has finished"
            )


def _scripts() -> "ScriptDirectory":
    from alembic.script import ScriptDirectory

    return ScriptDirectory.from_config(_config())


def _config() -> "Config":
    from alembic.config import Config

    config = Config(stdout=io.StringIO())
    config.set_main_option("script_location", "cataloger.migrations:")
    config.set_main_option("path_separator", "os")
    return config


def _use_wal(engine: Engine) -> None:
    """Readers must not block the writer. Done before the first transaction; it stays with the file."""
    deadline = time.monotonic() + BUSY_TIMEOUT
    while True:
        try:
            with closing(engine.raw_connection()) as raw:
                raw.cursor().execute("PRAGMA journal_mode = WAL")
            return
        except (SQLAlchemyError, sqlite3.Error) as error:
            # SQLite does not wait for other processes here, not even for one that creates the same file.
            if "database is locked" not in str(error) or time.monotonic() > deadline:
                raise translate_driver_error(error, DatabaseURL(engine.url)) from error
        time.sleep(0.02)


def _check_folder(url: DatabaseURL) -> None:
    folder = url.path.absolute().parent
    if not folder.is_dir():
        raise DatabaseError(f"{url.redacted} cannot be created: the folder {folder} does not exist; make it first")
