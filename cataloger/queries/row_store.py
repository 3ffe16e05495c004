"""The rows of a query on this machine's disk: read from the server in one go, and then from here in order of keys.

A statement of the shop's server is not open while images are tagged, which can take hours: it would keep a snapshot
alive there, tables of MyISAM locked, and end when the server gives up on a client that does not read. The file is
temporary, in TMPDIR; it has no name on the disk, so that no other process can open it, and ends with this process.
"""

import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from cataloger.errors import SourceError

ROWS_PER_READ = 1000

StoredRow = tuple[bytes | None, bytes, bytes, str]
"""The clean key of its product, None where the query gives none; the values that tell the images of a product apart,
or the names of those columns that are null; the key of its product as it is written; and all else. Each is text."""


class RowStore:
    """Rows that are added and then read in order, any number of times; memory does not depend on their number."""

    def __init__(self) -> None:
        with _explained():
            self._file = sqlite3.connect("", isolation_level=None, check_same_thread=False)
            self._file.execute("CREATE TABLE row (product BLOB, own BLOB, written BLOB, body TEXT)")
            self._file.execute("BEGIN")  # never ended: nothing has to survive
        self.size = 0

    def add(self, rows: Iterable[StoredRow]) -> None:
        """Add rows. Raises SourceError when the disk is full."""
        with _explained():
            self.size += self._file.executemany("INSERT INTO row VALUES (?, ?, ?, ?)", rows).rowcount

    def twins(self) -> frozenset[bytes]:
        """Return the products, as they are written, whose clean key another product has, too."""
        query = (
            "SELECT DISTINCT written FROM row WHERE product <> written AND product IN "
            "(SELECT product FROM row GROUP BY product HAVING MIN(written) <> MAX(written))"
        )
        with _explained():
            return frozenset(written for (written,) in self._file.execute(query))

    def rows(self) -> Iterator[StoredRow]:
        """Yield the rows in order of all that they are, so that equal ones follow each other."""
        with _explained():
            cursor = self._file.execute("SELECT * FROM row ORDER BY product, own, written, body")
        while page := self._next(cursor):
            yield from page

    def close(self) -> None:
        """Delete the rows."""
        self._file.close()

    def _next(self, cursor: sqlite3.Cursor) -> list[StoredRow]:
        with _explained():
            return cursor.fetchmany(ROWS_PER_READ)


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise SourceError(
            f"the rows of the query cannot be kept in {tempfile.gettempdir()}: {error}; make room there, or name "
            "another folder with TMPDIR"
        ) from error
