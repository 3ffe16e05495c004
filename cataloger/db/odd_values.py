"""Values of other people's tables that a database holds and Python has no type for."""

from typing import Any

from sqlalchemy import Engine, event

TIMES = ("date", "time", "timetz", "timestamp", "timestamptz", "interval")


def accept_odd_values(engine: Engine) -> None:
    """Read them as text instead of failing for the whole statement: infinity, years before 1 or behind 9999."""
    if engine.dialect.name == "postgresql":
        event.listen(engine, "connect", _register)


def _register(connection: Any, _record: object) -> None:
    if not hasattr(connection, "adapters"):  # another driver than psycopg
        return
    from psycopg.pq import Format

    for name in TIMES:
        strict = connection.adapters.get_loader(connection.adapters.types[name].oid, Format.TEXT)
        connection.adapters.register_loader(name, _tolerant(strict))


def _tolerant(strict: Any) -> Any:
    """Return a loader of psycopg that gives the text where another one raises."""
    from psycopg import DataError
    from psycopg.adapt import Loader

    class Tolerant(Loader):
        def __init__(self, oid: int, context: Any = None) -> None:
            super().__init__(oid, context)
            self._strict = strict(oid, context)

        def load(self, data: Any) -> Any:
            try:
                return self._strict.load(data)
            except (DataError, OverflowError):
                return bytes(data).decode()

    return Tolerant
