"""What all tables have in common: their names for constraints, their options, their ids."""

from typing import Any

from sqlalchemy import Identity, MetaData
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from cataloger.db import identifier

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


def key_column() -> Mapped[int]:
    """Return the column of an id that the database counts up."""
    return mapped_column(identifier(), Identity(), primary_key=True)


class Base(DeclarativeBase):
    """Root of the tables; its metadata is what the migrations are checked against."""

    metadata = MetaData(naming_convention=NAMING)
    __table_args__: Any = {  # noqa: RUF012 (SQLAlchemy reads it so)
        "mysql_engine": "InnoDB",
        "mysql_charset": "utf8mb4",
        "mysql_row_format": "DYNAMIC",
        "mariadb_engine": "InnoDB",
        "mariadb_charset": "utf8mb4",
        "mariadb_row_format": "DYNAMIC",
    }
