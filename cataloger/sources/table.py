"""A product table of a SQL database as items: page by page, without a connection between pages."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Select, func, select

from cataloger.db import AnyRow, Database, explained
from cataloger.errors import (
    CatalogerError,
    DatabaseError,
    SourceError,
    UnavailableError,
    UsageError,
    WrongSourceError,
)
from cataloger.records import Failure, Item
from cataloger.sources.image_references import BAD_VALUE, clean_values, join_keys
from cataloger.sources.row_source import SAMPLE, Names, RowSource, unpadded
from cataloger.sources.table_layout import inspect_layout, odd_keys
from cataloger.table_options import TableOptions

ROWS_PER_READ = 1000

Page = list[tuple[tuple[Any, ...], AnyRow | Failure]]
"""Rows with the values that they are ordered by."""


class TableSource(RowSource):
    """The images of a product table. Raises SourceError at once when the tables cannot be used."""

    def __init__(self, database: Database, options: TableOptions) -> None:
        super().__init__(database, options, f"--image {options.image}")
        self._twins: frozenset[str] = frozenset()
        self._repeated: frozenset[str] | None = None
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
    def is_complete(self) -> bool:
        """True if a scan sees the complete source."""
        return self.options.where is None

    def scan(self) -> Iterator[Item | Failure]:
        """Yield the items, in the order of the keys. Rows added behind the page that was read last are seen."""
        self.begin()
        after: tuple[Any, ...] | None = None
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

    def costs(self) -> list[str]:
        """Return, line by line, how the database reads a page of the rows."""
        return self.database.fetch(explained, self._page(None, ROWS_PER_READ))

    def nothing_found(self) -> str:
        """Return why a scan found nothing."""
        narrowed = " under --where" if self.options.where else ""
        empty = f"; {self.options.image} is empty in all {self.without_image} of them" if self.without_image else ""
        return f"{self.layout.name} has no rows with an image{narrowed}{empty}"

    def _page(self, after: tuple[Any, ...] | None, size: int) -> Select[Any]:
        layout = self.layout
        return self.selected().where(*layout.after(after)).order_by(*layout.keys).limit(size)

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
            self.note_unread(names)
            text = f"the database cannot give the row: {error}"
            return [(keys, Failure(names.item("", ""), BAD_VALUE, text))]

    def _subjects(self, row: AnyRow) -> Iterator[Item | Failure]:
        parts = self.split(row)
        names = self._names(parts.products, parts.keys)
        if self.layout.department is not None:
            names = replace(names, department=parts.department)
        return self.subjects(names, parts)

    def _names(self, products: Sequence[Any], keys: Sequence[Any]) -> Names:
        """Return the key of a row and of its product, and what they were before they were cleaned."""
        former = join_keys(products)
        values = unpadded(products, self.layout.padded_products)
        product = join_keys(values if join_keys(values) in self._twins else clean_values(values))
        own = unpadded(keys, self.layout.padded_keys)
        key = join_keys([product, *(own[index] for index in self.layout.own)])
        return Names(key, product, join_keys([former, *(keys[index] for index in self.layout.own)]), former)

    def _find_twins(self, page: Sequence[AnyRow]) -> frozenset[str]:
        """Return the products of a page that, once clean, would have the key of another product of the table."""
        start, end = len(self.layout.keys), len(self.layout.keys) + len(self.layout.products)
        odd: dict[str, tuple[Any, ...]] = {}
        for row in page:
            values = unpadded(row[start:end], self.layout.padded_products)
            if (clean := clean_values(values)) != values:
                odd[join_keys(values)] = clean
        if not odd:
            return frozenset()
        if self._repeated is None:
            self._repeated = self.database.fetch(self._find_repeated)
        query = select(*self.layout.parents).where(self.layout.of_parents(list(odd.values()))).distinct()
        try:
            taken = {join_keys(unpadded(row, self.layout.padded_products)) for row in self.database.rows(query)}
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
            values = unpadded(row, self.layout.padded_products)
            if (clean := clean_values(values)) != values:
                key = join_keys(clean)
                if hash(key) in met:
                    repeated.add(key)
                met.add(hash(key))
        return frozenset(repeated)

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
        self._check([subject for row in sample for subject in self._subjects(row)])
