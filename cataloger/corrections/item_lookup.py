"""Find the images that the rows of a file name: by key, which is indexed, or by uri, which is not.

The uri of an image in a folder contains its key. For other uris the catalog is scanned: by the database for the
first page, and for further pages once as a whole, into an index of 16 bytes per image.
"""

import hashlib
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select

from cataloger.db import AnyRow, Database, row_pages, slices
from cataloger.schema import ItemRow, SourceRow, key_hash, paged_source_id

ROWS_PER_READ = 10_000
LOOKED_UP = 500

T = TypeVar("T")

Image = tuple[int, int]
"""Source and item."""
COLUMNS = (ItemRow.id, ItemRow.source_id, ItemRow.key, ItemRow.uri)


class Lookup:
    """Finds images of some sources. Images added to the catalog meanwhile may not be found."""

    def __init__(self, database: Database, source_ids: Collection[int]) -> None:
        self._database = database
        query = select(SourceRow.id, SourceRow.kind, SourceRow.root).where(SourceRow.id.in_(source_ids))
        rows = database.rows(query)
        self._sources = [row.id for row in rows]
        self._folders = {row.id: row.root.rstrip("/") + "/" for row in rows if row.kind == "folder"}
        self._others = [source_id for source_id in self._sources if source_id not in self._folders]
        self._query: Callable[[Collection[str]], Iterable[AnyRow]] = self._query_first

    def by_key(self, keys: Collection[str]) -> dict[str, list[Image]]:
        """Return key -> images of that key."""
        mine = select(*COLUMNS).where(ItemRow.source_id.in_(self._sources))
        found: list[AnyRow] = []
        for page in _pages(map(key_hash, keys)):
            found += self._database.rows(mine.where(ItemRow.key_hash.in_(page)))
        return _grouped((row.key, row) for row in found if row.key in keys)

    def by_uri(self, uris: Collection[str]) -> dict[str, list[Image]]:
        """Return uri -> images of that uri."""
        rows = list(self._query(uris)) if self._others and uris else []
        for source_id, folder in self._folders.items():
            keys = [key_hash(uri.removeprefix(folder)) for uri in uris if uri.startswith(folder)]
            mine = select(*COLUMNS).where(ItemRow.source_id == source_id)
            for page in _pages(keys):
                rows += self._database.rows(mine.where(ItemRow.key_hash.in_(page)))
        return _grouped((row.uri, row) for row in rows if row.uri in uris)

    def _query_first(self, uris: Collection[str]) -> Iterable[AnyRow]:
        """Let the database search: a few rows are not worth an index."""
        self._query = self._query_index
        mine = select(*COLUMNS).where(ItemRow.source_id.in_(self._others))
        return [row for page in _pages(uris) for row in self._database.rows(mine.where(ItemRow.uri.in_(page)))]

    def _query_index(self, uris: Collection[str]) -> Iterable[AnyRow]:
        self._query = _Index(self._database, self._others).rows
        return self._query(uris)


class _Index:
    """The images of some sources by a hash of their uri."""

    def __init__(self, database: Database, source_ids: Collection[int]) -> None:
        self._database = database
        hashes, ids = array("Q"), array("q")
        columns: tuple[Any, ...] = (ItemRow.id, ItemRow.uri)
        query = select(*columns).where(paged_source_id(database).in_(source_ids))
        for rows in row_pages(database, query, ItemRow.id, ROWS_PER_READ):
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
            yield from self._database.rows(select(*COLUMNS).where(ItemRow.id.in_(page)))


def _hash(uri: str) -> int:
    return int.from_bytes(hashlib.blake2b(uri.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def _pages(values: Iterable[T]) -> Iterator[Sequence[T]]:
    return slices(list(values), LOOKED_UP)


def _grouped(pairs: Iterable[tuple[str, AnyRow]]) -> dict[str, list[Image]]:
    found: dict[str, list[Image]] = {}
    for name, row in pairs:
        found.setdefault(name, []).append((row.source_id, row.id))
    return found
