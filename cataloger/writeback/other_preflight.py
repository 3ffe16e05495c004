"""What writing to other tables than that of the products needs, checked before any work."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, delete, false, insert, select
from sqlalchemy.exc import DBAPIError

from cataloger.db import Database, TableName
from cataloger.errors import SourceError, UsageError
from cataloger.ledger import OtherTarget
from cataloger.options import WriteOptions
from cataloger.write_targets import WriteLinkOptions, WriteTableOptions
from cataloger.writeback.column_values import ABSENT, ANY_ROW, Cell, UnwritableError
from cataloger.writeback.other_tables import LinkTable, OtherTable, RowTable
from cataloger.writeback.plan import LinkPlan, WritePlan
from cataloger.writeback.preflight import FITS, PossibleAnswers, TableCheck
from cataloger.writeback.product_table import ProductRow


class OtherCheck(TableCheck):
    """Checks one other table. product: key of some product of the source, for a table that has no row yet.

    ids: how many columns identify a product.
    """

    def __init__(self, database: Database, target: OtherTarget, options: WriteOptions, product: str | None) -> None:
        flag = "--write-link" if target.kind == "links" else "--write-table"
        super().__init__(database, target.table, flag)
        self.target = target
        self.options = options
        self.product = product

    def check(self, ids: int) -> None:
        """Raise UsageError for a table or columns that cannot be used. ids: columns that identify a product."""
        self.check_kind("")
        keys = self.target.keys
        if len(keys) != ids:
            raise UsageError(
                f"{self.flag} {self.name} names a product by {', '.join(keys)}, but {ids} columns identify it"
            )
        constants = [*self.target.constants, *self.target.values]
        category = [self.target.category] if self.target.category else []
        try:
            self.info.require([*keys, *(name for name, _ in constants), *category], self.flag)
        except SourceError as error:
            raise UsageError(str(error)) from error
        for name, value in constants:
            try:
                Cell(name, self.info.columns[name], self.dialect).wanted(value)
            except UnwritableError as error:
                raise UsageError(f"{self.flag} {self.name}: {name}={value}: {error}") from error

    def key(self, connection: Connection, table: OtherTable) -> tuple[Any, ...] | None:
        """Return the keys of a product to try with; None if there is none."""
        found = None if self.product is None else table.ids_of(self.product)
        return found or table.any_key(connection)

    def require_privileges(self, connection: Connection, columns: Sequence[str]) -> None:
        """Try to lock, add and delete no row."""
        rows = self.info.clause()
        nothing = select(*(rows.c[name] for name in columns)).where(false())
        try:
            connection.execute(nothing.with_for_update())
            connection.execute(delete(rows).where(false()))
            connection.execute(insert(rows).from_select(list(columns), nothing))
        except DBAPIError as error:  # MariaDB wants a value for each column that needs one, even of no row
            raise UsageError(
                f"{self.flag} {self.name}: rows cannot be added and deleted: {self.why(error)}"
            ) from error


class RowCheck(OtherCheck):
    """Checks a table with one row a product."""

    def __init__(
        self,
        database: Database,
        name: TableName,
        table: WriteTableOptions,
        options: WriteOptions,
        product: str | None = None,
    ) -> None:
        self.table = table
        super().__init__(database, OtherTarget("rows", name, table.keys, table.where), options, product)

    def plan(self, answers: PossibleAnswers) -> WritePlan:
        """Return what to write, tried out on the table itself. Raises UsageError."""
        columns = self.table.columns
        self.check_map(columns, answers)
        try:
            self.info.require([name for name, _ in columns], self.flag)
        except SourceError as error:
            raise UsageError(str(error)) from error
        cells = [Cell(column, self.info.columns[column], self.dialect) for column, _ in columns]
        for cell, (_, name) in zip(cells, columns, strict=True):
            self.check_column(cell, name, answers)
        rows = RowTable(self.info, self.target, cells, self.dialect, adds_rows=self.table.adds_rows)
        self._check_unique(rows)
        self.database.write(self._try, rows, answers)
        return WritePlan(rows, self.options, columns, answers.categories, self.info.defaults, self.target)

    def _check_unique(self, rows: RowTable) -> None:
        names = [*rows.ids, *rows.fixed]
        if self.info.is_unique(names):
            return
        if (found := self.database.fetch(rows.repeated)) is not None:
            shown = ", ".join(map(str, found))
            raise UsageError(
                f"{self.flag} {self.name}: the product {shown} has several rows; name the one with --write-where"
            )

    def _try(self, connection: Connection, rows: RowTable, answers: PossibleAnswers) -> None:
        names = [name for name, _ in self.table.columns]
        self.require_privilege(connection, names)
        if rows.adds_rows:
            self.require_privileges(connection, [*rows.ids, *rows.added, *names])
        with self.trial(connection, rows):
            row = rows.any_row(connection)
            if rows.adds_rows:
                row = self._added(connection, rows, answers) or row
            if row is not None:
                self.try_values(connection, rows, row, self.table.columns, answers)

    def _added(self, connection: Connection, rows: RowTable, answers: PossibleAnswers) -> ProductRow | None:
        """Add the row of a product instead of the one that it has; None if there is no product to try it with."""
        if (ids := self.key(connection, rows)) is None:
            return None
        removed = ProductRow(ids, dict.fromkeys(rows.cells, ABSENT))
        rows.delete(connection, removed)
        values = {name: next(v for v in answers.values(field) if v is not None) for name, field in self.table.columns}
        savepoint = connection.begin_nested()
        try:
            cells = {name: rows.cell(name).wanted(value) for name, value in values.items()}
            rows.update(connection, [(removed, cells)])
        except (UnwritableError, DBAPIError) as error:
            savepoint.rollback()
            shown = ", ".join(f"{name}={value!r}" for name, value in values.items())
            raise UsageError(
                f"{self.flag} {self.name}: a row with {shown} cannot be added: {self.why(error)}; --write-where can "
                f"name more columns, and --write-existing {self.name} adds no rows"
            ) from error
        savepoint.commit()
        return rows.read_again(connection, removed)


class LinkCheck(OtherCheck):
    """Checks a table that links products with categories."""

    def __init__(
        self,
        database: Database,
        name: TableName,
        link: WriteLinkOptions,
        options: WriteOptions,
        product: str | None = None,
    ) -> None:
        self.fields = link.fields
        target = OtherTarget("links", name, (link.product,), link.constants, link.category, link.values)
        super().__init__(database, target, options, product)

    def plan(self, answers: PossibleAnswers) -> LinkPlan:
        """Return which rows to add and remove, tried out on the table itself. Raises UsageError."""
        assert self.target.category is not None
        cell = Cell(self.target.category, self.info.columns[self.target.category], self.dialect)
        flag = f"{self.flag} {self.name}: {cell.name}"
        if cell.name in self.info.computed:
            raise UsageError(f"{flag}: the database fills {cell.name} itself")
        if cell.kind not in FITS["label"]:
            raise UsageError(f"{flag} is {cell.type}; a category needs a column of text or of whole numbers")
        self.check_map([(cell.name, name) for name in self.fields], answers)
        links = LinkTable(self.info, self.target, self.dialect)
        self.database.write(self._try, links, self._codes(answers))
        return LinkPlan(links, self.options, (), answers.categories, self.info.defaults, self.target, self.fields)

    def _codes(self, answers: PossibleAnswers) -> list[str]:
        found = {str(code) for name in self.fields for code in answers.values(name) if code is not None}
        return sorted(found)

    def _try(self, connection: Connection, links: LinkTable, codes: Sequence[str]) -> None:
        """Add a row for each category and roll it back."""
        assert self.target.category is not None
        self.require_privilege(connection, [])
        self.require_privileges(connection, [*links.ids, self.target.category, *links.added])
        with self.trial(connection, links):
            if (ids := self.key(connection, links)) is None:
                return
            tried = [(code, self._refused(connection, links, ids, [code])) for code in codes]
            if len(self.fields) > 1 and len(codes) > 1 and not any(why for _, why in tried):
                tried = [(", ".join(codes[:2]), self._refused(connection, links, ids, codes[:2]))]
            self.refuse(
                f"{self.flag} {self.name}:{','.join(links.ids)},{self.target.category}",
                [(code, why) for code, why in tried if why is not None],
            )

    def _refused(
        self, connection: Connection, links: LinkTable, ids: tuple[Any, ...], codes: Sequence[str]
    ) -> str | None:
        """Add rows of a product and roll them back; return why that does not work."""
        savepoint = connection.begin_nested()
        try:
            absent = ProductRow(ids, {links.category(code): ABSENT for code in codes})
            links.delete(connection, absent)
            links.update(connection, [(absent, dict.fromkeys(absent.cells, ANY_ROW))])
            stored = links.codes(connection, ids)
            return None if set(absent.cells) <= set(stored) else f"it is stored as {', '.join(stored)}"
        except (UnwritableError, DBAPIError) as error:
            return self.why(error)
        finally:
            savepoint.rollback()
