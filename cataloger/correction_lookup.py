"""The images that the rows of a file are about: by key, which is indexed, or by uri, which is not.

What lies in a folder has its key in its uri. For other uris the catalog is gone through: by the database for the
first ones, and for more of them once altogether, into an index of 16 bytes an image.
"""

import hashlib
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select

from cataloger.db.database import Database
from cataloger.db.models import Item, Source
from cataloger.db.paging import paged_source_id, row_pages, slices
from cataloger.db.types import AnyRow
from cataloger.schema import key_hash

ROWS_PER_READ = 10_000
LOOKED_UP = 500

T = TypeVar("T")

Image = tuple[int, int]
"""Source and item."""
COLUMNS = (Item.id, Item.source_id, Item.key, Item.uri)


class Lookup:
    """Finds images of some sources. Ones that come into the catalog meanwhile may not be found."""

    def __init__(self, database: Database, source_ids: Collection[int]) -> None:
        self._database = database
        query = select(Source.id, Source.kind, Source.root).where(Source.id.in_(source_ids))
        rows = database.rows(query)
        self._sources = [row.id for row in rows]
        self._folders = {row.id: row.root.rstrip("/") + "/" for row in rows if row.kind == "folder"}
        self._others = [source_id for source_id in self._sources if source_id not in self._folders]
        self._ask: Callable[[Collection[str]], Iterable[AnyRow]] = self._ask_first

    def by_key(self, keys: Collection[str]) -> dict[str, list[Image]]:
        """Return key -> images of that key."""
        mine = select(*COLUMNS).where(Item.source_id.in_(self._sources))
        found: list[AnyRow] = []
        for page in _pages(map(key_hash, keys)):
            found += self._database.rows(mine.where(Item.key_hash.in_(page)))
        return _grouped((row.key, row) for row in found if row.key in keys)

    def by_uri(self, uris: Collection[str]) -> dict[str, list[Image]]:
        """Return uri -> images of that uri."""
        rows = list(self._ask(uris)) if self._others and uris else []
        for source_id, folder in self._folders.items():
            keys = [key_hash(uri.removeprefix(folder)) for uri in uris if uri.startswith(folder)]
            mine = select(*COLUMNS).where(Item.source_id == source_id)
            for page in _pages(keys):
                rows += self._database.rows(mine.where(Item.key_hash.in_(page)))
        return _grouped((row.uri, row) for row in rows if row.uri in uris)

    def _ask_first(self, uris: Collection[str]) -> Iterable[AnyRow]:
        """Have the database look: few rows are not worth an index."""
        self._ask = self._ask_again
        mine = select(*COLUMNS).where(Item.source_id.in_(self._others))
        return [row for page in _pages(uris) for row in self._database.rows(mine.where(Item.uri.in_(page)))]

    def _ask_again(self, uris: Collection[str]) -> Iterable[AnyRow]:
        self._ask = _Index(self._database, self._others).rows
        return self._ask(uris)


class _Index:
    """The images of some sources by a hash of their uri."""

    def __init__(self, database: Database, source_ids: Collection[int]) -> None:
        self._database = database
        hashes, ids = array("Q"), array("q")
        columns: tuple[Any, ...] = (Item.id, Item.uri)
        query = select(*columns).where(paged_source_id(database).in_(source_ids))
        for rows in row_pages(database, query, Item.id, ROWS_PER_READ):
            hashes.extend(_hash(row.uri) for row in rows)
            ids.extend(row.id for row in rows)
        all_hashes: NDArray[np.uint64] = np.frombuffer(hashes, np.uint64) if hashes else np.empty(0, np.uint64)
        order = np.argsort(all_hashes)
        self._hashes = all_hashes[order]
        self._ids: NDArray[np.int64] = np.frombuffer(ids, np.int64)[order] if ids else np.empty(0, np.int64)

    def rows(self, uris: Collection[str]) -> Iterable[AnyRow]:
        """Return the images that may have one of these, and all that have."""
        wanted = np.array([_hash(uri) for uri in uris], np.uint64)
        starts, ends = (np.searchsorted(self._hashes, wanted, side) for side in ("left", "right"))
        ids = {int(number) for start, end in zip(starts, ends, strict=True) for number in self._ids[start:end]}
        for page in _pages(sorted(ids)):
            yield from self._database.rows(select(*COLUMNS).where(Item.id.in_(page)))


def _hash(uri: str) -> int:
    return int.from_bytes(hashlib.blake2b(uri.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def _pages(values: Iterable[T]) -> Iterator[Sequence[T]]:
    return slices(list(values), LOOKED_UP)


def _grouped(pairs: Iterable[tuple[str, AnyRow]]) -> dict[str, list[Image]]:
    found: dict[str, list[Image]] = {}
    for name, row in pairs:
        found.setdefault(name, []).append((row.source_id, row.id))
    return found
