"""A database URL as a value: parsed once at the edge, shown without its password."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Self, final

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from cataloger.errors import DatabaseError, UsageError
from cataloger.references import dereferenced
from cataloger.utils import strip_invisible

BUSY_TIMEOUT = 30.0  # seconds that SQLite waits for the lock of another
SQLITE_PAGE = 4096  # bytes
DRIVERS = {"postgresql": "psycopg", "mysql": "pymysql", "mariadb": "pymysql"}
EXTRAS = {"postgresql": "postgres", "mysql": "mysql", "mariadb": "mysql"}


@final
class DatabaseURL:
    """Where a database is and who connects to it; immutable, and equal to another of the same parts.

    It contains the password: `parsed` is only for the driver; `redacted` is for display and logs. It is no dataclass,
    so that `asdict` of options leaves it as it is.
    """

    __slots__ = ("_parsed",)

    def __init__(self, parsed: URL) -> None:
        self._parsed = parsed

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a SQLAlchemy URL and choose the driver. Raises UsageError if it is invalid or cannot be used.

        text: the URL, or where it is: env:NAME of a variable, file:PATH of a file.
        """
        try:
            parsed = make_url(strip_invisible(dereferenced(strip_invisible(text), "--db", "the URL of a database")))
        except (ArgumentError, ValueError) as error:
            raise UsageError(
                "--db is not a database URL; write e.g. sqlite:///catalog.db or postgresql://user@host/name"
            ) from error
        if parsed.port is not None and not 0 < parsed.port < 65536:
            raise UsageError(f"--db has the port {parsed.port}; a port is a number from 1 to 65535")
        backend = parsed.get_backend_name()
        if backend == "sqlite" and parsed.database in (None, "", ":memory:"):
            raise UsageError("--db needs a file, e.g. sqlite:///catalog.db: a database in memory would be lost")
        if backend != "sqlite" and "@" in f"{parsed.host}{parsed.database}":
            # Part of the password would be taken for the host, and be shown.
            raise UsageError(
                "--db has more than one @; in a user name or password write @ as %40, / as %2F, : as %3A"
            )
        if parsed.drivername == backend and backend in DRIVERS:
            parsed = parsed.set(drivername=f"{backend}+{DRIVERS[backend]}")
        return cls(parsed)

    @property
    def parsed(self) -> URL:
        """What SQLAlchemy connects with, the password included."""
        return self._parsed

    @property
    def backend(self) -> str:
        """The kind of database: sqlite, postgresql, mysql or mariadb; another one that cannot be used."""
        return self._parsed.get_backend_name()

    @property
    def redacted(self) -> str:
        """The URL without its password and query, fit for logs."""
        return self._parsed.set(query={}).render_as_string(hide_password=True)

    @property
    def server(self) -> str:
        """What stays the same when the user, the password or the driver changes: host, port and database."""
        if self.backend == "sqlite":
            return str(self.path.resolve())
        port = f":{self._parsed.port}" if self._parsed.port else ""
        return f"{self._parsed.host or 'localhost'}{port}/{self._parsed.database}"

    @property
    def path(self) -> Path:
        """The file of a SQLite database."""
        return Path(str(self._parsed.database))

    def is_new_sqlite_file(self) -> bool:
        """True for a SQLite file that does not exist or is empty: we create it, and so its tables.

        Checks the file each time. Raises DatabaseError where that is not allowed.
        """
        if self.backend != "sqlite":
            return False
        try:
            size = self.path.stat().st_size if self.path.exists() else 0
        except OSError as error:
            raise DatabaseError(f"{self.path} cannot be accessed: {error.strerror}") from error
        return size == 0 or (size == SQLITE_PAGE and _was_begun(self.path))

    def __repr__(self) -> str:
        return f"DatabaseURL({self.redacted!r})"

    def __str__(self) -> str:
        return self.redacted

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DatabaseURL) and self._parsed == other._parsed

    def __hash__(self) -> int:
        return hash(self._parsed)

    def __deepcopy__(self, _memo: object) -> Self:
        return self


def _was_begun(path: Path) -> bool:
    """True for what we leave when we are killed before the tables are made: a bare header, or less.

    A header that was being written is rolled back by SQLite when we open it; the file is empty then.
    """
    try:
        with closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT)) as connection:
            (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
            (tables,) = connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
    except sqlite3.Error:
        return False  # opening it raises an error that says why it cannot be used
    return bool(tables == 0 and (mode == "wal" or path.stat().st_size == 0))
