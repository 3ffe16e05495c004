"""Sources that have moved: a renamed folder keeps its results under its new name, once that is said.

What looks like a known source that is gone is not tagged anew in silence: the run stops and says what to do.
"""

import itertools
import os
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, delete, func, select, update

from cataloger.db.database import Database
from cataloger.db.models import Item, LabelMap, Lease, Result, RunSource
from cataloger.db.models import Source as SourceRow
from cataloger.db.paging import paged_source_id, row_pages
from cataloger.errors import SourceError, UsageError
from cataloger.lease import Lease as HeldLease
from cataloger.lease import hold_lease
from cataloger.ledger import SourceRef, find_source
from cataloger.records import item_of
from cataloger.run_records import last_table
from cataloger.runs import recorded_run
from cataloger.schema import key_hash
from cataloger.sources.base import Source
from cataloger.sources.names import key_of

SAMPLE = 100
LIKENESS = 0.5
PAGE = 1000


def require_not_moved(database: Database | None, source: Source) -> None:
    """Raise SourceError when a new folder or manifest looks like a known one that is not there any more."""
    if database is None or find_source(database, kind=source.kind, root=source.root) is not None:
        return
    sample = [key_hash(item_of(subject).key) for subject in itertools.islice(source.scan(), SAMPLE)]
    query = select(SourceRow.id, SourceRow.root).where(SourceRow.kind == source.kind)
    for row in database.rows(query):
        if not _is_there(row.root) and sample:
            same = (Item.source_id == row.id) & Item.key_hash.in_(sample)
            known = database.scalar(select(func.count()).select_from(Item).where(same))
            if known >= LIKENESS * len(sample):
                raise SourceError(
                    f"{source.root} is new, but looks like {row.root}, which is not there any more: {known} of "
                    f"{len(sample)} images have the same names. To keep its results: cataloger sources move "
                    f"'{row.root}' '{source.root}'. To tag everything again: --accept-move"
                )


def require_same_root(database: Database, known: SourceRef, source: Source, image_root: str | None) -> None:
    """Raise SourceError when the image root of a table is another one than before and most images look changed."""
    table = database.fetch(last_table, known.id)
    before = table and table.get("image_root")
    if before in (None, image_root):
        return
    sample = {key_hash(item.key): item.version for item in map(item_of, itertools.islice(source.scan(), SAMPLE))}
    newest = select(func.max(Result.id)).join(Item, Item.id == Result.item_id)
    mine = (Item.source_id == known.id) & Item.key_hash.in_(sample)
    query = select(Item.key_hash, Result.version_token).join(Result, Result.item_id == Item.id)
    rows = database.rows(query.where(Result.id.in_(newest.where(mine).group_by(Result.item_id))))
    changed = sum(row.version_token != sample[row.key_hash] for row in rows)
    if changed > (1 - LIKENESS) * len(rows):
        raise SourceError(
            f"--image-root was {before} in the last run and is {image_root} now, and {changed} of {len(rows)} images "
            "have another size or time there, so that they would be tagged again. Copy them with their times "
            "(rsync -a, cp -a), or say --accept-move to tag them again"
        )


def move_source(database: Database, old: str, new: str) -> int:
    """Give a source a new root; return how many items it has. Raises UsageError.

    A folder or manifest must be there under its new name. Items get their new places at once: those in the folder,
    or at paths that start at the manifest's folder.
    """
    rows = database.rows(select(SourceRow.__table__))
    by_root = {row.root: row for row in rows}
    found = by_root.get(old) or by_root.get(_resolved(old))
    if found is None:
        listed = ", ".join(sorted(by_root)[:10]) or "none"
        raise UsageError(f"there is no source {old}; there are: {listed}")
    root = new if found.kind == "table" else _resolved(new)
    if found.kind != "table" and not _is_there(root):
        raise UsageError(f"{new} is not there: move the {found.kind} first, then say so here")
    taken = by_root.get(root)
    if taken is not None and (taken.id == found.id or database.scalar(_items(taken.id))):
        raise UsageError(f"{root} is a source already, with results of its own: only an unknown name can be taken")
    with recorded_run(database, "move", {"old": found.root, "new": root}) as run, ExitStack() as stack:
        ids = [found.id] if taken is None else [found.id, taken.id]
        leases = [stack.enter_context(hold_lease(database, source_id, run.id)) for source_id in ids]
        # The items come first: until the source has its new name, the same command goes on after a kill.
        if found.kind == "folder":
            _move_items(database, leases[0], found.root, root)
        elif found.kind == "manifest":
            _move_items(database, leases[0], str(Path(found.root).parent), str(Path(root).parent))

        def rename(connection: Connection) -> None:
            for lease in leases:
                lease.check(connection)
            if taken is not None:
                for table in (Lease, RunSource, LabelMap):
                    connection.execute(delete(table).where(table.source_id == taken.id))
                connection.execute(delete(SourceRow).where(SourceRow.id == taken.id))
            values = {"root": root, "root_hash": key_hash(root), "name": root}
            connection.execute(update(SourceRow).where(SourceRow.id == found.id).values(values))

        database.run(rename)
    return int(database.scalar(_items(found.id)))


def _move_items(database: Database, lease: HeldLease, old: str, new: str) -> None:
    """Say of every item where it is now. Once more changes nothing, even if the new name lies within the old one."""
    before, after = (root.rstrip("/") + "/" for root in (old, new))
    columns: tuple[Any, ...] = (Item.id, Item.key, Item.uri)
    query = select(*columns).where(paged_source_id(database) == lease.source_id)
    for rows in row_pages(database, query, Item.id, PAGE):
        moved = [(row.id, after + row.key) for row in rows if row.uri == before + row.key]
        database.write(_place, lease, moved)


def _place(connection: Connection, lease: HeldLease, moved: Iterable[tuple[int, str]]) -> None:
    lease.check(connection)
    for item_id, uri in moved:
        connection.execute(update(Item).where(Item.id == item_id).values(uri=uri))


def _items(source_id: int) -> Any:
    return select(func.count()).select_from(Item).where(Item.source_id == source_id)


def _resolved(path: str) -> str:
    return key_of(os.path.realpath(os.fsencode(path)))


def _is_there(root: str) -> bool:
    """True when a folder or file is there; a name that is not UTF-8 is not looked for."""
    return Path(root).exists() or "%" in root
