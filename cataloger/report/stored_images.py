"""Reads the images of the ledger's items, to show them beside their results.

Only what an item of the ledger names is read: a file, where its source finds it; an address, as it was recorded,
without its query string; an object of a store; or bytes in a column of a table that lies in the same database.
"""

import hashlib
import os
import threading
from dataclasses import fields, replace
from typing import Any, NamedTuple, Self

from sqlalchemy import Connection, select

from cataloger.db import AnyRow, Database, make_engine
from cataloger.errors import CatalogerError, ImageError, UnavailableError, UsageError
from cataloger.fetch import Downloaded, Downloader, ObjectReader, read_file
from cataloger.ledger import follows_links, last_table
from cataloger.objects import ObjectRoots, ObjectStores, is_object_address, read_address
from cataloger.options import Limits, WebOptions
from cataloger.queries import ShopSource, open_shop_source
from cataloger.records import Failure, Fetched, Item, StoredObject
from cataloger.schema import ItemRow, SourceRow
from cataloger.sources import OUTSIDE_ROOT, SCHEMES, name_of, named_in_manifest
from cataloger.table_options import TableOptions

UNKNOWN_ITEM = "source.unknown_item"
NOT_IN_DATABASE = "source.not_in_database"

# A person waits for these images, unlike those of a run.
ATTEMPTS, TIMEOUT, CONNECT_TIMEOUT = 1, 10.0, 4.0


class Pictures:
    """Reads the images of items; a context manager. Safe to call from several threads.

    allow_private: also from web servers with private addresses, as `WebOptions` has it.
    """

    def __init__(self, database: Database, *, allow_private: bool = False, limits: Limits | None = None) -> None:
        self._database = database
        # Without the schema of our own tables, which are not those of the shop.
        self._shop = Database(make_engine(database.url))
        self._limits = limits or Limits()
        self._web = WebOptions(allow_private, timeout=TIMEOUT, connect_timeout=CONNECT_TIMEOUT, attempts=ATTEMPTS)
        self._downloader = Downloader(self._web, self._limits)
        self._objects: ObjectReader | None = None
        self._tables: dict[int, _Table] = {}
        self._follows: dict[int, bool] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Cancel running downloads, and close all connections."""
        self._downloader.close()
        if self._objects is not None:
            self._objects.close()
        self._shop.close()

    def read(self, item_id: int) -> Fetched | Failure:
        """Return the bytes of an item. Raises DatabaseError alone: whatever is wrong with the image is a Failure.

        Codes: those of `cataloger.fetch.prefetch` and `cataloger.fetch.http`; source.unknown_item,
        source.outside_root; source.not_in_database for bytes in a table that this database does not have as the last
        sync described it.
        """
        row = self._database.fetch(_find, item_id)
        if row is None:
            return Failure(Item(str(item_id), "", ""), UNKNOWN_ITEM, "there is no such image")
        item = Item(row.key, row.uri, "", product_key=row.product_key)
        if row.kind != "folder" and item.uri.partition("://")[0].lower() in SCHEMES:
            answer = self._downloader.get(replace(item, url=item.uri))
            return answer if isinstance(answer, Failure) else answer.read()
        if row.kind != "folder" and is_object_address(item.uri):
            return self._object(item, row.kind, row.source_id)
        if row.kind == "table":
            return self._of_table(item, row.source_id)
        root = name_of(row.root)
        if row.kind == "folder":
            return self._file(item, name_of(row.key), root, self._bounds(row.source_id, root))
        name = named_in_manifest(row.key, row.product_key)
        return self._file(item, name_of(name), os.path.dirname(root), _Bounds())

    def shop_source(self, source_id: int) -> ShopSource:
        """Return the table or query of a source as its newest run has described it. Raises CatalogerError."""
        return self._table(source_id).open(self._shop)

    def _of_table(self, item: Item, source_id: int) -> Fetched | Failure:
        table = self._table(source_id)
        if item.uri.startswith("/"):
            root = table.image_root
            bounds = _Bounds() if root is None else self._bounds(source_id, root)
            return self._file(item, name_of(item.uri), root or b"/", bounds)
        return self._blob(item, table)

    def _object(self, item: Item, kind: str, source_id: int) -> Fetched | Failure:
        """Read an object; of a table only below the folders that its newest run has allowed."""
        try:
            address = read_address(item.uri)
            roots = ObjectRoots(self._table(source_id).object_roots if kind == "table" else (address.store,))
            if not roots.contain(address):
                return Failure(item, OUTSIDE_ROOT, "the object lies below no --object-root of the last run")
            with self._lock:
                self._objects = self._objects or ObjectReader(ObjectStores(self._web), self._limits)
            answer = self._objects.get(replace(item, stored=StoredObject(address.store, address.key)))
        except (ValueError, UsageError) as error:  # e.g. the extra is missing
            return Failure(item, "fetch.error", str(error))
        return answer.read() if isinstance(answer, Downloaded) else answer

    def _bounds(self, source_id: int, root: bytes) -> "_Bounds":
        """Return where the files of a source may lie: as its newest run has it."""
        if source_id not in self._follows:
            self._follows[source_id] = self._database.fetch(follows_links, source_id)
        return _Bounds(root, None if self._follows[source_id] else root)

    def _file(self, item: Item, name: bytes, root: bytes, bounds: "_Bounds") -> Fetched | Failure:
        path = os.path.normpath(os.path.join(root, name))
        if bounds.of_path is not None and not path.startswith(bounds.of_path.rstrip(b"/") + b"/"):
            return Failure(item, OUTSIDE_ROOT, "the path leads out of its source")
        return read_file(replace(item, path=path), self._limits, bounds.of_file)

    def _blob(self, item: Item, table: "_Table") -> Fetched | Failure:
        try:
            source = table.open(self._shop)
            data = source.read_blob(item.key, self._limits.max_bytes)
        except ImageError as error:
            return Failure(item, error.code, str(error))
        except CatalogerError as error:
            return Failure(item, NOT_IN_DATABASE, f"the table of the image cannot be read here: {error}")
        if data is None:
            return Failure(item, "io.missing", "the row or its image is no longer in the table")
        return Fetched(item, data, hashlib.sha256(data).hexdigest())

    def _table(self, source_id: int) -> "_Table":
        with self._lock:
            if source_id not in self._tables:
                recorded = self._database.fetch(last_table, source_id)
                self._tables[source_id] = _Table(recorded)
            return self._tables[source_id]


class _Bounds(NamedTuple):
    """Folders that a path as it is written, and the file that it leads to, must lie in; None: anywhere.

    A manifest may name files anywhere.
    """

    of_path: bytes | None = None
    of_file: bytes | None = None


class _Table:
    """A product table or query as the newest run over it has described it; opened at most once, also if it fails."""

    def __init__(self, recorded: dict[str, Any] | None) -> None:
        self._recorded = recorded
        self._lock = threading.Lock()
        self._opened: ShopSource | CatalogerError | None = None

    @property
    def image_root(self) -> bytes | None:
        """Folder of the paths; None if there is none, or if it was relative to a folder that is not known."""
        root = (self._recorded or {}).get("image_root")
        return os.path.normpath(os.fsencode(root)) if root and root.startswith("/") else None

    @property
    def object_roots(self) -> tuple[str, ...]:
        """Folders of object stores that its images may lie in."""
        return tuple((self._recorded or {}).get("object_roots") or ())

    def open(self, shop: Database) -> ShopSource:
        """Return the table. Raises CatalogerError."""
        with self._lock:
            if self._opened is None:
                try:
                    self._opened = self._source(shop)
                except UnavailableError:
                    raise  # that may be transient
                except CatalogerError as error:
                    self._opened = error
        if isinstance(self._opened, CatalogerError):
            raise self._opened
        return self._opened

    def _source(self, shop: Database) -> ShopSource:
        if self._recorded is None:
            raise CatalogerError("no run has recorded which table it was")
        known = {field.name for field in fields(TableOptions)} - {"where", "version_column"}
        values = {name: value for name, value in self._recorded.items() if name in known}
        plain: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
        }
        return open_shop_source(shop, TableOptions(**plain))


def _find(connection: Connection, item_id: int) -> AnyRow | None:
    query = (
        select(ItemRow.key, ItemRow.uri, ItemRow.product_key, ItemRow.source_id, SourceRow.kind, SourceRow.root)
        .join(SourceRow, SourceRow.id == ItemRow.source_id)
        .where(ItemRow.id == item_id)
    )
    return connection.execute(query).one_or_none()
