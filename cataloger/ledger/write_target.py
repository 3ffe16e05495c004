"""Where a run writes back to: recorded before its first write, so that an undo finds the rows again."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from cataloger.db import Database, TableName, upsert_rows
from cataloger.schema import RunRow, WriteTargetRow


@dataclass(frozen=True, slots=True)
class WriteTarget:
    """The product table that a run writes to, and the columns that identify its rows."""

    table: TableName
    ids: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"table": self.table.name, "schema": self.table.schema, "ids": list(self.ids)}


def record_write_target(database: Database, run_id: int, target: WriteTarget) -> None:
    """Record where a run is going to write to."""
    row = {
        "run_id": run_id,
        "table_name": target.table.name,
        "table_schema": target.table.schema,
        "id_columns": list(target.ids),
    }
    database.write(upsert_rows, WriteTargetRow, [row], keys=["run_id"], update=[])


def write_targets(connection: Connection, run_ids: Collection[int]) -> dict[int, WriteTarget]:
    """Return where runs wrote to, by run; nothing of those that wrote nowhere."""
    # Until revision 0009 it was one of the options of the run.
    older = select(RunRow.id, RunRow.options).where(RunRow.id.in_(run_ids))
    recorded = {row.id: row.options.get("write_target") for row in connection.execute(older)}
    found = {
        run_id: WriteTarget(TableName(target["table"], target["schema"]), tuple(target["ids"]))
        for run_id, target in recorded.items()
        if target is not None
    }
    query = select(WriteTargetRow.__table__).where(WriteTargetRow.run_id.in_(run_ids))
    for row in connection.execute(query):
        found[row.run_id] = WriteTarget(TableName(row.table_name, row.table_schema), tuple(row.id_columns))
    return found
