"""Pictures to show beside what is recorded of them: the bytes of images that the ledger knows, and thumbnails.

Only what an item of the ledger names is read: a file, where its source finds it; an address, as it was recorded,
without its query string; or bytes in a column of a table that lies in the same database.
"""

import hashlib
import io
import os
import threading
from dataclasses import fields, replace
from typing import Any, Self

from PIL import Image as PillowImage
from sqlalchemy import Connection, select

from cataloger.db.database import Database
from cataloger.db.models import Item as ItemRow
from cataloger.db.models import Source
from cataloger.db.session import make_engine
from cataloger.db.types import AnyRow
from cataloger.download import Downloader
from cataloger.errors import CatalogerError, ImageError, UnavailableError
from cataloger.fetch import read_file
from cataloger.options import Limits, PreprocessSpec, TableOptions, WebOptions
from cataloger.preprocess import FORMATS, load
from cataloger.records import Failure, Fetched, Item
from cataloger.run_records import last_table
from cataloger.sources.locations import OUTSIDE_ROOT, SCHEMES
from cataloger.sources.names import name_of
from cataloger.sources.table import TableSource
from cataloger.thumbnails import as_jpeg

UNKNOWN_ITEM = "source.unknown_item"
NOT_IN_DATABASE = "source.not_in_database"

# A picture is shown to somebody who waits; a run has more patience.
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
        web = WebOptions(allow_private, timeout=TIMEOUT, connect_timeout=CONNECT_TIMEOUT, attempts=ATTEMPTS)
        self._downloader = Downloader(web, self._limits)
        self._tables: dict[int, _Table] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give up what is on its way, and close all connections."""
        self._downloader.close()
        self._shop.close()

    def read(self, item_id: int) -> Fetched | Failure:
        """Return the bytes of an item. Raises DatabaseError alone: whatever is wrong with the image is a Failure.

        Codes: those of `cataloger.fetch` and `cataloger.download`; source.unknown_item; source.outside_root;
        source.not_in_database for bytes in a table that this database does not have as the last sync described it.
        """
        row = self._database.fetch(_find, item_id)
        if row is None:
            return Failure(Item(str(item_id), "", ""), UNKNOWN_ITEM, "there is no such image")
        item = Item(row.key, row.uri, "", product_key=row.product_key)
        if row.kind == "table":
            return self._of_table(item, row.source_id)
        root = name_of(row.root) if row.kind == "folder" else os.path.dirname(name_of(row.root))
        return self._file(item, name_of(row.key), root, is_free=row.kind == "manifest")

    def _of_table(self, item: Item, source_id: int) -> Fetched | Failure:
        table = self._table(source_id)
        if item.uri.partition("://")[0].lower() in SCHEMES:
            answer = self._downloader.get(replace(item, url=item.uri))
            return answer if isinstance(answer, Failure) else answer.read()
        if item.uri.startswith("/"):
            root = table.image_root
            return self._file(item, name_of(item.uri), root or b"/", is_free=root is None)
        return self._blob(item, table)

    def _file(self, item: Item, name: bytes, root: bytes, *, is_free: bool) -> Fetched | Failure:
        """Read a file. is_free: its source may name files anywhere, as a manifest does."""
        path = os.path.normpath(os.path.join(root, name))
        if not is_free and not path.startswith(root.rstrip(b"/") + b"/"):
            return Failure(item, OUTSIDE_ROOT, "the path leads out of its source")
        return read_file(replace(item, path=path), self._limits)

    def _blob(self, item: Item, table: "_Table") -> Fetched | Failure:
        try:
            source = table.open(self._shop)
            data = source.read_blob(item.key, self._limits.max_bytes)
        except ImageError as error:
            return Failure(item, error.code, str(error))
        except CatalogerError as error:
            return Failure(item, NOT_IN_DATABASE, f"the table of the image cannot be read here: {error}")
        if data is None:
            return Failure(item, "io.missing", "the row or its image is not there any more")
        return Fetched(item, data, hashlib.sha256(data).hexdigest())

    def _table(self, source_id: int) -> "_Table":
        with self._lock:
            if source_id not in self._tables:
                recorded = self._database.fetch(last_table, source_id)
                self._tables[source_id] = _Table(recorded)
            return self._tables[source_id]


class _Table:
    """A product table as the newest run over it has described it; looked at once, also if it is not there."""

    def __init__(self, recorded: dict[str, Any] | None) -> None:
        self._recorded = recorded
        self._lock = threading.Lock()
        self._opened: TableSource | CatalogerError | None = None

    @property
    def image_root(self) -> bytes | None:
        """Folder of the paths; None if there is none, or if it was relative to a folder that is not known."""
        root = (self._recorded or {}).get("image_root")
        return os.path.normpath(os.fsencode(root)) if root and root.startswith("/") else None

    def open(self, shop: Database) -> TableSource:
        """Return the table. Raises CatalogerError."""
        with self._lock:
            if self._opened is None:
                try:
                    self._opened = self._source(shop)
                except UnavailableError:
                    raise  # that may pass
                except CatalogerError as error:
                    self._opened = error
        if isinstance(self._opened, CatalogerError):
            raise self._opened
        return self._opened

    def _source(self, shop: Database) -> TableSource:
        if self._recorded is None:
            raise CatalogerError("no run has recorded which table it was")
        known = {field.name for field in fields(TableOptions)} - {"where", "version_column", "image_root"}
        values = {name: value for name, value in self._recorded.items() if name in known}
        plain: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
        }
        return TableSource(shop, TableOptions(**plain))


def _find(connection: Connection, item_id: int) -> AnyRow | None:
    query = (
        select(ItemRow.key, ItemRow.uri, ItemRow.product_key, ItemRow.source_id, Source.kind, Source.root)
        .join(Source, Source.id == ItemRow.source_id)
        .where(ItemRow.id == item_id)
    )
    return connection.execute(query).one_or_none()


def thumbnail(data: bytes, longest: int, *, limits: Limits | None = None) -> bytes:
    """Return a small JPEG of an image: upright, on white, without any metadata. Raises ImageError.

    longest: of its sides, pixels; a smaller image keeps its size. It is decoded in this process, with the limits and
    the formats of tagging: an image that is recorded as ok has been through the same decoder before, in a child.
    """
    loaded = load(data, PreprocessSpec(size=_needed(data, longest)), limits or Limits())
    return as_jpeg(loaded.pixels, loaded.width, loaded.height, longest)


def _needed(data: bytes, longest: int) -> int:
    """Return the side of the square to decode to, pixels: a small image need not be enlarged first."""
    try:
        with PillowImage.open(io.BytesIO(data), formats=FORMATS) as image:
            return min(longest, max(image.size))
    except Exception:  # noqa: BLE001 - whatever is wrong with it, the decoder says it better
        return longest
