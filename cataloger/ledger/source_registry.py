"""The sources that are recorded in the ledger, and their roots."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, select, update

from cataloger.db import AnyRow, Database, upsert_rows, utc_now
from cataloger.errors import TrainingError, UsageError
from cataloger.schema import ItemRow, ModelRow, SourceRow, key_hash
from cataloger.utils import spellings


@dataclass(frozen=True, slots=True)
class SourceRef:
    """A known source. prefix: before the keys of a folder inside a known one. weights_id: the pinned model.

    no_query_run_id: up to this run results of web addresses were recorded without their query; None since a complete
    run has renewed them. calibration_id: its own; None where it goes on with that of the model.
    """

    id: int
    root: str
    prefix: str = ""
    weights_id: str | None = None
    no_query_run_id: int | None = None
    calibration_id: str | None = None


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """A known source. name: in views and reports; its root unless it was renamed. model: that its views show.

    images: in the views. missing: images removed from the views.
    """

    kind: str
    root: str
    name: str
    model: str | None
    images: int
    missing: int

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "kind": self.kind,
            "root": self.root,
            "name": self.name,
            "model": self.model,
            "images": self.images,
            "gone": self.missing,
        }


def find_source(database: Database, *, kind: str, root: str) -> SourceRef | None:
    """Return the known source of a root, or the known folder around it; None when there is neither."""
    with database.read() as connection:
        return _find_source(connection, kind, root)


def register_source(database: Database, *, kind: str, root: str) -> SourceRef:
    """Return the source of a root, created if there is none. A folder in a known one shares its keys."""

    def register(connection: Connection) -> SourceRef:
        found = _find_source(connection, kind, root)
        if found is not None:
            return found
        hashed = key_hash(root)
        row = {"kind": kind, "root": root, "root_hash": hashed, "name": root, "created_at": utc_now(connection)}
        upsert_rows(connection, SourceRow, [row], keys=["root_hash"], update=[])
        identity = connection.scalar(select(SourceRow.id).where(SourceRow.root_hash == hashed))
        assert identity is not None
        return SourceRef(identity, root)

    return database.run(register)


def note_queries_known(connection: Connection, source_id: int) -> None:
    """Note that a complete run has gone through a source: every result of it knows the query of its address now."""
    mine = (SourceRow.id == source_id) & SourceRow.no_query_run_id.is_not(None)
    connection.execute(update(SourceRow).where(mine).values(no_query_run_id=None))


def find_source_id(database: Database, name: str | None) -> int | None:
    """Return the id of a source by its name or root, or by the path of a folder; None for none. Raises UsageError."""
    if name is None:
        return None
    query = select(SourceRow.id, SourceRow.name, SourceRow.root).order_by(SourceRow.id)
    rows = database.rows(query)
    for spelling in (*spellings(name), str(Path(name).resolve())):
        for row in rows:
            if spelling in (row.name, row.root):
                return int(row.id)
    raise UsageError(f"--source {name}: there is no such source; there are: {', '.join(row.name for row in rows)}")


def find_tagged_source(database: Database, name: str | None) -> AnyRow:
    """Return the row of the only tagged source, or of the one that is named. Raises TrainingError, UsageError."""
    wanted = find_source_id(database, name)
    rows = database.rows(select(SourceRow.__table__).order_by(SourceRow.id))
    found = [row for row in rows if row.weights_id is not None and wanted in (None, row.id)]
    if not found:
        raise TrainingError(f"{database.name} has no tagged source; run `cataloger tag` or `cataloger sync` first")
    if len(found) > 1:
        raise UsageError(f"name one source with --source: {', '.join(row.name for row in found)}")
    return found[0]


def list_sources(database: Database) -> list[SourceRecord]:
    """Return the known sources, by their roots."""
    return database.run(_list_sources, read_only=True)


def _find_source(connection: Connection, kind: str, root: str) -> SourceRef | None:
    columns = select(SourceRow.__table__).where(SourceRow.kind == kind)
    row = connection.execute(columns.where(SourceRow.root_hash == key_hash(root))).one_or_none()
    if row is not None:
        return _ref(row)
    if kind not in ("folder", "bucket"):
        return None
    parents = [root[:end] or "/" for end in range(len(root)) if root[end] == "/"]
    around = columns.where(SourceRow.root_hash.in_([key_hash(parent) for parent in parents]))
    rows = sorted(connection.execute(around), key=lambda row: len(row.root))
    if not rows:
        return None
    prefix = root.removeprefix(rows[-1].root).lstrip("/") + "/"
    return _ref(rows[-1], prefix)


def _ref(row: Any, prefix: str = "") -> SourceRef:
    return SourceRef(row.id, row.root, prefix, row.weights_id, row.no_query_run_id, row.calibration_id)


def _list_sources(connection: Connection) -> list[SourceRecord]:
    counted = select(ItemRow.source_id, func.count().label("items"), func.count(ItemRow.gone_run_id).label("missing"))
    counts = {row.source_id: row for row in connection.execute(counted.group_by(ItemRow.source_id))}
    source = (SourceRow.id, SourceRow.kind, SourceRow.root, SourceRow.name.label("source_name"))
    query = select(*source, ModelRow.name, ModelRow.version)
    rows = connection.execute(query.join(ModelRow, isouter=True).order_by(SourceRow.root)).all()
    return [
        SourceRecord(
            row.kind,
            row.root,
            row.source_name,
            None if row.name is None else f"{row.name} {row.version}",
            counts[row.id].items - counts[row.id].missing if row.id in counts else 0,
            counts[row.id].missing if row.id in counts else 0,
        )
        for row in rows
    ]
