"""The images of one SELECT as items: a row per image, or per product, whatever tables they come from."""

import json
import threading
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, select

from cataloger.db import AnyRow, Database, explained
from cataloger.errors import DatabaseError, UnavailableError, WrongSourceError
from cataloger.queries.query_layout import FLAG, IMAGE_ID, inspect_query
from cataloger.queries.row_store import RowStore, StoredRow
from cataloger.records import Failure, Item
from cataloger.sources import (
    SAMPLE,
    Location,
    Names,
    RowSource,
    TableRow,
    TableSource,
    clean_values,
    join_keys,
    locate,
    text_of,
)
from cataloger.table_options import TableOptions
from cataloger.utils import visible

ROWS_PER_FETCH = 1000
NAMED = 3
NO_KEY = "source.no_key"
REPEATED_KEY = "source.repeated_key"
BYTES = "$bytes"
NO_OWN = b"[]"


class QuerySource(RowSource):
    """The images of a SELECT, which is run once for each run, where nothing can be written.

    Its rows are read by a cursor of the server in one transaction, into a temporary file; the scan reads that, in
    order of the keys. Raises WrongSourceError at once where the query cannot be run, or a sample holds no images.
    """

    def __init__(self, database: Database, options: TableOptions) -> None:
        super().__init__(database, options, FLAG)
        self._store: RowStore | None = None
        self._lock = threading.Lock()
        try:
            self.layout = database.fetch(inspect_query, options)
            self.sample.column = f"{FLAG}: {self.layout.image.name}"
            self._check_sample()
        except UnavailableError:
            raise
        except DatabaseError as error:
            raise WrongSourceError(f"{FLAG}: {error}") from error

    @property
    def root(self) -> str:
        """Identity of the source: its given name, or the server; never the text of the query, which may change."""
        return self.options.name or f"{self.database.url.server}#image-query"

    @property
    def is_complete(self) -> bool:
        """False: another query may give another part. What left the same query as in the last run, has left."""
        return False

    def scan(self) -> Iterator[Item | Failure]:
        """Yield the items, in the order of the keys."""
        self.begin()
        store = self._loaded()
        twins = store.twins()
        for key, rows in groupby(store.rows(), lambda row: row[:3]):
            parts = (row for row in map(_parts, rows) if not self._is_left_out(row))
            if key[0] is None:
                yield from self._without_key(", ".join(json.loads(key[1])), parts)
            else:
                yield from self._of_key(_names(key[0], key[1], key[2], twins), parts)

    def count(self) -> int | None:
        """Count the rows, for a progress bar; None if a row may hold several images."""
        return None if self.options.image_list else self._loaded().size

    def costs(self) -> list[str]:
        """Return, line by line, how the database runs the query and, for bytes, finds those of one image."""
        lines = self.database.fetch(explained, self.selected())
        if not self.layout.is_blob:
            return lines
        row = self.database.rows(select(*self.layout.keys).limit(1))
        found = select(self.layout.image).where(self.layout.at([self._key(each) for each in row]))
        return [*lines, "and for the bytes of an image:", *self.database.fetch(explained, found)]

    def nothing_found(self) -> str:
        """Return why a scan found nothing."""
        empty = (
            f"; {self.layout.image.name} is empty in all {self.without_image} of them" if self.without_image else ""
        )
        return f"{FLAG} gives no rows with an image{empty}"

    def close(self) -> None:
        """Delete the rows; those that another thread is reading go with that."""
        if self._lock.acquire(blocking=False):
            store, self._store = self._store, None
            self._lock.release()
            if store is not None:
                store.close()

    def _check_sample(self) -> None:
        subjects: list[Item | Failure] = []
        for row in map(self._stored, self.database.rows(self.selected().limit(SAMPLE))):
            if row[0] is not None:
                subjects += self.subjects(_names(row[0], row[1], row[2]), _parts(row))
        self._check(subjects)

    def _loaded(self) -> RowStore:
        with self._lock:
            if self._store is None:
                self._store = self.database.fetch(self._load)
            return self._store

    def _load(self, connection: Connection) -> RowStore:
        """Read all rows, in one statement and so of one moment; an attempt that fails begins anew."""
        if connection.dialect.name == "postgresql":
            # Else the server prefers a plan that gives the first rows soon, and all of them late.
            connection.exec_driver_sql("SET LOCAL cursor_tuple_fraction = 1.0")
        store = RowStore()
        try:
            result = connection.execute(self.selected(), execution_options={"yield_per": ROWS_PER_FETCH})
            for page in result.partitions():
                store.add(map(self._stored, page))
        except BaseException:
            store.close()
            raise
        return store

    def _stored(self, row: AnyRow) -> StoredRow:
        parts = self.split(row)
        body = _as_json([parts.image, parts.version, parts.department, parts.keys if self.layout.is_blob else ()])
        missing = [column.name for column, value in zip(self.layout.keys, parts.keys, strict=True) if value is None]
        if missing:
            return None, _as_json(missing).encode(), b"", body
        own = [text_of(parts.keys[position]) for position in self.layout.own]
        clean = clean_values(parts.products)
        product = _as_bytes(join_keys(clean))
        written = product if clean == parts.products else _as_bytes(join_keys(parts.products))
        return product, _as_json(own).encode() if own else NO_OWN, written, body

    def _key(self, row: AnyRow) -> tuple[Any, ...]:
        """Return the values of a row's key as they are stored."""
        return tuple(_from_json(_as_json(super()._key(row))))

    def _of_key(self, names: Names, rows: Iterable[TableRow]) -> Iterator[Item | Failure]:
        """Yield what the rows of one key are: an image, as often as it is given, or a failure for several images."""
        images, number, times = _different(rows)
        if number > 1:
            yield self._repeated(names, images, number)
        elif images:
            if images[0].department is not None:
                names = replace(names, department=images[0].department)
            for _ in range(times):  # the plan counts the others as duplicates
                yield from self.subjects(names, images[0])

    def _is_left_out(self, row: TableRow) -> bool:
        is_left_out = self.is_empty(row)
        self.without_image += is_left_out
        return is_left_out

    def _repeated(self, names: Names, rows: Sequence[TableRow], number: int) -> Failure:
        """Return the failure of a key that is not the key of one image."""
        if self.options.image_list:
            self.note_unread(names)
        shown = ", ".join(dict.fromkeys(_shown(row.image) for row in rows))
        text = f"the query gives this key for {number} different images, e.g. {shown}: give each its own {IMAGE_ID}"
        failure = Failure(names.item("", ""), REPEATED_KEY, text)
        self.sample.see(rows[0].image, failure)
        return failure

    def _without_key(self, missing: str, rows: Iterable[TableRow]) -> Iterator[Failure]:
        """Yield a failure for each image whose row has a null in its key; a product without images is none."""
        for row in rows:
            place = _shown(row.image)
            item = Item(json.dumps([None, place], ensure_ascii=False), "" if self.layout.is_blob else place, "")
            yield Failure(item, NO_KEY, f"the query gives NULL as {missing} for this image")


def _different(rows: Iterable[TableRow]) -> tuple[list[TableRow], int, int]:
    """Return some rows with different images, the number of all such, and that of the rows.

    Equal ones are neighbours. Of bytes the digest or the version tells whether they are the same.
    """
    found: list[TableRow] = []
    number = times = 0
    last = None
    for row in rows:
        image = (row.image, row.version if row.keys else None)
        if times == 0 or image != last:
            number += 1
            found += [row] if number <= NAMED else []
        last = image
        times += 1
    return found, number, times


def _names(product: bytes, own: bytes, written: bytes, twins: Container[bytes] = ()) -> Names:
    """Return the names of a row. Products that would have one key once they are clean keep theirs as it is."""
    parts = [] if own == NO_OWN else _from_json(own.decode())
    former = _as_text(written)
    former_key = join_keys([former, *parts])
    if written == product or written in twins:
        return Names(former_key, former, former_key, former)
    key = _as_text(product)
    return Names(join_keys([key, *parts]), key, former_key, former)


def _parts(row: StoredRow) -> TableRow:
    image, version, department, keys = _from_json(row[3])
    return TableRow(tuple(keys), (), image, version, department)


def _shown(image: object) -> str:
    """Return an image for people: of an address without what may be secret."""
    if isinstance(image, int):
        return f"{image:,} bytes"
    place = locate(image, b"/")
    return place.uri if isinstance(place, Location) else visible(str(image))


def _plain(value: Any) -> Any:
    """Return a value that JSON has no form for: bytes as such, all else as the text that keys have of it."""
    return {BYTES: bytes(value).hex()} if isinstance(value, bytes | bytearray | memoryview) else text_of(value)


def _with_bytes(value: dict[str, Any]) -> Any:
    return bytes.fromhex(value[BYTES]) if value.keys() == {BYTES} else value


# Made once: for each row anew they would cost more than what they do.
_as_json = json.JSONEncoder(default=_plain).encode
_from_json = json.JSONDecoder(object_hook=_with_bytes).decode


def _as_bytes(key: str) -> bytes:
    return key.encode("utf-8", "surrogatepass")


def _as_text(key: bytes) -> str:
    return key.decode("utf-8", "surrogatepass")


ShopSource = TableSource | QuerySource


def open_shop_source(database: Database, options: TableOptions) -> ShopSource:
    """Return the source that options name: a product table, or a query. Raises SourceError, UsageError."""
    return TableSource(database, options) if options.query is None else QuerySource(database, options)
