"""Whether a source is a known one at a new address: its images would all be tagged again."""

import itertools
from pathlib import Path

from sqlalchemy import func, select

from cataloger.db import Database
from cataloger.errors import SourceError
from cataloger.ledger.run_queries import last_table
from cataloger.ledger.source_registry import SourceRef, find_source
from cataloger.records import item_of
from cataloger.schema import ItemRow, ResultRow, SourceRow, key_hash
from cataloger.sources import Source

SAMPLE = 100
LIKENESS = 0.5


def require_not_moved(database: Database | None, source: Source) -> None:
    """Raise SourceError when a new folder or manifest looks like a known one that no longer exists."""
    if database is None or find_source(database, kind=source.kind, root=source.root) is not None:
        return
    sample = [key_hash(item_of(subject).key) for subject in itertools.islice(source.scan(), SAMPLE)]
    query = select(SourceRow.id, SourceRow.root).where(SourceRow.kind == source.kind)
    for row in database.rows(query):
        if not root_exists(row.root) and sample:
            same = (ItemRow.source_id == row.id) & ItemRow.key_hash.in_(sample)
            known = database.scalar(select(func.count()).select_from(ItemRow).where(same))
            if known >= LIKENESS * len(sample):
                raise SourceError(
                    f"{source.root} is new, but looks like {row.root}, which no longer exists: {known} of "
                    f"{len(sample)} images have the same names. To keep its results: cataloger sources move "
                    f"'{row.root}' '{source.root}'. To tag everything again: --accept-move"
                )


def require_same_root(database: Database, known: SourceRef, source: Source, image_root: str | None) -> None:
    """Raise SourceError when the image root of a table is another one than before and most images look changed."""
    table = database.fetch(last_table, known.id)
    before = table and table.get("image_root")
    if before in (None, image_root):
        return
    items = map(item_of, itertools.islice(source.scan(), SAMPLE))
    sample = {key_hash(key): item.version for item in items for key in (item.key, item.former_key) if key is not None}
    newest = select(func.max(ResultRow.id)).join(ItemRow, ItemRow.id == ResultRow.item_id)
    mine = (ItemRow.source_id == known.id) & ItemRow.key_hash.in_(sample)
    query = select(ItemRow.key_hash, ResultRow.version_token).join(ResultRow, ResultRow.item_id == ItemRow.id)
    rows = database.rows(query.where(ResultRow.id.in_(newest.where(mine).group_by(ResultRow.item_id))))
    changed = sum(row.version_token != sample[row.key_hash] for row in rows)
    if changed > (1 - LIKENESS) * len(rows):
        raise SourceError(
            f"--image-root was {before} in the last run and is {image_root} now, and {changed} of {len(rows)} images "
            "have a different size or time there, so that they would be tagged again. Copy them with their times "
            "(rsync -a, cp -a), or use --accept-move to tag them again"
        )


def root_exists(root: str) -> bool:
    """True when a folder or file exists; a name that is not UTF-8 is not checked."""
    return Path(root).exists() or "%" in root
