"""Runs: a row for every command that changes the ledger, and how it ended."""

from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, insert, select, update

import cataloger
from cataloger import owner
from cataloger.db.clock import utc_now
from cataloger.db.database import Database
from cataloger.db.models import Run as RunRow
from cataloger.db.types import storable

Outcome = Literal["done", "failed", "interrupted", "abandoned"]


@dataclass(frozen=True, slots=True)
class Run:
    """An open run; `close` ends it."""

    database: Database
    id: int

    def close(self, outcome: Outcome, counts: dict[str, Any]) -> None:
        """Record how the run ended and what it counted."""

        def end(connection: Connection) -> None:
            values = {"outcome": outcome, "counts": counts, "ended_at": utc_now(connection)}
            connection.execute(update(RunRow).where(RunRow.id == self.id).values(values))

        self.database.run(end)


def open_run(
    database: Database, *, command: str, options: dict[str, Any], device: str, undoes: int | None = None
) -> Run:
    """Begin a run; runs of dead processes of this machine are closed as abandoned. undoes: the run it takes back.

    When the answer to the commit is lost, a row stays behind that a later run closes as abandoned.
    """

    def begin(connection: Connection) -> Run:
        _close_dead(connection)
        values = {
            "command": command,
            "options": _storable(options),
            "device": device,
            "owner": owner.this_process(),
            "version": cataloger.__version__,
            "started_at": utc_now(connection),
            "undoes_id": undoes,
        }
        result = connection.execute(insert(RunRow).values(values))
        assert result.inserted_primary_key is not None
        return Run(database, result.inserted_primary_key[0])

    return database.run(begin)


def close_abandoned(database: Database) -> None:
    """Close the runs of dead processes of this machine as abandoned."""
    database.run(_close_dead)


def _close_dead(connection: Connection) -> None:
    unfinished = connection.execute(select(RunRow.id, RunRow.owner).where(RunRow.outcome.is_(None)))
    dead = [row.id for row in unfinished if owner.is_dead(row.owner)]
    if dead:
        abandoned = update(RunRow).where(RunRow.id.in_(dead))
        connection.execute(abandoned.values(outcome="abandoned", ended_at=utc_now(connection)))


def _storable(value: Any) -> Any:
    """Return an option with names of files that are not UTF-8 made writable."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, dict):
        return {name: _storable(each) for name, each in value.items()}
    return [_storable(each) for each in value] if isinstance(value, list | tuple) else value
