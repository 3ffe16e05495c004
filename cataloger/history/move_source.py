"""Sources that have moved: a renamed folder keeps its results once its new name is recorded.

What looks like a known source that no longer exists is not tagged again silently: the run stops and says what to do.
"""

import os
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, delete, func, select, update

from cataloger.db import Database, row_pages
from cataloger.errors import UsageError
from cataloger.ledger import Lease, hold_lease, recorded_run, root_exists
from cataloger.schema import ItemRow, LabelMapRow, LeaseRow, RunSourceRow, SourceRow, key_hash, paged_source_id
from cataloger.sources import key_of
from cataloger.utils import existing_path, spellings

PAGE = 1000


def relocate_source(database: Database, old: str, new: str) -> int:
    """Give a source a new root; return how many items it has. Raises UsageError.

    A folder or manifest must exist under its new name. Items get their new places at once: those in the folder,
    or at paths that start at the manifest's folder.
    """
    rows = database.rows(select(SourceRow.__table__))
    by_root = {row.root: row for row in rows}
    found = next(filter(None, map(by_root.get, (*spellings(old), _resolved(old)))), None)
    if found is None:
        listed = ", ".join(sorted(by_root)[:10]) or "none"
        raise UsageError(f"there is no source {old}; there are: {listed}")
    root = new if found.kind == "table" else _resolved(new)
    if found.kind != "table" and not root_exists(root):
        raise UsageError(f"{new} does not exist: move the {found.kind} first, then run this command")
    taken = by_root.get(root)
    if taken is not None and (taken.id == found.id or database.scalar(_items(taken.id))):
        raise UsageError(
            f"{root} is already a source with results of its own: choose a name that is not a source yet"
        )
    with recorded_run(database, "move", {"old": found.root, "new": root}) as run, ExitStack() as stack:
        ids = [found.id] if taken is None else [found.id, taken.id]
        leases = [stack.enter_context(hold_lease(database, source_id, run.id)) for source_id in ids]
        # The items come first: until the source has its new name, the same command resumes after a kill.
        if found.kind == "folder":
            _move_items(database, leases[0], found.root, root)
        elif found.kind == "manifest":
            _move_items(database, leases[0], str(Path(found.root).parent), str(Path(root).parent))

        def rename(connection: Connection) -> None:
            for lease in leases:
                lease.check(connection)
            if taken is not None:
                for table in (LeaseRow, RunSourceRow, LabelMapRow):
                    connection.execute(delete(table).where(table.source_id == taken.id))
                connection.execute(delete(SourceRow).where(SourceRow.id == taken.id))
            values = {"root": root, "root_hash": key_hash(root), "name": root}
            connection.execute(update(SourceRow).where(SourceRow.id == found.id).values(values))

        database.run(rename)
    return int(database.scalar(_items(found.id)))


def _move_items(database: Database, lease: Lease, old: str, new: str) -> None:
    """Record for every item where it is now. Repeating it changes nothing, even if the new name is in the old one."""
    before, after = (root.rstrip("/") + "/" for root in (old, new))
    columns: tuple[Any, ...] = (ItemRow.id, ItemRow.key, ItemRow.uri)
    query = select(*columns).where(paged_source_id(database) == lease.source_id)
    for rows in row_pages(database, query, ItemRow.id, PAGE):
        moved = [(row.id, after + row.key) for row in rows if row.uri == before + row.key]
        database.write(_place, lease, moved)


def _place(connection: Connection, lease: Lease, moved: Iterable[tuple[int, str]]) -> None:
    lease.check(connection)
    for item_id, uri in moved:
        connection.execute(update(ItemRow).where(ItemRow.id == item_id).values(uri=uri))


def _items(source_id: int) -> Any:
    return select(func.count()).select_from(ItemRow).where(ItemRow.source_id == source_id)


def _resolved(path: str) -> str:
    return key_of(os.path.realpath(os.fsencode(existing_path(path))))
