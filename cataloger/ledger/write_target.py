"""Where a run writes back to: recorded before its first write, so that an undo finds the rows again."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, select

from cataloger.db import Database, TableName, upsert_rows
from cataloger.schema import OtherTargetRow, RunRow, WriteTargetRow, key_hash

WHOLE_ROW = "*"
"""Stands for a column where a row was added to another table: whether it is there, and what else is in it."""


@dataclass(frozen=True, slots=True)
class WriteTarget:
    """The product table that a run writes to, and the columns that identify its rows."""

    table: TableName
    ids: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"table": self.table.name, "schema": self.table.schema, "ids": list(self.ids)}


@dataclass(frozen=True, slots=True)
class OtherTarget:
    """Rows of a table besides the product table. kind: `rows`, one a product; or `links`, one a category of it; or
    `file`, a file that the shop imports.

    keys: columns that name the product. constants: columns and their values, as text, that all of the rows have.
    category: of links, the column that names the category. values: what rows that are added have in other columns.
    """

    kind: Literal["rows", "links", "file"]
    table: TableName
    keys: tuple[str, ...]
    constants: tuple[tuple[str, str], ...] = ()
    category: str | None = None
    values: tuple[tuple[str, str], ...] = ()

    @property
    def identity(self) -> dict[str, Any]:
        """What tells it from others, besides kind and table."""
        constants = [list(pair) for pair in sorted(self.constants)]
        return {"keys": list(self.keys), "constants": constants, "category": self.category}

    @property
    def digest(self) -> str:
        """Its identity among the targets of a source."""
        return key_hash(json.dumps([self.kind, self.table.schema, self.table.name, self.identity]))

    def label(self, column: str) -> str:
        """Return how what is written to a column is called in counts; of links, `column` is a category."""
        same = ", ".join(f"{name}={value}" for name, value in self.constants)
        return f"{self.table}.{self.category or column}" + (f" ({same})" if same else "")


def record_other_targets(database: Database, source_id: int, targets: Sequence[OtherTarget]) -> None:
    """Record the other tables that a source is going to write to."""
    rows = [
        {
            "source_id": source_id,
            "target_hash": target.digest,
            "kind": target.kind,
            "table_name": target.table.name,
            "table_schema": target.table.schema,
            "definition": {**target.identity, "values": [list(pair) for pair in target.values]},
        }
        for target in targets
    ]
    if rows:
        database.write(upsert_rows, OtherTargetRow, rows, keys=["source_id", "target_hash"], update=["definition"])


def find_other_target(connection: Connection, source_id: int, target: OtherTarget) -> int | None:
    """Return the number of another table of a source; None if it has not been recorded."""
    mine = (OtherTargetRow.source_id == source_id) & (OtherTargetRow.target_hash == target.digest)
    return connection.scalar(select(OtherTargetRow.id).where(mine))


def other_targets(connection: Connection, ids: Collection[int]) -> dict[int, OtherTarget]:
    """Return other tables by their numbers."""
    query = select(OtherTargetRow.__table__).where(OtherTargetRow.id.in_(ids))
    return {
        row.id: OtherTarget(
            row.kind,
            TableName(row.table_name, row.table_schema),
            tuple(row.definition["keys"]),
            tuple((name, value) for name, value in row.definition["constants"]),
            row.definition["category"],
            tuple((name, value) for name, value in row.definition["values"]),
        )
        for row in connection.execute(query)
    }


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
