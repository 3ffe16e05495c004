"""Sources that have moved, or get another name: they keep their results once that is recorded.

What looks like a known source that no longer exists is not tagged again silently: the run stops and says what to do.
"""

import os
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, delete, func, select, update

from cataloger.db import AnyRow, Database, row_pages
from cataloger.errors import UsageError
from cataloger.ledger import Lease, hold_lease, recorded_run, root_exists
from cataloger.schema import (
    ItemRow,
    LabelMapRow,
    LeaseRow,
    RunSourceRow,
    ShardRow,
    SourceRow,
    key_hash,
    paged_source_id,
)
from cataloger.sources import key_of
from cataloger.utils import clean_name, existing_path, spellings

PAGE = 1000
NAMED = 10


def find_recorded(database: Database, name: str) -> AnyRow:
    """Return the row of a source, by its location or its name. Raises UsageError."""
    rows = database.rows(select(SourceRow.__table__).order_by(SourceRow.root))
    for spelling in (*spellings(name), _resolved(name)):
        for row in rows:
            if spelling in (row.root, row.name):
                return row
    listed = ", ".join(row.name for row in rows[:NAMED]) or "none"
    raise UsageError(f"there is no source {name}; there are: {listed}")


def relocate_source(database: Database, old: str, new: str) -> int:
    """Give a source a new location; return how many items it has. Raises UsageError.

    A folder or manifest must exist under its new name. Items get their new places at once: those in the folder,
    or at paths that start at the manifest's folder.
    """
    found = find_recorded(database, old)
    if found.kind == "web":
        raise UsageError(f"{found.root} is a host, whose images have its name in theirs: it cannot be moved")
    root = new if found.kind == "table" else _resolved(new)
    if found.kind != "table" and not root_exists(root):
        raise UsageError(f"{new} does not exist: move the {found.kind} first, then run this command")
    _relocate(database, "move", found, root)
    return int(database.scalar(_items(found.id)))


def rename_source(database: Database, old: str, new: str) -> int:
    """Give a source a new name in views, reports and `--source`; return how many items it has. Raises UsageError.

    A folder or manifest stays where it is: later runs over it go on. The name of a table is its location, too, by
    which later runs find it. A folder or manifest that has the new name on the disk, and no longer the old one, has
    moved.
    """
    found, name = find_recorded(database, old), clean_name(new)
    if not name.strip():
        raise UsageError("the new name of the source is empty")
    root = name if found.kind == "table" else _resolved(new)
    has_moved = found.kind in ("folder", "manifest") and root_exists(root) and not root_exists(found.root)
    if found.kind == "table" or has_moved:
        _relocate(database, "rename", found, root)
    else:
        if _refuse_taken(database, found, name) is not None:
            raise UsageError(f"{name} is already a source: delete that one first (cataloger sources delete)")
        options = {"old": found.name, "new": name}
        with recorded_run(database, "rename", options) as run, hold_lease(database, found.id, run.id) as lease:
            database.write(_name, lease, name)
    return int(database.scalar(_items(found.id)))


def _relocate(database: Database, command: str, found: AnyRow, root: str) -> None:
    """Give a source a new root, and the name of it unless it has one of its own."""
    taken = _refuse_taken(database, found, root)
    with recorded_run(database, command, {"old": found.root, "new": root}) as run, ExitStack() as stack:
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
                for table in (LeaseRow, ShardRow, RunSourceRow, LabelMapRow):
                    connection.execute(delete(table).where(table.source_id == taken.id))
                connection.execute(delete(SourceRow).where(SourceRow.id == taken.id))
            values = {"root": root, "root_hash": key_hash(root)}
            if found.name == found.root:
                values["name"] = root
            connection.execute(update(SourceRow).where(SourceRow.id == found.id).values(values))

        database.run(rename)


def _refuse_taken(database: Database, found: AnyRow, name: str) -> AnyRow | None:
    """Raise UsageError if a name is that of a source with items; return the source without any, if there is one.

    A folder or manifest may be given the name of its own location again.
    """
    rows = database.rows(select(SourceRow.__table__).where(SourceRow.id != found.id))
    taken = next((row for row in rows if name in (row.root, row.name)), None)
    if name == found.name or (found.name == found.root and name == found.root):
        raise UsageError(f"{name} is already a source with results of its own: that is its name now")
    if taken is not None and (taken.root != name or database.scalar(_items(taken.id))):
        raise UsageError(
            f"{name} is already a source with results of its own: choose a name that is not a source yet, or delete "
            "that one first (cataloger sources delete)"
        )
    return taken


def _name(connection: Connection, lease: Lease, name: str) -> None:
    lease.check(connection)
    connection.execute(update(SourceRow).where(SourceRow.id == lease.source_id).values(name=name))


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
