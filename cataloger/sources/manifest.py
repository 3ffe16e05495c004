"""A manifest, CSV or JSONL with a column of paths or web addresses, as items."""

import os
import re
from array import array
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from cataloger.errors import SourceError, WrongSourceError
from cataloger.objects import ObjectRoots
from cataloger.records import Failure, Item
from cataloger.sources import change_tokens
from cataloger.sources.column_sample import ColumnSample
from cataloger.sources.file_keys import find_below, key_of, name_bytes
from cataloger.sources.image_references import (
    Location,
    ReferenceProblem,
    address_of,
    has_scheme,
    join_keys,
    key_of_address,
    locate,
    split_key,
)
from cataloger.tabular import (
    JsonRow,
    RowProblem,
    TableFormatError,
    find_column,
    find_key,
    find_shopify_column,
    open_csv,
    read_json_lines,
    require_regular,
    shopify_columns,
)
from cataloger.utils import clean_name, counted

PATH_COLUMNS = ("path", "file", "image", "filename", "image_path")
JSON_EXTENSIONS = (".jsonl", ".ndjson")
EXTENSIONS = (".csv", ".tsv", *JSON_EXTENSIONS)
MANIFEST_PRESETS = ("shopify",)
"""Files with columns of their own: Shopify's product CSV."""
BAD_ROW = "source.bad_row"

_LINE_KEY = re.compile(r"line \d+")
# Also as JSON may write it, with escaped slashes, and as people do: what may be a host, and a slash behind it.
_ADDRESS = re.compile(
    rb"""https?[:/\\]|/\\?/|[^\s.,;"'/\\]\.[^\s.,;"'/\\]+\\?/|localhost(:\d+)?\\?/|\](:\d+)?\\?/""", re.IGNORECASE
)
_BLOCK = 1 << 20


@dataclass(slots=True)
class ManifestSource:
    """Rows of a manifest. The key of an item is its path as written, or its address without password and signature.

    A picture of several products is an item of each: its key is then a JSON array of the product and the name above.
    path_column: without it the first of PATH_COLUMNS that is there. product_column: names the product, if given.
    Relative paths start at the manifest's folder. A row that cannot be used becomes a failure named after its line.
    objects: where addresses in object stores may lie.
    preset: one of MANIFEST_PRESETS, which knows the columns; its rows may have no image, or several.
    `unread`: rows of the last scan that may name any image, since they could not be read; first_unread: the first.
    """

    path: Path
    path_column: str | None = None
    product_column: str | None = None
    objects: ObjectRoots = field(default_factory=ObjectRoots)
    preset: str | None = None
    prefix: str = ""
    unread: int = 0
    first_unread: str = ""
    left_out: Counter[str] = field(default_factory=Counter)
    uncertain_queries: int = 0
    sample: ColumnSample = field(default_factory=lambda: ColumnSample("the column of the paths"))

    without_image: int = 0

    _shared: tuple[tuple[int, ...], frozenset[int]] | None = field(default=None, init=False, repr=False)

    kind = "manifest"
    within = None
    is_complete = True

    @property
    def root(self) -> str:
        """Identity of the source."""
        return key_of(os.fsencode(self.path))

    @property
    def problems(self) -> list[str]:
        """Say that rows could not be read; each of them is a failure, too."""
        if not self.unread:
            return []
        return [
            f"{counted(self.unread, 'row')} of the manifest {self.path} could not be read, the first in "
            f"{self.first_unread}; images that it does not name any more stay in the views until all rows can be read"
        ]

    def can_be_missing(self, key: str) -> bool:
        """Tell whether an item that the scan did not meet has left: a row that could not be read may name it."""
        return not self.unread or _LINE_KEY.fullmatch(key) is not None

    def is_excluded(self, _key: str) -> bool:
        """No row is left out."""
        return False

    def scan(self) -> Iterator[Item | Failure]:
        """Yield one item per row. Raises SourceError when the file or its columns cannot be used."""
        return self._read(self._scanned())

    def check(self) -> None:
        """Raise SourceError if the file, its header or its first row cannot be used; reads no more than that."""
        next(self._read(self._again().subjects()), None)

    def count(self) -> int:
        """Count the rows; for a progress bar."""
        return sum(1 for _ in self._read(self._again().subjects()))

    def _scanned(self) -> Iterator[Item | Failure]:
        shared = self._find_shared()
        self.unread, self.first_unread, self.uncertain_queries, self.without_image = 0, "", 0, 0
        self.sample.begin()
        for subject in self.subjects():
            yield _of_its_product(subject, shared) if isinstance(subject, Item) else subject

    def _read(self, subjects: Iterator[Item | Failure]) -> Iterator[Item | Failure]:
        """Yield what a reading of the file gives; what goes wrong with the file as a whole is a SourceError."""
        try:
            yield from subjects
        except TableFormatError as error:
            raise SourceError(f"the manifest {self.path} {error}") from error
        except OSError as error:
            raise SourceError(f"the manifest {self.path} cannot be read: {error.strerror}") from error

    def _again(self) -> "ManifestSource":
        """Return a source of the same rows, so that reading them counts nothing here."""
        return ManifestSource(self.path, self.path_column, self.product_column, self.objects, self.preset)

    def _find_shared(self) -> frozenset[int]:
        """Return the hashes of the keys that several products name, by a reading of its own of a changed file.

        All products must be known before the first is named: which of them comes first may change every night.
        """
        if self.product_column is None and self.preset is None:
            return frozenset()
        status = os.stat(self.path)
        file = (status.st_ino, status.st_size, status.st_mtime_ns)
        if self._shared is None or self._shared[0] != file:
            items = (subject for subject in self._again().subjects() if isinstance(subject, Item))
            self._shared = file, _shared_keys(items)
        return self._shared[1]

    def has_addresses(self) -> bool:
        """Tell whether there may be web addresses among the paths. Raises SourceError."""
        try:
            require_regular(self.path)
            with self.path.open("rb") as file:
                end = b""
                while block := file.read(_BLOCK):
                    if _ADDRESS.search(end + block):
                        return True
                    end = block[-16:]
        except OSError as error:
            raise SourceError(f"the manifest {self.path} cannot be read: {error.strerror}") from error
        return False

    def require_root(self) -> None:
        """Do nothing: the paths of a manifest may lead anywhere."""

    def nothing_found(self) -> str:
        """Return why a scan found nothing."""
        return f"the manifest {self.path} has no rows"

    @property
    def _is_json(self) -> bool:
        return self.path.suffix.lower() in JSON_EXTENSIONS

    @property
    def _wanted(self) -> tuple[str, ...]:
        return (self.path_column,) if self.path_column else PATH_COLUMNS

    def subjects(self) -> Iterator[Item | Failure]:
        """Yield the rows, each by the name that stands in it, whoever else names the same picture."""
        if self.preset is None:
            return self._json_subjects() if self._is_json else self._csv_subjects()
        if self._is_json:
            raise WrongSourceError(f"the manifest {self.path} is not CSV, which --preset {self.preset} reads")
        return self._shopify_subjects()

    def _shopify_subjects(self) -> Iterator[Item | Failure]:
        """Yield the images of an export of Shopify: a row has one of its product and of its variant, or none."""
        known = (*shopify_columns.HANDLE, *shopify_columns.TITLE, *shopify_columns.IMAGE)
        with open_csv(self.path, known) as table:
            handle, images = self._shopify_columns(table.names)
            product, met = "", set[str]()
            for row in table.rows():
                if isinstance(row, RowProblem):
                    yield self._unread_row(row)
                    continue
                cells = (*row.cells, *[""] * (len(table.names) - len(row.cells)))
                if cells[handle] != product:
                    product, met = cells[handle], set()
                found = dict.fromkeys(cells[place] for place in images if cells[place].strip())
                self.without_image += not found
                # Each variant names its image again.
                yield from (self._of_handle(row.line, value, product) for value in found if value not in met)
                met.update(found)

    def _shopify_columns(self, names: Sequence[str]) -> tuple[int, list[int]]:
        """Return the positions of the columns of the handle and of images. Raises SourceError."""
        handle = find_shopify_column(shopify_columns.HANDLE, names)
        image = find_shopify_column(shopify_columns.IMAGE, names)
        if handle is None or image is None:
            missing = shopify_columns.HANDLE if handle is None else shopify_columns.IMAGE
            raise WrongSourceError(
                f"the manifest {self.path} is no export of Shopify's products: it has no column "
                f"{' or '.join(map(repr, missing))}; it has {', '.join(names) or 'none'}"
            )
        self.sample.column = f"the column {names[image]!r} of the manifest {self.path}"
        variant = find_shopify_column(shopify_columns.VARIANT_IMAGE, names)
        return handle, [image] if variant is None else [image, variant]

    def _of_handle(self, line: int, value: str, product: str) -> Item | Failure:
        if not product.strip():
            return self._unusable(line, BAD_ROW, "the row has an image, but no handle of its product")
        return self._subject(line, value, product)

    def _csv_subjects(self) -> Iterator[Item | Failure]:
        known = (*self._wanted, *([self.product_column] if self.product_column else []))
        with open_csv(self.path, known) as table:
            path, product = self._columns(table.names)
            for row in table.rows():
                if isinstance(row, RowProblem):
                    yield self._unread_row(row)
                    continue
                cells = (*row.cells, *[""] * (len(table.names) - len(row.cells)))
                yield self._subject(row.line, cells[path], None if product is None else cells[product])

    def _columns(self, names: Sequence[str]) -> tuple[int, int | None]:
        """Return the positions of the columns of the path and of the product. Raises SourceError."""
        found = [position for name in self._wanted if (position := find_column(name, names)) is not None]
        if not found:
            self._no_path_column(names)
        self.sample.column = f"the column {names[found[0]]!r} of the manifest {self.path}"
        product = find_column(self.product_column, names) if self.product_column else None
        if self.product_column and product is None:
            raise WrongSourceError(f"the manifest {self.path} has no column {self.product_column!r} for the products")
        return found[0], product

    def _json_subjects(self) -> Iterator[Item | Failure]:
        is_checked = False
        for row in read_json_lines(self.path):
            if isinstance(row, RowProblem):
                yield self._unread_row(row)
                continue
            if not is_checked:
                self._columns(list(row.values))
                is_checked = True
            yield self._json_subject(row)

    def _json_subject(self, row: JsonRow) -> Item | Failure:
        try:
            path = _value(row.values, self._wanted)
            product = _value(row.values, (self.product_column,) if self.product_column else ())
        except TableFormatError as error:
            return self._unread_row(RowProblem(row.line, row.line, "json", str(error)))
        return self._subject(row.line, path, product)

    def _no_path_column(self, names: Sequence[str]) -> None:
        wanted = " or ".join(repr(name) for name in self._wanted)
        error = WrongSourceError if self.path_column else SourceError
        advice = "Give the column of the paths: --path-column NAME"
        if not self.path_column and find_shopify_column(shopify_columns.IMAGE, names) is not None:
            advice = "It seems to be an export of Shopify: --preset shopify reads it"
        raise error(f"the manifest {self.path} has no column {wanted}; it has {', '.join(names) or 'none'}. {advice}")

    def _unread_row(self, problem: RowProblem) -> Failure:
        return self._unusable(problem.line, BAD_ROW, f"{problem.place} {problem.text}")

    def _unusable(self, line: int, code: str, text: str, *, is_read: bool = False) -> Failure:
        """Return the failure of a row, which is named after its line. is_read: it names no image for certain."""
        if not is_read:
            self.unread += 1
            self.first_unread = self.first_unread or f"line {line}"
        return Failure(Item(key=f"line {line}", uri=f"{self.path}:{line}", version=""), code, text)

    def _subject(self, line: int, value: object, product: object) -> Item | Failure:
        if value is None or (isinstance(value, str) and not value.strip()):
            return self._unusable(line, BAD_ROW, "the row has no path", is_read=True)
        if product is not None and not isinstance(product, str | int | float):
            return self._unusable(line, BAD_ROW, "the product is neither a text nor a number")
        subject = self._named(line, value, product)
        self.sample.see(value, subject)
        return subject

    def _named(self, line: int, value: object, product: str | float | None) -> Item | Failure:
        if not isinstance(value, str) or "\0" in value:
            return self._unusable(line, BAD_ROW, "the row has no path: what stands there is no text")
        place = _locate(value, self.path.parent, self.objects)
        if isinstance(place, ReferenceProblem):
            return self._unusable(line, place.code, place.message)
        key, location = place
        self.uncertain_queries += location.is_uncertain
        written = None if product in (None, "") else str(product)
        clean = None if written is None else clean_name(written)
        former = key_of(name_bytes(value)) if location.path is not None else key
        return Item(
            key=key,
            uri=location.uri,
            version=location.version,
            path=location.path,
            url=location.url,
            stored=location.stored,
            product_key=clean,
            former_key=None if former == key else former,
            former_product=None if written == clean else written,
        )


def named_in_manifest(key: str, product: str | None) -> str:
    """Return the path or address of an item of a manifest: its key, without the product where several name it."""
    parts = split_key(key, 2)
    return parts[1] if product is not None and parts[:1] == (product,) else key


def _of_its_product(item: Item, shared: Container[int]) -> Item:
    """Return an item under a key of its product, where other products name the same picture.

    It had, or will have, the plain key in other nights; what is recorded under that goes on.
    """
    if item.product_key is None:
        return item
    own = join_keys([item.product_key, item.key])
    if hash(item.key) in shared:
        return replace(item, key=own, former_key=item.former_key or item.key)
    return item if item.former_key is not None else replace(item, former_key=own)


def _shared_keys(items: Iterable[Item]) -> frozenset[int]:
    """Return the hashes of the keys that items of several products have. Memory: 16 bytes an item, while it works."""
    hashes = array("q")
    for item in items:
        hashes.extend((hash(item.key), hash(item.product_key)))
    if not hashes:
        return frozenset()
    pairs = np.frombuffer(hashes, np.int64).reshape(-1, 2)
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    is_shared = (pairs[1:, 0] == pairs[:-1, 0]) & (pairs[1:, 1] != pairs[:-1, 1])
    return frozenset(pairs[1:, 0][is_shared].tolist())


def _locate(value: str, folder: Path, objects: ObjectRoots) -> tuple[str, Location] | ReferenceProblem:
    """Return key and place of a path or an address. Unlike in a table, a path may lead anywhere."""
    if has_scheme(value):
        found = locate(value, None, objects)
        if isinstance(found, ReferenceProblem):
            return found
        key = key_of_address(found)
        return key if isinstance(key, ReferenceProblem) else (key, found)
    try:
        name, path = find_below(os.fsencode(folder), value)
    except UnicodeEncodeError:
        text = "the path holds half a surrogate pair, which is not possible in a file name"
        return ReferenceProblem(BAD_ROW, text)
    version = _version(path)
    if not version and (address := address_of(value, os.fsencode(folder))) is not None:
        return _locate(address, folder, objects)
    return key_of(name), Location(key_of(path), version, path=path)


def _value(row: Mapping[str, Any], names: Sequence[str]) -> Any:
    """Return the value of the first key that is there."""
    keys = (find_key(name, row) for name in names)
    return next((row[key] for key in keys if key is not None), None)


def _version(path: bytes) -> str:
    try:
        return change_tokens.of_file(os.stat(path))
    except (OSError, ValueError):  # a name that cannot be one; reading it reports the reason
        return ""
