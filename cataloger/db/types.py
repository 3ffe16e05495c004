"""Column types that mean the same on every engine; the migrations use them too, so they do not change. Rows."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, DateTime, Dialect, Integer, Row, String, Text
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.types import TypeDecorator

AnyRow = Row[*tuple[Any, ...]]
"""A row of a query whose columns the type checker does not follow."""


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC time, kept as naive UTC: the four engines agree on nothing else."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        # MySQL would otherwise cut off the fractions of a second.
        return dialect.type_descriptor(mysql.DATETIME(fsp=6) if dialect.name in ("mysql", "mariadb") else DateTime())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        del dialect
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        del dialect
        return None if value is None else value.replace(tzinfo=UTC)


def exact_text() -> Any:
    """Text that is compared byte by byte on every engine; SQLite does so anyway."""
    return (
        Text()
        .with_variant(postgresql.TEXT(collation="C"), "postgresql")
        .with_variant(mysql.LONGTEXT(charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb")
    )


def exact_name() -> Any:
    """A short text that can be part of a key and is compared byte by byte on every engine."""
    return String(255).with_variant(
        mysql.VARCHAR(255, charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb"
    )


def identifier() -> Any:
    """Integer key of a table that may grow beyond two thousand million rows."""
    return BigInteger().with_variant(Integer(), "sqlite")


def digest() -> Any:
    """A SHA-256, hexadecimal."""
    return String(64)


def sanitize_text(text: str) -> str:
    """Return text that every engine takes: no NUL, no half surrogate pairs."""
    return text.replace("\0", "").encode("utf-8", "backslashreplace").decode()
