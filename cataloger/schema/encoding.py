"""What the encodings of a database cannot hold of the text that cataloger records."""

from sqlalchemy import Engine, text

from cataloger.db import connect

CONCERNED = """
    SELECT table_name, column_name, character_set_name FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name LIKE 'cataloger\\_%' AND character_set_name IS NOT NULL
        AND character_set_name NOT IN ('utf8mb4', 'ascii') AND data_type IN ('varchar', 'text', 'longtext')
        AND table_name IN (SELECT table_name FROM information_schema.tables
            WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE')
    ORDER BY table_name, ordinal_position
"""
# They hold hashes, codes and other text of our own, which is ASCII.
OWN_TEXT = (
    "hash", "_id", "kind", "command", "device", "owner", "version", "version_num", "outcome", "precision", "status",
    "error_code", "decision", "verdict",
)  # fmt: skip


def limits_of(engine: Engine) -> str | None:
    """Return what a database cannot hold, as one sentence; None if it can hold all text."""
    kind = engine.dialect.name
    if kind == "sqlite":
        return None
    with connect(engine.execution_options(cataloger_read_only=True)) as connection:
        if kind == "postgresql":
            encoding = str(connection.scalar(text("SHOW server_encoding")))
            return None if encoding in ("UTF8", "SQL_ASCII") else _postgresql(encoding)
        rows = [row for row in connection.execute(text(CONCERNED)) if not row[1].endswith(OWN_TEXT)]
    return _mysql([(f"{row[0]}.{row[1]}", str(row[2])) for row in rows]) if rows else None


def _postgresql(encoding: str) -> str:
    return (
        f"the encoding of this database is {encoding}: an image whose name, address or category has a character "
        "that it does not have becomes a failure (record.refused). CREATE DATABASE ... ENCODING 'UTF8' makes one for "
        "all of them; name it with --db or --ledger-db"
    )


def _mysql(columns: list[tuple[str, str]]) -> str:
    encodings = ", ".join(sorted({encoding for _, encoding in columns}))
    shown = ", ".join(name for name, _ in columns[:3]) + (f" and {len(columns) - 3} more" if columns[3:] else "")
    return (
        f"the encoding of {shown} is {encodings}: an image whose category or address has a character that it does "
        "not have becomes a failure (record.refused). A database made with CHARACTER SET utf8mb4 holds all of them"
    )
