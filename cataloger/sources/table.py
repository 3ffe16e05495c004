"""A product table of a SQL database as items: page by page, without a connection between pages."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Select, case, func, null, select

from cataloger.db import AnyRow, Database
from cataloger.errors import (
    CatalogerError,
    DatabaseError,
    ImageError,
    SourceError,
    UnavailableError,
    UsageError,
    WrongSourceError,
)
from cataloger.options import TableOptions
from cataloger.records import Blob, Failure, Item
from cataloger.sources import change_tokens
from cataloger.sources.column_sample import ColumnSample
from cataloger.sources.folder import check_folder
from cataloger.sources.image_references import (
    BAD_VALUE,
    RELATIVE_PATH,
    Location,
    ReferenceProblem,
    clean_values,
    first_part,
    join_keys,
    locate,
    split_key,
    split_list,
    text_of,
)
from cataloger.sources.table_layout import inspect_layout
from cataloger.sources.unclean_keys import odd_keys
from cataloger.utils import clean_department, counted

ROWS_PER_READ = 1000
SAMPLE = 20
TWINS = 20

Page = list[tuple[tuple[Any, ...], AnyRow | Failure]]
"""Rows with the values that they are ordered by."""


class TableSource:
    """The images of a product table.

    The key of an item is the product's, or a JSON array of it and what tells its images apart. After a scan:
    `without_image` counts the rows that have none, `uncertain_queries` the addresses whose query may be a signature.
    Raises SourceError at once when the tables cannot be used.
    """

    kind = "table"
    prefix = ""

    def __init__(self, database: Database, options: TableOptions) -> None:
        self.database = database
        self.options = options
        self.without_image = 0
        self.uncertain_queries = 0
        self._twins: frozenset[str] = frozenset()
        self._repeated: frozenset[str] | None = None
        self.left_out: Counter[str] = Counter()
        self.sample = ColumnSample(f"--image {options.image}")
        self._unread_former: set[str] = set()  # as versions before have recorded them
        self._unread: set[str] = set()  # products with images that could not be told apart from those before
        self._image_root = None if options.image_root is None else os.path.abspath(os.fsencode(options.image_root))
        try:
            self.layout = database.fetch(inspect_layout, options)
            self._check_sample()
        except DatabaseError as error:
            if options.where is None or isinstance(error, UnavailableError) or not self._is_readable_without_where():
                raise
            raise WrongSourceError(f"--where {options.where!r}: {error}") from error

    @property
    def root(self) -> str:
        """Identity of the source: its given name, or the server, table and column; never a user or a password."""
        if self.options.name:
            return self.options.name
        return f"{self.database.url.server}/{self.layout.name}#{self.options.image}"

    @property
    def within(self) -> bytes | None:
        """The folder of the paths, if there is one."""
        return self._image_root

    @property
    def is_complete(self) -> bool:
        """True if a scan sees the complete source."""
        return self.options.where is None

    @property
    def problems(self) -> list[str]:
        """Say that lists could not be read; each of them is a failure, too."""
        if not self._unread:
            return []
        some = ", ".join(sorted(self._unread)[:3])
        return [
            f"the images of {counted(len(self._unread), 'product')} could not be read, e.g. of {some}; "
            "those that are known stay in the views"
        ]

    def can_be_missing(self, key: str) -> bool:
        """Tell whether a known item has left: one of a product whose list could not be read may still be in it."""
        return not self._unread or first_part(key) not in (self._unread | self._unread_former)

    def scan(self) -> Iterator[Item | Failure]:
        """Yield the items, in the order of the keys. Rows added behind the page that was read last are seen."""
        self.without_image = 0
        self.sample.begin()
        self._unread.clear()
        self._unread_former.clear()
        after: tuple[Any, ...] | None = None
        self.uncertain_queries = 0
        self._repeated = None
        while page := self._read(after, ROWS_PER_READ):
            self._twins = self._find_twins([row for _, row in page if not isinstance(row, Failure)])
            for _, row in page:
                yield from [row] if isinstance(row, Failure) else self._subjects(row)
            last = page[-1][0]
            if last == after:
                raise SourceError(f"the rows of {self.layout.name} cannot be paged by {', '.join(self.options.ids)}")
            after = last

    def count(self) -> int | None:
        """Count the rows, for a progress bar; None if a row may hold several images."""
        if self.options.image_list:
            return None
        query = select(func.count()).select_from(self.layout.rows).where(*self.layout.after(None))
        return int(self.database.rows(query)[0][0])

    def require_root(self) -> None:
        """Raise SourceError when --image-root is not there any more, or empty."""
        if self._image_root is not None:
            check_folder(self._image_root, may_be_empty=False)

    def nothing_found(self) -> str:
        """Return why a scan found nothing."""
        narrowed = " under --where" if self.options.where else ""
        empty = f"; {self.options.image} is empty in all {self.without_image} of them" if self.without_image else ""
        return f"{self.layout.name} has no rows with an image{narrowed}{empty}"

    def read_blobs(self, items: Sequence[Item]) -> dict[str, bytes]:
        """Return the bytes of items by key, in one statement; missing rows and null values are left out."""
        rows = {item.blob.row: item.key for item in items if item.blob is not None}
        query = select(*self.layout.keys, self.layout.image).where(self.layout.at(list(rows)))
        found = ((rows.get(self._key(row)), row[-1]) for row in self.database.rows(query))
        return {key: _as_bytes(data) for key, data in found if key is not None and data is not None}

    def read_blob(self, key: str, max_bytes: int) -> bytes | None:
        """Return the bytes of one item by its key; None if it is missing or null. Raises ImageError.

        Unlike `read_blobs` it needs no scan before; what is larger than `max_bytes` is not read.
        """
        layout = self.layout
        product, *own = split_key(key, 1 + len(layout.own)) or ("",)
        named = layout.named(split_key(product, len(layout.products)), tuple(own))
        columns = (*layout.products, *(layout.keys[position] for position in layout.own))
        is_small = func.length(layout.image) <= max_bytes
        image = case((is_small, layout.image), else_=null())
        for row in self.database.rows(select(*columns, is_small, image).where(named).limit(TWINS)):
            *values, fits, data = row
            if key in self._joined(values) and fits is not None:  # "A" and "a" are the same to some collations
                if not fits:
                    raise ImageError.too_many_bytes(max_bytes)
                return _as_bytes(data)
        return None

    def _joined(self, values: Sequence[Any]) -> tuple[str, str]:
        """Return the key of a row: as it is recorded, and as versions before did and as one of twins has it."""
        count, own = len(self.layout.products), [self.layout.padded_keys[index] for index in self.layout.own]
        product = clean_values(_unpadded(values[:count], self.layout.padded_products))
        clean = join_keys([join_keys(product), *_unpadded(values[count:], own)])
        return clean, join_keys([join_keys(values[:count]), *values[count:]])

    def _page(self, after: tuple[Any, ...] | None, size: int) -> Select[Any]:
        layout = self.layout
        image = [func.length(layout.image)] if layout.is_blob else [layout.image]
        extra = [column for column in (layout.version, layout.digest, layout.department) if column is not None]
        columns = [*layout.keys, *layout.products, *image, *extra]
        # Labels, since a column may be selected twice.
        labelled = [column.label(f"c{number}") for number, column in enumerate(columns)]
        return select(*labelled).where(*layout.after(after)).order_by(*layout.keys).limit(size)

    def _read(self, after: tuple[Any, ...] | None, size: int) -> Page:
        """Return the next rows with their keys; a row that the database cannot give is a failure."""
        try:
            return [(self._key(row), row) for row in self.database.rows(self._page(after, size))]
        except UnavailableError:
            raise
        except DatabaseError as error:
            page = self._read_one_by_one(after, size)
            if after is None and all(isinstance(row, Failure) for _, row in page):
                raise error  # no row is to blame
            return page

    def _read_one_by_one(self, after: tuple[Any, ...] | None, size: int) -> Page:
        layout = self.layout
        columns = [column.label(f"c{number}") for number, column in enumerate((*layout.keys, *layout.products))]
        known = select(*columns).where(*layout.after(after)).order_by(*layout.keys).limit(size)
        return [pair for row in self.database.rows(known) for pair in self._read_one(row)]

    def _read_one(self, known: AnyRow) -> Page:
        keys = self._key(known)
        try:
            return [(keys, row) for row in self.database.rows(self._page(None, 1).where(self.layout.at([keys])))]
        except UnavailableError:
            raise
        except DatabaseError as error:
            names = self._names(known[len(keys) :], keys)
            self._note_unread(names)
            text = f"the database cannot give the row: {error}"
            return [(keys, Failure(names.item("", ""), BAD_VALUE, text))]

    def _key(self, row: AnyRow) -> tuple[Any, ...]:
        return tuple(row[: len(self.layout.keys)])

    def _subjects(self, row: AnyRow) -> Iterator[Item | Failure]:
        keys, start = self._key(row), len(self.layout.keys)
        products, rest = row[start : start + len(self.layout.products)], row[start + len(self.layout.products) :]
        names = self._names(products, keys)
        if self.layout.department is not None:
            names, rest = replace(names, department=rest[-1]), rest[:-1]
        image, version = rest[0], (rest[1] if len(rest) > 1 else None)
        if not image and (self.layout.is_blob or image != 0):
            self.without_image += 1
        elif self.layout.is_blob:
            token = "" if version is None else self._token(version)
            item = names.item(f"{self.layout.name}/{names.key}", token, blob=Blob(keys, int(image)))
            self.sample.see(None, item)
            yield item
        elif self.options.image_list:
            yield from self._listed(names, image, version)
        else:
            yield self._subject(names, image, locate(image, self._image_root), version)

    def _names(self, products: Sequence[Any], keys: Sequence[Any]) -> "_Names":
        """Return the key of a row and of its product, and what they were before they were cleaned."""
        former = join_keys(products)
        values = _unpadded(products, self.layout.padded_products)
        product = join_keys(values if join_keys(values) in self._twins else clean_values(values))
        own = _unpadded(keys, self.layout.padded_keys)
        key = join_keys([product, *(own[index] for index in self.layout.own)])
        return _Names(key, product, join_keys([former, *(keys[index] for index in self.layout.own)]), former)

    def _find_twins(self, page: Sequence[AnyRow]) -> frozenset[str]:
        """Return the products of a page that, once clean, would have the key of another product of the table."""
        start, end = len(self.layout.keys), len(self.layout.keys) + len(self.layout.products)
        odd: dict[str, tuple[Any, ...]] = {}
        for row in page:
            values = _unpadded(row[start:end], self.layout.padded_products)
            if (clean := clean_values(values)) != values:
                odd[join_keys(values)] = clean
        if not odd:
            return frozenset()
        if self._repeated is None:
            self._repeated = self.database.fetch(self._find_repeated)
        query = select(*self.layout.parents).where(self.layout.of_parents(list(odd.values()))).distinct()
        try:
            taken = {join_keys(_unpadded(row, self.layout.padded_products)) for row in self.database.rows(query)}
        except UnavailableError:
            raise
        except DatabaseError:  # what is clean may be no value of the column, e.g. of an enumeration
            return frozenset(odd)
        taken |= self._repeated
        return frozenset(key for key, clean in odd.items() if join_keys(clean) in taken)

    def _find_repeated(self, connection: Connection) -> frozenset[str]:
        """Return the clean keys that several products of the table would have, each odd as it is written."""
        met: set[int] = set()
        repeated = set()
        for row in odd_keys(connection, self.layout.parents):
            values = _unpadded(row, self.layout.padded_products)
            if (clean := clean_values(values)) != values:
                key = join_keys(clean)
                if hash(key) in met:
                    repeated.add(key)
                met.add(hash(key))
        return frozenset(repeated)

    def _note_unread(self, names: "_Names") -> None:
        self._unread.add(names.product)
        self._unread_former.add(names.former_product)

    def _listed(self, names: "_Names", cell: object, version: object) -> Iterator[Item | Failure]:
        images = split_list(cell, str(self.options.image_list))
        if isinstance(images, ReferenceProblem):
            self._note_unread(names)
            whole = replace(names, key=names.product, former_key=names.former_product)
            failure = Failure(whole.item("", ""), images.code, images.message)
            self.sample.see(cell, failure)
            yield failure
            return
        if not images:
            self.without_image += 1
        seen: Counter[str] = Counter()
        for number, image in enumerate(images, start=1):
            place = locate(image, self._image_root)
            # The key names the image and not its place in the list, so that another order changes nothing. Images
            # whose URLs differ in the query alone are told apart by their order.
            name = place.uri if isinstance(place, Location) else f"image {number}"
            if isinstance(place, ReferenceProblem):
                self._note_unread(names)
            seen[name] += 1
            own = [name, *([seen[name]] if seen[name] > 1 else [])]
            key, former = (join_keys([product, *own]) for product in (names.product, names.former_product))
            yield self._subject(replace(names, key=key, former_key=former), image, place, version)

    def _subject(
        self, names: "_Names", value: object, place: Location | ReferenceProblem, version: object
    ) -> Item | Failure:
        subject: Item | Failure
        if isinstance(place, ReferenceProblem):
            subject = Failure(names.item("", ""), place.code, place.message)
            self.sample.see(value, subject)
            return subject
        self.uncertain_queries += place.is_uncertain and version is None
        subject = names.item(place.uri, place.version, path=place.path, url=place.url)
        self.sample.see(value, subject)  # whose version tells whether there is a file
        return subject if version is None else replace(subject, version=self._token(version))

    def _token(self, version: object) -> str:
        """Return the version token of a version column's value or of a digest."""
        text = text_of(version)
        return change_tokens.of_column(text) if self.layout.digest is None else f"sha256:{text}"

    def _is_readable_without_where(self) -> bool:
        """Tell whether the condition alone is the cause of an error."""
        try:
            TableSource(self.database, replace(self.options, where=None))
        except UsageError:
            return True  # the rows were read
        except CatalogerError:
            return False
        return True

    def _check_sample(self) -> None:
        """Try the very statement of the scan, so that --where, privileges and paths are proved before any work."""
        sample = [row for _, row in self._read(None, SAMPLE) if not isinstance(row, Failure)]
        subjects = [subject for row in sample for subject in self._subjects(row)]
        failures = [subject for subject in subjects if isinstance(subject, Failure)]
        if not failures or len(failures) < len(subjects):
            return
        drawn, is_relative = self.sample.drawn, all(failure.code == RELATIVE_PATH for failure in failures)
        # Texts of another kind may be faults of these rows alone.
        is_certain = is_relative or not any(isinstance(each.value, str) for each in drawn)
        if is_certain and all(each.verdict() == "no" for each in drawn):
            raise WrongSourceError(self.sample.complaint(drawn))
        if is_relative:
            raise UsageError(
                f"{self.options.image} contains relative paths: give the folder that they start at with --image-root"
            )


@dataclass(frozen=True, slots=True)
class _Names:
    """The names of an image and its product, and those that versions before recorded, which were not cleaned."""

    key: str
    product: str
    former_key: str
    former_product: str
    department: object = None

    def item(self, uri: str, token: str, **values: Any) -> Item:
        """Return the item of these names."""
        former_key = None if self.former_key == self.key else self.former_key
        former_product = None if self.former_product == self.product else self.former_product
        values |= {"former_key": former_key, "former_product": former_product}
        values["department"] = clean_department(self.department)
        return Item(self.key, uri, token, product_key=self.product, **values)


def _unpadded(values: Sequence[Any], padded: Sequence[bool]) -> tuple[Any, ...]:
    """Return the values of columns without the blanks that their server has filled them up with."""
    return tuple(
        value.rstrip(" ") if is_padded and isinstance(value, str) else value
        for value, is_padded in zip(values, padded, strict=True)
    )


def _as_bytes(data: Any) -> bytes:
    return data.encode() if isinstance(data, str) else bytes(data)
