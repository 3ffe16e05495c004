"""The time of the database server: the one clock that all machines of a shop share."""

from datetime import UTC, datetime

from sqlalchemy import Connection, func, select, type_coerce

from cataloger.db.types import UtcDateTime


def utc_now(connection: Connection) -> datetime:
    """Return the current UTC time; of the server, or of this machine for a SQLite file."""
    name = connection.dialect.name
    if name == "sqlite":
        return datetime.now(UTC)
    now = func.utc_timestamp(6) if name in ("mysql", "mariadb") else func.timezone("utc", func.clock_timestamp())
    value: datetime | None = connection.scalar(select(type_coerce(now, UtcDateTime)))
    assert value is not None
    return value
