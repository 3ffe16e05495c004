"""What PostgreSQL knows of our tables, while a source grows faster than it looks.

Of a source that its statistics do not have it expects one row. Then every way to that row looks as good as the
others, and it may read all rows of the source for each batch, so that a first night takes time by the square of its
images. By itself PostgreSQL looks again when a tenth of the table is new, within a minute or so.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from cataloger.db.database import Database

FIRST = 1_000
"""Rows after which the statistics are renewed."""
FACTOR = 8
"""And again after so many times more: a small part of a large table may not be among the rows that are drawn."""


@dataclass(slots=True)
class Statistics:
    """Renews the statistics of some tables, mapped classes, while one process adds rows to them."""

    tables: Sequence[Any]
    _rows: int = 0
    _next: int = field(default=FIRST)

    def add(self, database: Database, rows: int) -> None:
        """Count rows that have been committed; renew the statistics when it is time. For PostgreSQL alone."""
        self._rows += rows
        if self._rows < self._next or database.engine.dialect.name != "postgresql":
            return
        while self._next <= self._rows:
            self._next *= FACTOR
        names = ", ".join(table.__tablename__ for table in self.tables)
        # Of a table that is not ours it only warns, and one that somebody else is at it leaves to them.
        database.write(lambda connection: connection.exec_driver_sql(f"ANALYZE (SKIP_LOCKED) {names}"))
