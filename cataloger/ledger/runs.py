"""Runs: a row for every command that changes the ledger, and how it ended."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from sqlalchemy import Connection, insert, select, update

import cataloger
from cataloger.db import Database, sanitize_text, utc_now
from cataloger.errors import CatalogerError
from cataloger.schema import RunRow
from cataloger.utils import failpoints, process_identity

Outcome = Literal["done", "failed", "interrupted", "abandoned"]


class RecordedReport(Protocol):
    """What a command has done so far."""

    @property
    def interrupted(self) -> bool:
        """True when the command has stopped on request."""
        ...

    def counts(self) -> dict[str, Any]:
        """Return what is recorded in the run's row, as plain JSON values."""
        ...


@dataclass(slots=True)
class Run:
    """An open run; `close` ends it. report: its counts are recorded at the end, if it is set."""

    database: Database
    id: int
    report: RecordedReport | None = None

    def close(self, outcome: Outcome, counts: dict[str, Any]) -> None:
        """Record how the run ended and what it counted."""

        def end(connection: Connection) -> None:
            values = {"outcome": outcome, "counts": counts, "ended_at": utc_now(connection)}
            connection.execute(update(RunRow).where(RunRow.id == self.id).values(values))

        self.database.run(end)


@contextmanager
def recorded_run(
    database: Database, command: str, options: dict[str, Any], *, device: str = "", undoes: int | None = None
) -> Iterator[Run]:
    """Give the run of a command, and close it whatever happens. undoes: the run that it undoes.

    The command sets `report` as soon as it has one. The run is recorded as interrupted when the report says so, or
    after Ctrl-C; as failed after any other error, which is raised again; else as done.
    """
    run = open_run(database, command=command, options=options, device=device, undoes=undoes)
    try:
        yield run
        failpoints.reach("before_close")
    except BaseException as error:
        # What goes wrong here, too, must not hide the first error; the next run then closes this one as abandoned.
        with suppress(Exception):
            # Only our own errors are certain to contain no secret.
            why = {"error": str(error)} if isinstance(error, CatalogerError) else {}
            run.close("interrupted" if isinstance(error, KeyboardInterrupt) else "failed", _counts(run) | why)
        raise
    run.close("interrupted" if run.report and run.report.interrupted else "done", _counts(run))


def _counts(run: Run) -> dict[str, Any]:
    return run.report.counts() if run.report else {}


def open_run(
    database: Database, *, command: str, options: dict[str, Any], device: str, undoes: int | None = None
) -> Run:
    """Begin a run; runs of dead processes of this machine are closed as abandoned. undoes: the run that it undoes.

    When the answer to the commit is lost, a row stays behind that a later run closes as abandoned.
    """

    def begin(connection: Connection) -> Run:
        _close_dead(connection)
        values = {
            "command": command,
            "options": _sanitized(options),
            "device": device,
            "owner": process_identity.this_process(),
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
    dead = [row.id for row in unfinished if process_identity.is_dead(row.owner)]
    if dead:
        abandoned = update(RunRow).where(RunRow.id.in_(dead))
        connection.execute(abandoned.values(outcome="abandoned", ended_at=utc_now(connection)))


def _sanitized(value: Any) -> Any:
    """Return an option with names of files that are not UTF-8 made valid text."""
    if isinstance(value, str):
        return sanitize_text(value)
    if isinstance(value, dict):
        return {name: _sanitized(each) for name, each in value.items()}
    return [_sanitized(each) for each in value] if isinstance(value, list | tuple) else value
