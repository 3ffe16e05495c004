"""Rows of the shop's tables besides the product table: one a product, or one for each category of a product.

They are read and written as cells are (`product_table`): a row that is not there has cells with the value ABSENT.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Integer, bindparam, cast, delete, func, insert, literal, select
from sqlalchemy.dialects import mysql
from sqlalchemy.types import NullType

from cataloger.db import AnyRow, TableInfo
from cataloger.ledger import WHOLE_ROW, OtherTarget
from cataloger.schema import key_hash
from cataloger.sources import clean_values, join_keys
from cataloger.writeback.column_values import ABSENT, Cell, RowCell, shown_row
from cataloger.writeback.product_table import Cells, ProductRow, ProductTable


class OtherTable(ProductTable):
    """Rows of another table. fixed: what all of them have in other columns, as these store it. added: what those that
    are added have.
    """

    def __init__(self, info: TableInfo, target: OtherTarget, cells: Iterable[Cell], dialect: str) -> None:
        super().__init__(info, target.keys, cells)
        self.target = target
        self.dialect = dialect
        self.fixed, self.added = (
            {name: Cell(name, info.columns[name], dialect).wanted(value) for name, value in pairs}
            for pairs in (target.constants, (*target.constants, *target.values))
        )

    def label(self, column: str) -> str:
        """Return how a column is called in counts; "" if it is not counted."""
        return "" if column == WHOLE_ROW else self.target.label(column)

    def any_key(self, connection: Connection) -> tuple[Any, ...] | None:
        """Return the keys of some product that has a row, under whatever condition."""
        query = select(*self._keys()).where(*(column.is_not(None) for column in self._keys()))
        row = connection.execute(query.limit(1)).first()
        return None if row is None else tuple(row)

    def ids_of(self, key: str) -> tuple[Any, ...] | None:
        """Return the values of the keys for a product; None if the table cannot have it."""
        typed = self._typed(key, self.dialect)
        return None if typed is None else tuple(forms[0] for forms in typed)

    def repeated(self, connection: Connection) -> tuple[Any, ...] | None:
        """Return the keys of a product that has several rows; None if there is none."""
        query = select(*self._keys()).where(*self.conditions()).group_by(*self._keys()).having(func.count() > 1)
        row = connection.execute(query.limit(1)).first()
        return None if row is None else tuple(row)

    def _odd_rows(self, _connection: Connection) -> dict[str, tuple[Any, ...]]:
        return {}  # looking for them reads all of a table that may be much larger than that of the products

    def _fixed(self) -> list[ColumnElement[Any]]:
        return [self.rows.c[name] == literal(value, NullType()) for name, value in self.fixed.items()]

    def _insert(self, connection: Connection, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Add rows with keys, fixed values and columns of these names, in this order."""
        values = {name: self._bound(name, number) for number, name in enumerate([*self.ids, *self.added, *names])}
        parameters = [{f"v{number}": value for number, value in enumerate(row)} for row in rows]
        if parameters:
            connection.execute(insert(self.rows).values(values), parameters)

    def _bound(self, name: str, number: int) -> ColumnElement[Any]:
        bound = bindparam(f"v{number}", type_=NullType())
        return self.cells[name].bind(bound) if name in self.cells else bound

    def _delete(self, connection: Connection, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Delete the rows with these keys and values of columns."""
        where = []
        for number, name in enumerate((*self.ids, *names)):
            bound = bindparam(f"k{number}", type_=NullType())
            where += [self.rows.c[name] == bound, *self._exactly(name, bound)]
        parameters = [{f"k{number}": value for number, value in enumerate(row)} for row in rows]
        if parameters:
            connection.execute(delete(self.rows).where(*where, *self._fixed()), parameters)

    def _exactly(self, name: str, bound: ColumnElement[Any]) -> list[ColumnElement[bool]]:
        """Return what holds of a text only as it is written, and not of one that the server takes for the same."""
        column, kind = self.rows.c[name], Cell(name, self.info.columns[name], self.dialect).kind
        if kind != "text" or self.dialect == "postgresql":
            return []
        if self.dialect == "sqlite":
            return [column.collate("BINARY") == bound]
        return [cast(column, mysql.CHAR(charset="utf8mb4")).collate("utf8mb4_bin") == bound]


class RowTable(OtherTable):
    """One row a product. adds_rows: products without a row have cells, too, which are ABSENT."""

    def __init__(
        self, info: TableInfo, target: OtherTarget, cells: Sequence[Cell], dialect: str, *, adds_rows: bool
    ) -> None:
        super().__init__(info, target, cells, dialect)
        self.adds_rows = adds_rows
        if adds_rows:
            self.cells[WHOLE_ROW] = RowCell(WHOLE_ROW, Integer(), dialect)
        ours = {*target.keys, *self.fixed, *self.cells, *info.computed}
        self._others = [Cell(name, kind, dialect) for name, kind in info.columns.items() if name not in ours]

    def read(self, connection: Connection, products: dict[str, str], *, lock: bool) -> dict[str, ProductRow]:
        """Return the rows of products by the hash of their keys; those without one as ABSENT if rows are added."""
        rows = super().read(connection, products, lock=lock)
        for product in (products.keys() - rows.keys()) if self.adds_rows else ():
            if (ids := self.ids_of(products[product])) is not None:
                rows[product] = self.absent(ids)
        return rows

    def absent(self, ids: tuple[Any, ...]) -> ProductRow:
        """Return the row of a product that has none."""
        return ProductRow(ids, dict.fromkeys(self.cells, ABSENT))

    def update(self, connection: Connection, changes: Iterable[tuple[ProductRow, Cells]]) -> None:
        """Set cells of rows, add rows that are not there, and delete those that are to be ABSENT."""
        changes = list(changes)
        removed = [row.ids for row, new in changes if new.get(WHOLE_ROW, row) is ABSENT]
        self._delete(connection, (), removed)
        added = [(row, new) for row, new in changes if row.cells.get(WHOLE_ROW) is ABSENT]
        for row, new in added:
            names = [name for name in new if name != WHOLE_ROW]
            self._insert(connection, names, [[*row.ids, *self.added.values(), *(new[name] for name in names)]])
        kept = [change for change in changes if change[0].ids not in removed and change not in added]
        super().update(connection, kept)

    def delete(self, connection: Connection, row: ProductRow) -> None:
        """Delete the row of a product."""
        self._delete(connection, (), [row.ids])

    def _query(self) -> Any:
        columns = [*self._keys(), *(self._read(cell) for cell in self._shops()), *map(self._read, self._others)]
        return select(*(column.label(f"c{number}") for number, column in enumerate(columns)))

    def _shops(self) -> list[Cell]:
        return [cell for name, cell in self.cells.items() if name != WHOLE_ROW]

    def _read(self, cell: Cell) -> ColumnElement[Any]:
        return cell.read(self.rows.c[cell.name])

    def _product_row(self, row: AnyRow) -> ProductRow:
        keys, names = len(self.ids), [cell.name for cell in self._shops()]
        end = keys + len(names)
        cells = dict(zip(names, row[keys:end], strict=True))
        if self.adds_rows:
            others = zip((cell.name for cell in self._others), row[end:], strict=True)
            cells[WHOLE_ROW] = shown_row(dict(others))
        return ProductRow(tuple(row[:keys]), cells)


class LinkTable(OtherTable):
    """A row for each category of a product. A category, as text, is a column here: ABSENT, or what is in its row."""

    def __init__(self, info: TableInfo, target: OtherTarget, dialect: str) -> None:
        super().__init__(info, target, (), dialect)
        assert target.category is not None
        self._category = Cell(target.category, info.columns[target.category], dialect)
        ours = {*target.keys, *self.fixed, target.category, *info.computed}
        self._others = [Cell(name, kind, dialect) for name, kind in info.columns.items() if name not in ours]
        self._link = RowCell(target.category, Integer(), dialect)

    def cell(self, _column: str) -> Cell:
        """Return what stands for the row of a category."""
        return self._link

    def has_cell(self, _column: str) -> bool:
        """True: any text may be a category."""
        return True

    def category(self, code: str) -> str:
        """Return a category as the column has it, as text. Raises UnwritableError."""
        return str(self._category.wanted(code))

    def read(self, connection: Connection, products: dict[str, str], *, lock: bool) -> dict[str, ProductRow]:
        """Return the categories of products by the hash of their keys."""
        typed = {product: self._typed(key, self.dialect) for product, key in products.items()}
        known = {product: keys for product, keys in typed.items() if keys is not None}
        cells: dict[str, dict[str, list[dict[str, Any]]]] = {}
        if known:
            query = self._query().where(self._among(list(known.values())), *self.conditions())
            for row in connection.execute(query.with_for_update() if lock else query):
                keys, code, others = row[: len(self.ids)], row[len(self.ids)], row[len(self.ids) + 1 :]
                product = key_hash(join_keys(clean_values(tuple(keys))))
                shown = shown_row(dict(zip((cell.name for cell in self._others), others, strict=True)))
                cells.setdefault(product, {}).setdefault(self._text(code), []).append(shown)
        return {
            product: ProductRow(tuple(forms[0] for forms in keys), _Links(cells.get(product, {})))
            for product, keys in known.items()
        }

    def update(self, connection: Connection, changes: Iterable[tuple[ProductRow, Cells]]) -> None:
        """Add and remove rows. Those to remove come first: a product may have only one at a time."""
        cells = [(row, code, value) for row, new in changes for code, value in new.items()]
        removed = [(*row.ids, self._category.wanted(code)) for row, code, value in cells if value is ABSENT]
        self._delete(connection, [self._category.name], removed)
        added = [(row, code) for row, code, value in cells if value is not ABSENT and row.cells[code] is ABSENT]
        fixed = list(self.added.values())
        rows = [[*row.ids, *fixed, self._category.wanted(code)] for row, code in added]
        self._insert(connection, [self._category.name], rows)

    def delete(self, connection: Connection, row: ProductRow) -> None:
        """Delete the rows of some categories of a product."""
        rows = [(*row.ids, self._category.wanted(code)) for code in row.cells]
        self._delete(connection, [self._category.name], rows)

    def codes(self, connection: Connection, ids: tuple[Any, ...]) -> list[str]:
        """Return the categories of a product, as text."""
        query = select(self.rows.c[self._category.name]).where(self._has(ids), *self.conditions())
        return [self._text(value) for value in connection.scalars(query)]

    def _query(self) -> Any:
        columns = [*self._keys(), *(cell.read(self.rows.c[cell.name]) for cell in (self._category, *self._others))]
        return select(*(column.label(f"c{number}") for number, column in enumerate(columns)))

    def _text(self, value: Any) -> str:
        return str(value).rstrip(" ") if self._category.kind == "text" else str(value)


class _Links(dict[str, Any]):
    """The categories of a product; all others are ABSENT."""

    def __init__(self, rows: Mapping[str, Sequence[dict[str, Any]]]) -> None:
        super().__init__({code: found[0] if len(found) == 1 else {"rows": found} for code, found in rows.items()})

    def __missing__(self, _code: str) -> Any:
        return ABSENT


def other_table(info: TableInfo, target: OtherTarget, columns: Sequence[str], dialect: str) -> OtherTable:
    """Return the rows of another table that a run has written to. columns: of its cells."""
    if target.kind == "links":
        return LinkTable(info, target, dialect)
    cells = [Cell(column, info.columns[column], dialect) for column in columns if column in info.columns]
    return RowTable(info, target, cells, dialect, adds_rows=True)
