"""The rows of a shop's database as items: keys, images, lists and bytes, whatever the rows come from."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Select, case, func, null, select

from cataloger.db import AnyRow, Database
from cataloger.errors import ImageError, UsageError, WrongSourceError
from cataloger.objects import ObjectRoots
from cataloger.records import Blob, Failure, Item
from cataloger.sources import change_tokens
from cataloger.sources.column_sample import ColumnSample
from cataloger.sources.folder import check_folder
from cataloger.sources.image_references import (
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
from cataloger.sources.table_layout import TableLayout
from cataloger.table_options import TableOptions
from cataloger.utils import clean_department, counted

SAMPLE = 20
TWINS = 20


@dataclass(frozen=True, slots=True)
class TableRow:
    """A row by its meaning. keys: identify it. products: name its product. image: its value, of bytes their number.

    version: value of the version column, or the digest of the bytes; None if there is neither.
    """

    keys: tuple[Any, ...]
    products: tuple[Any, ...]
    image: Any
    version: Any = None
    department: Any = None


@dataclass(frozen=True, slots=True)
class Names:
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


class RowSource:
    """The images of rows that a layout selects; what reads the rows is a class of its own.

    The key of an item is the product's, or a JSON array of it and what tells its images apart. After a scan:
    `without_image` counts the rows that have none, `uncertain_queries` the addresses whose query may be a signature.
    """

    kind = "table"
    prefix = ""
    layout: TableLayout

    def __init__(self, database: Database, options: TableOptions, column: str) -> None:
        self.database = database
        self.options = options
        self.without_image = 0
        self.uncertain_queries = 0
        self.left_out: Counter[str] = Counter()
        self.sample = ColumnSample(column)
        self._unread_former: set[str] = set()  # as versions before have recorded them
        self._unread: set[str] = set()  # products with images that could not be told apart from those before
        self._object_roots = ObjectRoots(options.object_roots)
        self._image_root = None if options.image_root is None else os.path.abspath(os.fsencode(options.image_root))

    @property
    def within(self) -> bytes | None:
        """The folder of the paths, if there is one."""
        return self._image_root

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

    def is_excluded(self, _key: str) -> bool:
        """No row is left out but by a condition."""
        return False

    def require_root(self) -> None:
        """Raise SourceError when --image-root is not there any more, or empty."""
        if self._image_root is not None:
            check_folder(self._image_root, may_be_empty=False)

    def close(self) -> None:
        """Let go of what is kept for this source alone; its database stays open."""

    def begin(self) -> None:
        """Begin a scan: nothing is counted yet."""
        self.without_image = self.uncertain_queries = 0
        self.sample.begin()
        self._unread.clear()
        self._unread_former.clear()

    def selected(self) -> Select[Any]:
        """Return the statement of all rows, without conditions and in no order."""
        layout = self.layout
        image = [func.length(layout.image)] if layout.is_blob else [layout.image]
        extra = [column for column in (layout.version, layout.digest, layout.department) if column is not None]
        columns = [*layout.keys, *layout.products, *image, *extra]
        # Labels, since a column may be selected twice.
        labelled = [column.label(f"c{number}") for number, column in enumerate(columns)]
        return select(*labelled)

    def split(self, row: AnyRow) -> TableRow:
        """Return a row of the statement by its meaning."""
        layout, keys = self.layout, self._key(row)
        end = len(keys) + len(layout.products)
        rest = list(row[end:])
        department = rest.pop() if layout.department is not None else None
        return TableRow(keys, tuple(row[len(keys) : end]), rest[0], rest[1] if len(rest) > 1 else None, department)

    def _key(self, row: AnyRow) -> tuple[Any, ...]:
        return tuple(row[: len(self.layout.keys)])

    def is_empty(self, row: TableRow) -> bool:
        """Tell whether a row has no image; a number is none either, but a fault."""
        return not row.image and (self.layout.is_blob or row.image != 0)

    def subjects(self, names: Names, row: TableRow) -> Iterator[Item | Failure]:
        """Yield the images of a row, one or, of a list, several."""
        image, version = row.image, row.version
        if self.is_empty(row):
            self.without_image += 1
        elif self.layout.is_blob:
            token = "" if version is None else self._token(version)
            item = names.item(f"{self.layout.name}/{names.key}", token, blob=Blob(row.keys, int(image)))
            self.sample.see(None, item)
            yield item
        elif self.options.image_list:
            yield from self._listed(names, image, version)
        else:
            yield self._subject(names, image, self._locate(image), version)

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
        product = clean_values(unpadded(values[:count], self.layout.padded_products))
        clean = join_keys([join_keys(product), *unpadded(values[count:], own)])
        return clean, join_keys([join_keys(values[:count]), *values[count:]])

    def note_unread(self, names: Names) -> None:
        """Note that images of a product cannot be told apart from those before, so that none of them is missing."""
        self._unread.add(names.product)
        self._unread_former.add(names.former_product)

    def _listed(self, names: Names, cell: object, version: object) -> Iterator[Item | Failure]:
        images = split_list(cell, str(self.options.image_list))
        if isinstance(images, ReferenceProblem):
            self.note_unread(names)
            whole = replace(names, key=names.product, former_key=names.former_product)
            failure = Failure(whole.item("", ""), images.code, images.message)
            self.sample.see(cell, failure)
            yield failure
            return
        if not images:
            self.without_image += 1
        seen: Counter[str] = Counter()
        for number, image in enumerate(images, start=1):
            place = self._locate(image)
            # The key names the image and not its place in the list, so that another order changes nothing. Images
            # whose URLs differ in the query alone are told apart by their order.
            name = place.uri if isinstance(place, Location) else f"image {number}"
            if isinstance(place, ReferenceProblem):
                self.note_unread(names)
            seen[name] += 1
            own = [name, *([seen[name]] if seen[name] > 1 else [])]
            key, former = (join_keys([product, *own]) for product in (names.product, names.former_product))
            value = cell if isinstance(image, ReferenceProblem) else image
            yield self._subject(replace(names, key=key, former_key=former), value, place, version)

    def _subject(
        self, names: Names, value: object, place: Location | ReferenceProblem, version: object
    ) -> Item | Failure:
        subject: Item | Failure
        if isinstance(place, ReferenceProblem):
            subject = Failure(names.item("", ""), place.code, place.message)
            self.sample.see(value, subject)
            return subject
        self.uncertain_queries += place.is_uncertain and version is None
        subject = names.item(place.uri, place.version, path=place.path, url=place.url, stored=place.stored)
        self.sample.see(value, subject)  # whose version tells whether there is a file
        return subject if version is None else replace(subject, version=self._token(version))

    def _locate(self, value: object) -> Location | ReferenceProblem:
        return locate(value, self._image_root, self._object_roots)

    def _token(self, version: object) -> str:
        """Return the version token of a version column's value or of a digest."""
        text = text_of(version)
        return change_tokens.of_column(text) if self.layout.digest is None else f"sha256:{text}"

    def _check(self, subjects: Sequence[Item | Failure]) -> None:
        """Raise WrongSourceError or UsageError when a sample holds no images, or paths that start nowhere."""
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
                f"{self.layout.image.name} contains relative paths: give the folder that they start at with "
                "--image-root"
            )


def unpadded(values: Sequence[Any], padded: Sequence[bool]) -> tuple[Any, ...]:
    """Return the values of columns without the blanks that their server has filled them up with."""
    return tuple(
        value.rstrip(" ") if is_padded and isinstance(value, str) else value
        for value, is_padded in zip(values, padded, strict=True)
    )


def _as_bytes(data: Any) -> bytes:
    return data.encode() if isinstance(data, str) else bytes(data)
