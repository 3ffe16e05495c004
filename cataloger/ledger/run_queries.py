"""Queries for runs: what was done when, to which sources, with which model, and how it ended."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, func, select

from cataloger.db import Database
from cataloger.errors import UsageError
from cataloger.ledger.effective_results import is_trial
from cataloger.ledger.write_target import WHOLE_ROW, WriteTarget, other_targets, write_targets
from cataloger.schema import ModelRow, RunRow, RunSourceRow, SourceRow, WriteRow

TAGGING = ("tag", "sync")
"""The commands whose runs find answers for images."""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run. outcome: None while it runs. sources: root and model of each. written: cells, by column."""

    id: int
    command: str
    started_at: datetime
    ended_at: datetime | None
    outcome: str | None
    options: dict[str, Any]
    counts: dict[str, Any]
    device: str
    version: str
    undoes: int | None
    undone_by: int | None
    pruned: bool
    sources: tuple[tuple[str, str], ...]
    written: dict[str, int]

    @property
    def seconds(self) -> float | None:
        """How long it took; None while it runs."""
        return None if self.ended_at is None else (self.ended_at - self.started_at).total_seconds()

    @property
    def state(self) -> str:
        """How it ended, and whether it was undone or pruned, formatted."""
        parts = [self.outcome or "running"]
        if self.undoes is not None:
            parts.append(f"undid {self.undoes}")
        if self.undone_by is not None:
            parts.append(f"undone by {self.undone_by}")
        if self.pruned:
            parts.append("pruned")
        return ", ".join(parts)

    def as_json(self) -> dict[str, Any]:
        """Return the record as plain JSON values."""
        return {
            "id": self.id,
            "command": self.command,
            "started_at": self.started_at.isoformat(),
            "ended_at": self.ended_at.isoformat() if self.ended_at else None,
            "seconds": self.seconds,
            "outcome": self.outcome,
            "undoes": self.undoes,
            "undone_by": self.undone_by,
            "pruned": self.pruned,
            "sources": [{"root": root, "model": model} for root, model in self.sources],
            "written": self.written,
            "counts": self.counts,
            "options": self.options,
            "device": self.device,
            "version": self.version,
        }


def list_runs(database: Database, limit: int | None = None) -> list[RunRecord]:
    """Return the latest runs, newest first."""
    return database.fetch(_records, select(RunRow.__table__).order_by(RunRow.id.desc()).limit(limit))


def find_run(database: Database, run_id: int) -> RunRecord:
    """Return one run. Raises UsageError if there is none of that number."""
    found = database.fetch(_records, select(RunRow.__table__).where(RunRow.id == run_id))
    if not found:
        raise UsageError(f"there is no run {run_id}; `cataloger runs list` shows them")
    return found[0]


def last_table(connection: Connection, source_id: int) -> dict[str, Any] | None:
    """Return how the newest run over a source described the shop's table; None if it is no table."""
    query = (
        select(RunRow.options)
        .join(RunSourceRow, RunSourceRow.run_id == RunRow.id)
        .where(RunSourceRow.source_id == source_id)
        .order_by(RunRow.id.desc())
    )
    # Of the commands that pin a model, only `sync` records the table.
    return next((options["table"] for options in connection.scalars(query) if options.get("table")), None)


def follows_links(connection: Connection, source_id: int) -> bool:
    """Tell whether the newest run that read a source was to follow links that lead out of its folder."""
    query = (
        select(RunRow.options)
        .join(RunSourceRow, RunSourceRow.run_id == RunRow.id)
        .where(RunSourceRow.source_id == source_id)
        .order_by(RunRow.id.desc())
    )
    runs = (options.get("run") for options in connection.scalars(query))
    newest: dict[str, Any] = next((run for run in runs if isinstance(run, dict)), {})
    return bool(newest.get("follow_links", False))


def last_options(database: Database, source_id: int) -> dict[str, Any] | None:
    """Return the options of the newest run over a source that was done and no trial; None if there is none."""
    query = (
        select(RunRow.options)
        .join(RunSourceRow, RunSourceRow.run_id == RunRow.id)
        .where(RunSourceRow.source_id == source_id, RunRow.outcome == "done", RunRow.command.in_(TAGGING))
        .order_by(RunRow.id.desc())
    )
    found = (row.options for row in database.rows(query))
    return next((options for options in found if not is_trial(options)), None)


def _records(connection: Connection, query: Select[Any]) -> list[RunRecord]:
    rows = connection.execute(query).all()
    ids = [row.id for row in rows]
    sources, written, targets = _sources(connection, ids), _written(connection, ids), write_targets(connection, ids)
    return [
        RunRecord(
            id=row.id,
            command=row.command,
            started_at=row.started_at,
            ended_at=row.ended_at,
            outcome=row.outcome,
            options=_options(row, targets.get(row.id)),
            counts=row.counts or {},
            device=row.device,
            version=row.version,
            undoes=row.undoes_id,
            undone_by=row.undone_by_id,
            pruned=bool(row.pruned),
            sources=tuple(sources.get(row.id, ())),
            written=written.get(row.id, {}),
        )
        for row in rows
    ]


def _options(row: Any, target: WriteTarget | None) -> dict[str, Any]:
    """Return the options of a run, and with them where it wrote to."""
    return {**row.options, **({} if target is None else {"write_target": target.as_json()})}


def _sources(connection: Connection, ids: Sequence[int]) -> dict[int, list[tuple[str, str]]]:
    query = (
        select(RunSourceRow.run_id, SourceRow.root, ModelRow.name, ModelRow.version)
        .join(SourceRow, SourceRow.id == RunSourceRow.source_id)
        .join(ModelRow, ModelRow.weights_id == RunSourceRow.weights_id)
        .where(RunSourceRow.run_id.in_(ids))
        .order_by(RunSourceRow.run_id, SourceRow.root)
    )
    found: dict[int, list[tuple[str, str]]] = {}
    for row in connection.execute(query):
        found.setdefault(row.run_id, []).append((row.root, f"{row.name} {row.version}"))
    return found


def _written(connection: Connection, ids: Sequence[int]) -> dict[int, dict[str, int]]:
    columns = (WriteRow.run_id, WriteRow.target_id, WriteRow.column_name)
    query = (
        select(*columns, func.count().label("cells"))
        .where(WriteRow.run_id.in_(ids), WriteRow.column_name != WHOLE_ROW)
        .group_by(*columns)
        .order_by(WriteRow.run_id, WriteRow.column_name)
    )
    rows = connection.execute(query).all()
    others = other_targets(connection, {row.target_id for row in rows if row.target_id is not None})
    found: dict[int, dict[str, int]] = {}
    for row in rows:
        name = others[row.target_id].label(row.column_name) if row.target_id in others else row.column_name
        counts = found.setdefault(row.run_id, {})
        counts[name] = counts.get(name, 0) + row.cells
    return found
