"""An open database: short transactions, reads, and retries while it cannot be used."""

import itertools
import logging
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Concatenate, ParamSpec, TypeVar, overload

from sqlalchemy import Connection, Engine, Executable
from sqlalchemy.sql.selectable import TypedReturnsRows

from cataloger.db.connections import connect
from cataloger.db.types import AnyRow
from cataloger.db.urls import DatabaseURL
from cataloger.errors import UnavailableError

PATIENCE = 120.0
LONGEST_PAUSE = 5.0

P = ParamSpec("P")
T = TypeVar("T")
logger = logging.getLogger(__name__)


class Database:
    """An open database. Usable from any thread.

    patience: seconds that `run` keeps retrying while it cannot be used; None: PATIENCE.
    """

    def __init__(self, engine: Engine, *, patience: float | None = None) -> None:
        self.engine = engine
        self._patience = patience
        self._reader = engine.execution_options(cataloger_read_only=True)

    @property
    def url(self) -> DatabaseURL:
        """Where it is."""
        return DatabaseURL(self.engine.url)

    @property
    def name(self) -> str:
        """The URL without password, for people."""
        return self.url.redacted

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

    def run(self, action: Callable[[Connection], T], *, read_only: bool = False) -> T:
        """Run an action in a transaction of its own; retry it while the database cannot be used at the moment.

        Lost connections, deadlocks and locks of others are transient: the action is retried for at most the patience
        of this object. A commit whose answer was lost may have happened: a writing action must notice that itself.
        """
        deadline: float | None = None
        for pause in _pauses():
            try:
                with self.read() if read_only else self.begin() as connection:
                    return action(connection)
            except UnavailableError as error:
                now = time.monotonic()
                deadline = deadline or now + (PATIENCE if self._patience is None else self._patience)
                if now + pause > deadline:
                    raise
                logger.warning("%s; trying again in %.1f seconds", error, pause)
                time.sleep(pause)
        raise AssertionError("unreachable: there is no last pause")

    def write(self, action: Callable[Concatenate[Connection, P], T], *arguments: P.args, **options: P.kwargs) -> T:
        """Call `action(connection, ...)` in a writing transaction of its own, as `run` does."""
        return self.run(lambda connection: action(connection, *arguments, **options))

    def fetch(self, action: Callable[Concatenate[Connection, P], T], *arguments: P.args, **options: P.kwargs) -> T:
        """Call `action(connection, ...)` in a transaction of its own that only reads, as `run` does."""
        return self.run(lambda connection: action(connection, *arguments, **options), read_only=True)

    def rows(self, query: Executable) -> Sequence[AnyRow]:
        """Return all rows of a query, read in a transaction of its own as `run` does."""
        return self.fetch(lambda connection: connection.execute(query).all())

    @overload
    def scalars(self, query: TypedReturnsRows[tuple[T]]) -> list[T]: ...
    @overload
    def scalars(self, query: Executable) -> list[Any]: ...
    def scalars(self, query: Executable) -> list[Any]:
        """Return the first column of all rows of a query."""
        return self.fetch(lambda connection: list(connection.scalars(query)))

    @overload
    def scalar(self, query: TypedReturnsRows[tuple[T]]) -> T | None: ...
    @overload
    def scalar(self, query: Executable) -> Any: ...
    def scalar(self, query: Executable) -> Any:
        """Return the first column of the first row of a query; None if it has no rows."""
        return self.fetch(lambda connection: connection.scalar(query))

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def _pauses() -> Iterator[float]:
    """Yield growing pauses, in seconds; random in part, so that two processes do not retry at the same time again."""
    for attempt in itertools.count():
        yield min(LONGEST_PAUSE, 0.1 * 2**attempt) * random.uniform(0.5, 1.0)
