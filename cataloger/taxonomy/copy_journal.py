"""What copies of an export were given, so that later ones tell our own categories and tags from those of people.

A copy may be imported or not. Until the next export shows what of it arrived, its cells are `intended`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from cataloger.db import AnyRow, Database, TableName, utc_now
from cataloger.ledger import Lease, OtherTarget, find_other_target, record_other_targets
from cataloger.schema import CONFIRMED, INTENDED, WriteRow
from cataloger.utils import clean_label

COLUMNS = OtherTarget("file", TableName("shopify"), ("Handle",))
TAGS = OtherTarget("file", TableName("shopify"), ("Handle",), category="Tags")
"""Each tag is a cell here: it is in the list, or it is not."""

Key = tuple[bool, str]
"""Whether it is a tag, and the column or the tag; tags are the same in capital and in small letters."""
Values = dict[Key, str | None]
"""What cells say. None: a tag that is not in the list."""


@dataclass(frozen=True, slots=True)
class CellWrite:
    """A cell that a copy changes."""

    product: str
    product_hash: str
    key: Key
    old: str | None
    new: str | None


@dataclass(frozen=True, slots=True)
class CopyJournal:
    """What was written for the products of a source. targets: their numbers by whether they are of tags."""

    database: Database
    source_id: int
    targets: Mapping[bool, int]

    def rows(self, products: Sequence[str]) -> dict[str, list[AnyRow]]:
        """Return what was written for products, by their hash, the oldest first."""
        columns = (WriteRow.product_hash, WriteRow.target_id, WriteRow.column_name, WriteRow.state)
        query = select(*columns, WriteRow.old_value, WriteRow.new_value).where(
            *self._mine(), WriteRow.product_hash.in_(products)
        )
        found: dict[str, list[AnyRow]] = {}
        for row in self.database.rows(query.order_by(WriteRow.id)):
            found.setdefault(row.product_hash, []).append(row)
        return found

    def values(self, rows: Sequence[AnyRow], *, imported: bool) -> Values:
        """Return what was written last into each cell, unless the shop had that. imported: the last copy was."""
        found = {self._key(row): row.new_value for row in self._counted(rows, imported=imported)}
        former = self.former(rows, imported=imported)
        return {key: value for key, value in found.items() if value != former[key]}

    def former(self, rows: Sequence[AnyRow], *, imported: bool) -> Values:
        """Return what cells said before the first copy that is recorded."""
        return {self._key(row): row.old_value for row in reversed(self._counted(rows, imported=imported))}

    def _counted(self, rows: Sequence[AnyRow], *, imported: bool) -> list[AnyRow]:
        return [row for row in rows if imported or row.state != INTENDED]

    def intended(self, rows: Sequence[AnyRow]) -> Values:
        """Return what the last copy was to change."""
        return {self._key(row): row.new_value for row in rows if row.state == INTENDED}

    def settle(self, connection: Connection, lease: Lease, *, imported: bool) -> None:
        """Record whether the last copy was imported."""
        lease.check(connection)
        mine = (*self._mine(), WriteRow.state == INTENDED)
        settled: Any = delete(WriteRow).where(*mine)
        if imported:
            settled = update(WriteRow).where(*mine).values(state=CONFIRMED)
        connection.execute(settled)

    def intend(self, connection: Connection, lease: Lease, run_id: int, writes: Sequence[CellWrite]) -> None:
        """Record what a copy is to change."""
        lease.check(connection)
        common = {"source_id": self.source_id, "run_id": run_id, "written_at": utc_now(connection), "state": INTENDED}
        rows = [
            {
                **common,
                "product_key": each.product,
                "product_hash": each.product_hash,
                "target_id": self.targets[each.key[0]],
                "column_name": each.key[1],
                "old_value": each.old,
                "new_value": each.new,
            }
            for each in writes
        ]
        if rows:
            connection.execute(insert(WriteRow), rows)

    def _mine(self) -> tuple[Any, ...]:
        return (WriteRow.source_id == self.source_id, WriteRow.target_id.in_(list(self.targets.values())))

    def _key(self, row: AnyRow) -> Key:
        is_tag = row.target_id == self.targets.get(True)
        return is_tag, folded(row.column_name) if is_tag else row.column_name


def folded(tag: str) -> str:
    """Return a tag as tags are compared."""
    return clean_label(tag).casefold()


def open_journal(database: Database, source_id: int, *, records: bool) -> CopyJournal:
    """Return the journal of a source. records: False for one that is only read, perhaps before there is one."""
    if records:
        record_other_targets(database, source_id, [COLUMNS, TAGS])
    numbers = {
        is_tag: database.fetch(find_other_target, source_id, each)
        for is_tag, each in ((False, COLUMNS), (True, TAGS))
    }
    return CopyJournal(database, source_id, {key: number for key, number in numbers.items() if number is not None})
