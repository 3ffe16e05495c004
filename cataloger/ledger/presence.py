"""Items that a complete scan did not meet are removed from the views; those that it meets again are restored."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select

from cataloger.db import AnyRow, Database, row_pages
from cataloger.ledger.deletion import purge_items
from cataloger.ledger.effective_results import mark_presence
from cataloger.ledger.leases import Lease
from cataloger.ledger.source_registry import SourceRef
from cataloger.schema import ItemRow, paged_source_id

ITEMS_PER_READ = 5000
ITEMS_PER_DELETION = 500
BITS = 1 << 16

Keep = Callable[[str], bool]


def _none(_key: str) -> bool:
    return False


class Presence:
    """Which known items a scan has met: one bit per item, so a million of them need a few hundred kilobytes.

    on_moved: receives the items that are removed from the views or restored, in the same transaction. lease: checked
    in each of these.
    """

    def __init__(
        self, database: Database, source: SourceRef, on_moved: Callable[[Connection, list[int]], None] | None = None
    ) -> None:
        self.lease: Lease | None = None
        self._on_moved = on_moved
        self._database = database
        self._source = source
        self._blocks: dict[int, bytearray] = {}
        self._seen = 0
        self._restored: list[int] = []
        # What this run itself adds has a higher id and is certainly not missing.
        highest = select(func.max(ItemRow.id)).where(ItemRow.source_id == source.id)
        self._highest = database.scalar(highest) or 0

    def see(self, item_id: int, is_gone: bool, /) -> bool:
        """Note that the scan met an item; return whether it had before. is_gone: it is not in the views now."""
        block = self._blocks.setdefault(item_id // BITS, bytearray(BITS // 8))
        byte, bit = divmod(item_id % BITS, 8)
        if block[byte] & (1 << bit):
            return True
        block[byte] |= 1 << bit
        if is_gone:
            self._restored.append(item_id)
        elif item_id <= self._highest:
            self._seen += 1
        return False

    def count_missing(self, keep: Keep = _none) -> int:
        """Count what a complete scan has not met. keep: leaves items out, by their key."""
        return sum(len(ids) for ids in self._missing(keep))

    def remove_missing(self, run_id: int, keep: Keep = _none) -> int:
        """After a complete scan: remove what it did not meet from the views; return how many those were.

        keep: leaves items out, by their key.
        """
        removed = 0
        for ids in self._missing(keep):
            self._mark(ids, run_id, is_gone=True)
            removed += len(ids)
        return removed

    def restore_met(self, run_id: int) -> int:
        """Restore what was met again to the views, also after a partial scan; return how many those were."""
        for start in range(0, len(self._restored), ITEMS_PER_READ):
            self._mark(self._restored[start : start + ITEMS_PER_READ], run_id, is_gone=False)
        count, self._restored = len(self._restored), []
        return count

    def purge_missing(self) -> int:
        """Delete the missing items, and everything that was ever recorded of them; return how many."""
        count = 0
        for page in self._pages(self._of_source() & ItemRow.gone_run_id.is_not(None), ITEMS_PER_DELETION):
            # SQLite's LIKE ignores case.
            ids = [row.id for row in page if row.key.startswith(self._source.prefix)]
            self._database.write(self._with_lease, partial(purge_items, source_id=self._source.id, ids=ids))
            count += len(ids)
        return count

    def _mark(self, ids: list[int], run_id: int, *, is_gone: bool) -> None:
        def mark(connection: Connection) -> None:
            mark_presence(connection, ids, run_id, is_gone=is_gone)
            if self._on_moved:
                self._on_moved(connection, ids)

        self._database.write(self._with_lease, mark)

    def _with_lease(self, connection: Connection, action: Callable[[Connection], None]) -> None:
        if self.lease:
            self.lease.check(connection)
        action(connection)

    def _missing(self, keep: Keep) -> Iterator[list[int]]:
        if not self._source.prefix and self._count_present() == self._seen:
            return
        for page in self._pages(self._present(), ITEMS_PER_READ):
            unmet = (row for row in page if row.key.startswith(self._source.prefix) and not self._has(row.id))
            ids = [row.id for row in unmet if not keep(row.key)]
            if ids:
                yield ids

    def _present(self) -> ColumnElement[bool]:
        return self._of_source() & ItemRow.gone_run_id.is_(None) & (ItemRow.id <= self._highest)

    def _of_source(self) -> ColumnElement[bool]:
        return paged_source_id(self._database) == self._source.id

    def _count_present(self) -> int:
        query = select(func.count()).select_from(ItemRow).where(self._present())
        return self._database.scalar(query) or 0

    def _pages(self, condition: ColumnElement[bool], size: int) -> Iterator[Sequence[AnyRow]]:
        columns: tuple[Any, ...] = (ItemRow.id, ItemRow.key)
        return row_pages(self._database, select(*columns).where(condition), ItemRow.id, size)

    def _has(self, item_id: int) -> bool:
        block = self._blocks.get(item_id // BITS)
        byte, bit = divmod(item_id % BITS, 8)
        return block is not None and bool(block[byte] & (1 << bit))
