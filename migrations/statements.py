"""Statements that can be repeated: MySQL keeps what was done before a migration was killed."""

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from alembic import context, op
from alembic.ddl.mysql import MySQLImpl

VERSION_TABLE = "cataloger_alembic_version"
# Whatever the server's defaults are: in other formats of rows neither indexes nor rows of ours have room.
OPTIONS = {"engine": "InnoDB", "charset": "utf8mb4", "row_format": "DYNAMIC"}
# SQLAlchemy takes the options by the name in the URL: mysql://, or mariadb://.
TABLE_OPTIONS = {f"{kind}_{key}": value for kind in ("mysql", "mariadb") for key, value in OPTIONS.items()}
OTHER_TABLES = """
SELECT table_name FROM information_schema.tables
WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE' AND table_name LIKE 'cataloger|_%' ESCAPE '|'
AND (engine <> 'InnoDB' OR row_format IN ('Compact', 'Redundant')) ORDER BY table_name
"""


class OwnMySQL(MySQLImpl):
    """MySQL to alembic, except that the table of our revision gets our options; other programs' tables do not."""

    __dialect__ = "mysql"

    def version_table_impl(self, **options: Any) -> sa.Table:
        """Return the table of the revision."""
        found = super().version_table_impl(**options)
        if found.name == VERSION_TABLE:
            found.dialect_kwargs.update(TABLE_OPTIONS)
        return found


class OwnMariaDB(OwnMySQL):
    """The same for MariaDB."""

    __dialect__ = "mariadb"


def mend_tables(connection: sa.Connection) -> None:
    """Give tables of MySQL our engine and format of rows: an upgrade may have begun before we named them."""
    if connection.dialect.name in ("mysql", "mariadb"):
        for name in connection.scalars(sa.text(OTHER_TABLES)).all():
            connection.execute(sa.text(f"ALTER TABLE {name} ENGINE = InnoDB, ROW_FORMAT = DYNAMIC"))


def create_table(name: str, *parts: Any) -> None:
    """Create a table unless it is there."""
    op.create_table(name, *parts, if_not_exists=True, **TABLE_OPTIONS)


def create_index(table: str, columns: list[str]) -> None:
    """Create an index unless it is there."""
    name = f"ix_{table}_{'_'.join(columns)}"
    # MySQL has no CREATE INDEX IF NOT EXISTS.
    if context.is_offline_mode() or not has_index(table, name):
        op.create_index(name, table, columns)


def index_foreign_key(table: str, columns: list[str]) -> None:
    """Create an index that begins with a foreign key; MySQL's own one goes, also where a downgrade has left it."""
    create_index(table, columns)
    name = f"fk_{table}_{columns[0]}"
    if is_mysql() and not context.is_offline_mode() and has_index(table, name):
        op.drop_index(name, table)


def unindex_foreign_key(table: str, columns: list[str]) -> None:
    """Drop such an index. MySQL wants one for each foreign key: its own went when this one came."""
    name = f"fk_{table}_{columns[0]}"
    if is_mysql() and not has_index(table, name):
        op.create_index(name, table, [columns[0]])
    drop_index(table, columns)


def has_table(name: str) -> bool:
    """True when a table is there."""
    return sa.inspect(op.get_bind()).has_table(name)


def has_index(table: str, name: str) -> bool:
    """True when a table has an index of this name."""
    return sa.inspect(op.get_bind()).has_index(table, name)


def is_mysql() -> bool:
    """True on MySQL and MariaDB."""
    return op.get_context().dialect.name in ("mysql", "mariadb")


def add_column(table: str, column: Any) -> None:
    """Add a column unless it is there."""
    if context.is_offline_mode() or not _has_column(table, column.name):
        op.add_column(table, column)


def drop_column(table: str, name: str) -> None:
    """Drop a column if it is there."""
    if _has_column(table, name):
        op.drop_column(table, name)


def drop_index(table: str, columns: list[str]) -> None:
    """Drop an index if it is there."""
    name = f"ix_{table}_{'_'.join(columns)}"
    if has_index(table, name):
        op.drop_index(name, table)


def _has_column(table: str, name: str) -> bool:
    return any(column["name"] == name for column in sa.inspect(op.get_bind()).get_columns(table))


def create_view(name: str, select: str) -> None:
    """Create a view, or make it anew; what a shop has granted on it stays.

    select: {model}, {key}, {rank} and {text} (a type) stand for what engines write differently.
    """
    dialect = op.get_context().dialect
    quote = dialect.identifier_preparer.quote
    model = "CONCAT(m.name, ' ', m.version)" if is_mysql() else "m.name || ' ' || m.version"
    text = "CHAR" if is_mysql() else "VARCHAR"
    if dialect.name == "sqlite":
        drop_views([name])
    verb = "CREATE VIEW" if dialect.name == "sqlite" else "CREATE OR REPLACE VIEW"
    op.execute(f"{verb} {name} AS {select.format(model=model, key=quote('key'), rank=quote('rank'), text=text)}")


def drop_views(names: Iterable[str]) -> None:
    """Drop the views that are there."""
    for name in names:
        op.execute(f"DROP VIEW IF EXISTS {name}")


def drop_tables(names: Iterable[str]) -> None:
    """Drop the tables that are there, and what is in them."""
    for name in names:
        op.drop_table(name, if_exists=True)
