"""The rows of the shop's product table, found by the keys of the ledger, and written to."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    LargeBinary,
    Numeric,
    Select,
    and_,
    bindparam,
    literal,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.types import NullType

from cataloger.db import BINARY_TYPES, AnyRow, TableInfo
from cataloger.schema import key_hash
from cataloger.sources import clean_values, join_keys, odd_keys
from cataloger.writeback.column_values import Cell

Cells = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ProductRow:
    """A row of the product table. ids: values of the columns that identify it. cells: column -> value."""

    ids: tuple[Any, ...]
    cells: Cells


class ProductTable:
    """Rows to read and write. ids: columns that identify a product. where: the condition that narrows the rows."""

    def __init__(self, info: TableInfo, ids: Sequence[str], cells: Iterable[Cell], where: str | None = None) -> None:
        self.info = info
        self.ids = tuple(ids)
        self.cells = {cell.name: cell for cell in cells}
        self._where = where
        self.rows = info.clause()
        self._odd: dict[str, tuple[Any, ...]] | None = None

    @property
    def is_plain(self) -> bool:
        """True of a table without transactions."""
        return self.info.plain_engine is not None

    def cell(self, column: str) -> Cell:
        """Return a column that is written."""
        return self.cells[column]

    def has_cell(self, column: str) -> bool:
        """True for a column that is written."""
        return column in self.cells

    def label(self, column: str) -> str:
        """Return how a column is called in counts; "" if it is not counted."""
        return column

    def read(self, connection: Connection, products: dict[str, str], *, lock: bool) -> dict[str, ProductRow]:
        """Return the rows of products by the hash of their keys; missing ones are left out.

        products: hash -> key. lock: lock the rows until the transaction ends.
        """
        dialect = connection.dialect.name
        keys = [typed for key in products.values() if (typed := self._typed(key, dialect)) is not None]
        rows = self._matching(connection, products, self._among(keys), lock=lock) if keys else {}
        if len(rows) == len(products):
            return rows
        odd = self._odd_rows(connection)
        if written := [odd[product] for product in products.keys() - rows.keys() if product in odd]:
            same = or_(*(self._has(values) for values in written))
            rows |= self._matching(connection, products, same, lock=lock)
        return rows

    def _matching(
        self, connection: Connection, products: dict[str, str], condition: ColumnElement[bool], *, lock: bool
    ) -> dict[str, ProductRow]:
        """Return those of some products that have a row of a condition, by hash."""
        query = self._query().where(condition, *self.conditions()).order_by(*self._keys())
        rows: dict[str, ProductRow] = {}
        for row in connection.execute(query.with_for_update() if lock else query):
            # The server may compare less strictly than we do, e.g. without regard to case.
            each = self._product_row(row)
            # An older version has recorded the key as it is written, and so have we if another one is the same clean.
            written, clean = (key_hash(join_keys(values)) for values in (each.ids, clean_values(each.ids)))
            if written in products:
                rows[written] = each
            elif clean in products:
                rows.setdefault(clean, each)
        return rows

    def _odd_rows(self, connection: Connection) -> dict[str, tuple[Any, ...]]:
        """Return the ids of the rows that a clean key does not find, by its hash; looked for once."""
        if self._odd is None:
            columns = self._keys()
            self._odd = {
                key_hash(join_keys(clean_values(values))): values for values in odd_keys(connection, columns)
            }
        return self._odd

    def _has(self, values: Sequence[Any]) -> ColumnElement[bool]:
        return and_(
            *(column == literal(value, NullType()) for column, value in zip(self._keys(), values, strict=True))
        )

    def update(self, connection: Connection, changes: Iterable[tuple[ProductRow, Cells]]) -> None:
        """Set cells of rows; each row may have other columns to set.

        Rows of a table without transactions are not locked: they are set only while the cells are as they were read.
        """
        ordered = sorted(changes, key=lambda change: sorted(change[1]))
        for names, group in groupby(ordered, key=lambda change: sorted(change[1])):
            parameters = [
                {f"k{n}": value for n, value in enumerate(row.ids)}
                | {f"v{n}": cells[name] for n, name in enumerate(names)}
                | ({f"o{n}": row.cells[name] for n, name in enumerate(names)} if self.is_plain else {})
                for row, cells in group
            ]
            connection.execute(self._update(names), parameters)

    def _update(self, names: Sequence[str]) -> Any:
        where = [self.rows.c[name] == bindparam(f"k{n}", type_=NullType()) for n, name in enumerate(self.ids)]
        if self.is_plain:
            before = ((name, bindparam(f"o{n}", type_=NullType())) for n, name in enumerate(names))
            where += [self.cells[name].still(self.rows.c[name], value) for name, value in before]
        values = {
            self.rows.c[name]: self.cells[name].bind(bindparam(f"v{n}", type_=NullType()))
            for n, name in enumerate(names)
        }
        return update(self.rows).where(*where, *self._fixed()).values(values)

    def any_row(self, connection: Connection) -> ProductRow | None:
        """Return a row and lock it; None if there is none."""
        query = self._query().where(*self.conditions(), *(column.is_not(None) for column in self._keys())).limit(1)
        row = connection.execute(query.with_for_update()).first()
        return None if row is None else self._product_row(row)

    def read_again(self, connection: Connection, row: ProductRow) -> ProductRow | None:
        """Return a row as it is now."""
        again = connection.execute(self._query().where(self._has(row.ids), *self._fixed())).first()
        return None if again is None else self._product_row(again)

    def _query(self) -> Select[Any]:
        columns = [*self._keys(), *(cell.read(self.rows.c[name]) for name, cell in self.cells.items())]
        return select(*(column.label(f"c{number}") for number, column in enumerate(columns)))

    def _product_row(self, row: AnyRow) -> ProductRow:
        count = len(self.ids)
        return ProductRow(tuple(row[:count]), dict(zip(self.cells, row[count:], strict=True)))

    def _keys(self) -> list[ColumnElement[Any]]:
        return [self.rows.c[name] for name in self.ids]

    def conditions(self) -> list[ColumnElement[Any]]:
        """Return what holds for each row that is read."""
        return self._fixed() + ([] if self._where is None else [literal_column(f"(\n{self._where}\n)")])

    def _fixed(self) -> list[ColumnElement[Any]]:
        """Return what holds for each row, besides its keys."""
        return []

    def _among(self, keys: Sequence[list[list[Any]]]) -> ColumnElement[bool]:
        columns = self._keys()
        if len(columns) == 1:
            return columns[0].in_([literal(value, NullType()) for key in keys for value in key[0]])
        return or_(
            *(
                and_(
                    *(
                        column.in_([literal(v, NullType()) for v in forms])
                        for column, forms in zip(columns, key, strict=True)
                    )
                )
                for key in keys
            )
        )

    def _typed(self, key: str, dialect: str) -> list[list[Any]] | None:
        """Return the values that a key may mean, for each column; None if it cannot be a key of this table."""
        parts = [key] if len(self.ids) == 1 else json.loads(key)
        try:
            return [
                _forms(part, self.info.columns[name], dialect) for part, name in zip(parts, self.ids, strict=True)
            ]
        except (ValueError, ArithmeticError):
            return None


def _forms(text: str, kind: Any, dialect: str) -> list[Any]:
    """Return the values of a column that have this text in a key."""
    if dialect == "sqlite":
        return _sqlite_forms(text, kind)
    if isinstance(kind, BINARY_TYPES):
        return [bytes.fromhex(text)]
    if isinstance(kind, Integer):
        return [int(text)]
    # Of everything else the server reads the text as a value of the column.
    return [Decimal(text)] if isinstance(kind, Numeric) else [text]


def _sqlite_forms(text: str, kind: Any) -> list[Any]:
    """SQLite reads text as a number where the column has a type for that; without one, it may be either."""
    if not isinstance(kind, NullType | LargeBinary):
        return [text]
    forms: list[Any] = [text]
    for form in (int, float, bytes.fromhex):
        try:
            forms.append(form(text))
        except ValueError:
            continue
    return forms
