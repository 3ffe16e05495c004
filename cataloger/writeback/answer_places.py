"""Where in the shop the answer of a product stands: which table, row and column, since when, by which run."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from cataloger.db import AnyRow, Database
from cataloger.ledger import WHOLE_ROW, OtherTarget, other_targets, write_targets
from cataloger.schema import ItemRow, SourceRow, WriteRow, key_hash
from cataloger.writeback.column_values import ABSENT, restore


@dataclass(frozen=True, slots=True)
class WrittenAnswer:
    """A cell of the shop that holds an answer, or did until it was restored.

    row: the columns that name the row, with their values as text. column: of a list of tags, or of links between
    products and categories, the one that names them. value: as it was written; None where a row or a tag was taken
    away. state: `confirmed` or `intended`. is_restored: an undo has restored the shop's own value.
    """

    source: str
    product_key: str
    table: str
    row: dict[str, str]
    column: str
    value: Any
    written_at: datetime
    run_id: int
    state: str
    is_restored: bool

    @property
    def place(self) -> str:
        """Table, row and column for people."""
        row = ", ".join(f"{name}={value}" for name, value in self.row.items())
        return f"{self.table}.{self.column} where {row}"

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "source": self.source,
            "product_key": self.product_key,
            "table": self.table,
            "row": self.row,
            "column": self.column,
            "value": self.value,
            "written_at": self.written_at.isoformat(),
            "run_id": self.run_id,
            "state": self.state,
            "restored": self.is_restored,
        }


def products_of_images(database: Database, paths: Iterable[str]) -> dict[str, list[str]]:
    """Return the products of images by the text of their path or address, as the ledger knows them."""
    found: dict[str, list[str]] = {}
    for path in paths:
        known = select(ItemRow.product_key).where((ItemRow.uri == path) | (ItemRow.key_hash == key_hash(path)))
        found[path] = sorted({key for key in database.scalars(known.distinct()) if key is not None})
    return found


def written_answers(database: Database, product: str) -> list[WrittenAnswer]:
    """Return what was written last into each cell of a product, by source and place."""
    return database.fetch(_of_product, product)


def _of_product(connection: Connection, product: str) -> list[WrittenAnswer]:
    query = (
        select(WriteRow.__table__, SourceRow.name.label("source"))
        .join(SourceRow, SourceRow.id == WriteRow.source_id)
        .where(WriteRow.product_hash == key_hash(product), WriteRow.column_name != WHOLE_ROW)
        .order_by(WriteRow.id)
    )
    last = {(row.source, row.target_id, row.column_name): row for row in connection.execute(query)}
    rows = sorted(last.values(), key=lambda row: (row.source, row.target_id or 0, row.column_name))
    others = other_targets(connection, {row.target_id for row in rows if row.target_id is not None})
    tables = write_targets(connection, {row.run_id for row in rows if row.target_id is None})
    return [_written(row, others.get(row.target_id), tables.get(row.run_id)) for row in rows]


def _written(row: AnyRow, other: OtherTarget | None, own: Any) -> WrittenAnswer:
    value = restore(row.new_value)
    column = row.column_name
    if other is not None and other.category is not None:
        value, column = (None if value in (ABSENT, None) else column), other.category
    target = other or own
    keys = other.keys if other is not None else own.ids if own is not None else ()
    return WrittenAnswer(
        source=row.source,
        product_key=row.product_key,
        table="" if target is None else str(target.table),
        row=_row(row.product_key, keys) | dict(other.constants if other is not None else ()),
        column=column,
        value=None if value is ABSENT else _plain(value),
        written_at=row.written_at,
        run_id=row.run_id,
        state=row.state,
        is_restored=bool(row.restores),
    )


def _row(product: str, keys: Sequence[str]) -> dict[str, str]:
    parts = [product] if len(keys) == 1 else json.loads(product) if keys else []
    return dict(zip(keys, parts, strict=False))


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: what has no number there, as text."""
    return value if value is None or isinstance(value, str | bool | int | float) else str(value)
