"""What write-back needs, checked before any work: one database, a table with transactions, columns that fit."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from sqlalchemy import JSON, Connection, Double, Float, String, false, inspect, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError

from cataloger.contracts import DECISIONS, MAX_LABEL_LENGTH
from cataloger.db import Database, DatabaseURL, TableInfo, TableName, describe, driver_message, is_transient
from cataloger.errors import SourceError, UsageError
from cataloger.ledger import LabelCode
from cataloger.options import WriteOptions
from cataloger.table_options import TableOptions
from cataloger.writeback.column_values import Cell, UnwritableError
from cataloger.writeback.plan import WritePlan, top5_json
from cataloger.writeback.product_table import ProductRow, ProductTable
from cataloger.writeback.shadow_table import quoted_in, shadow

FITS = {
    "label": ("text", "integer", "any"),
    "name": ("text", "any"),
    "parent": ("text", "integer", "any"),
    "decision": ("text", "any"),
    "confidence": ("float", "decimal", "any"),
    "top5_json": ("json", "text", "any"),
}
ENGINES = ("MyISAM", "Aria")
"""Engines of MySQL and MariaDB that are written to although they have no transactions."""
_NEW_NAME = re.compile(r"[^\W\d][\w -]*")
"""Of a column that may be added: whoever writes a dot or quotes means a column of another table."""

NEEDS = {"confidence": "a column of fractions", "top5_json": "a column of JSON or of text"}


@dataclass(frozen=True, slots=True)
class PossibleAnswers:
    """What can be answered: the labels of the model, the shop's categories by label, if any, and how many per row."""

    labels: tuple[str, ...]
    categories: Mapping[str, LabelCode]
    top_k: int

    def values(self, name: str) -> list[Any]:
        """Return everything that a field may be, or examples of it; None among them if it may be empty."""
        kind = kind_of(name)
        if kind == "decision":
            return [None, *DECISIONS]
        if kind == "confidence":
            return self._ranked(name, [0.0, 0.1234, 1.0])
        codes = [self.categories[label].code if self.categories else label for label in self.labels]
        if kind == "label":
            return self._ranked(name, sorted(set(codes)))
        if kind == "top5_json":
            return [top5_json([(code, 0.1234) for code in sorted(codes, key=len)[-self.top_k :]])]
        found = {getattr(self.categories[label], kind) for label in self.labels}
        return self._ranked(name, sorted(found, key=lambda value: value or ""))

    def _ranked(self, name: str, values: list[Any]) -> list[Any]:
        is_always = int(name.rpartition("_")[2]) <= min(self.top_k, len(self.labels))
        return values if is_always else [None, *values]


def kind_of(name: str) -> str:
    """Return what a field is, without its rank."""
    return name if name in ("top5_json", "decision") else name.rpartition("_")[0]


def check_database(shop: DatabaseURL, ledger: DatabaseURL | None) -> None:
    """Raise UsageError unless the ledger is in the database of the products: one transaction must write both."""
    if ledger is not None and (shop.backend, shop.server) != (ledger.backend, ledger.server):
        raise UsageError(
            "--write needs cataloger's tables in the database of the products, so that one transaction writes both; "
            "leave out --ledger-db or --write"
        )


class TableCheck:
    """Checks a table that is written to. database: the ledger's, which is the shop's too. flag: that names it."""

    def __init__(self, database: Database, name: TableName, flag: str) -> None:
        self.database = database
        self.name = name
        self.flag = flag
        self.dialect = database.engine.dialect.name
        self.info = self._describe()

    def check_kind(self, advice: str) -> None:
        """Raise UsageError for a view, or a table of an engine that keeps no rows. advice: for a view."""
        if self.info.is_view:
            raise UsageError(f"{self.flag} needs a table; {self.name} is a view{advice}")
        if self.info.plain_engine not in (None, *ENGINES):
            raise UsageError(
                f"{self.flag} needs a table whose rows can be changed and stay; {self.name} is of the engine "
                f"{self.info.plain_engine}: make it InnoDB"
            )

    def check_map(self, columns: Iterable[tuple[str, str]], answers: PossibleAnswers) -> None:
        """Raise UsageError for fields that need a label map where there is none."""
        for column, name in columns:
            if kind_of(name) in ("name", "parent") and not answers.categories:
                raise UsageError(
                    f"{self.flag} {column}={name} needs a --label-map, which has the shop's {kind_of(name)}s"
                )

    def _describe(self) -> TableInfo:
        return self.database.fetch(describe, self.name, self.flag)

    def check_column(self, cell: Cell, name: str, answers: PossibleAnswers) -> None:
        """Raise UsageError for a column that cannot take a field."""
        flag, kind = f"{self.flag} {cell.name}={name}", kind_of(name)
        if cell.name in self.info.computed:
            raise UsageError(f"{flag}: the database fills {cell.name} itself")
        if cell.kind not in FITS[kind]:
            needed = NEEDS.get(kind, "a column of text")
            raise UsageError(f"{flag} needs {needed}; {cell.name} of {self.name} is {_type_name(cell.type)}")
        if any(frozenset(unique) == {cell.name} for unique in self.info.uniques):
            raise UsageError(f"{flag}: {cell.name} of {self.name} is unique, but many products have the same answer")
        if cell.name in self.info.not_null and None in answers.values(name):
            raise UsageError(f"{flag}: {cell.name} of {self.name} is NOT NULL, but there may be no {name}")

    def require_privilege(self, connection: Connection, columns: Iterable[str]) -> None:
        """Try to update columns of no row: the privilege is required even without any."""
        rows = self.info.clause()
        if nothing := {rows.c[column]: rows.c[column] for column in columns}:
            connection.execute(update(rows).where(false()).values(nothing))
        if self.dialect == "postgresql":
            connection.exec_driver_sql("SET CONSTRAINTS ALL IMMEDIATE")

    @contextmanager
    def trial(self, connection: Connection, products: ProductTable) -> Iterator[None]:
        """Have what is done to the table meanwhile taken back.

        A table without transactions takes nothing back: a copy with one of its rows and with its rules takes its
        place, which no other session sees.
        """
        with shadow(connection, products) if self.info.plain_engine else nullcontext():
            trial = connection.begin_nested()
            try:
                yield
            finally:
                trial.rollback()

    def try_values(
        self,
        connection: Connection,
        products: ProductTable,
        row: ProductRow,
        columns: Iterable[tuple[str, str]],
        answers: PossibleAnswers,
    ) -> None:
        """Write all that may be written to one row, and roll it back. Raises UsageError."""
        for column, name in columns:
            tried = ((value, self._trial(connection, products, row, column, value)) for value in answers.values(name))
            self.refuse(f"{self.flag} {column}={name}", [(value, why) for value, why in tried if why is not None])

    def refuse(self, flag: str, refused: Sequence[tuple[Any, str]]) -> None:
        """Raise UsageError if the table has refused values. refused: with the reasons."""
        if refused:
            (value, why), others = refused[0], len(refused) - 1
            more = f" (and {others} more values)" if others else ""
            raise UsageError(f"{flag}: {self.name} does not accept {value!r}: {why}{more}")

    def _trial(
        self, connection: Connection, products: ProductTable, row: ProductRow, column: str, value: Any
    ) -> str | None:
        """Write a value and roll it back; return why that does not work."""
        cell = products.cell(column)
        savepoint = connection.begin_nested()
        try:
            wanted = cell.wanted(value)
            products.update(connection, [(row, {column: wanted})])
            after = products.read_again(connection, row)
            stored = None if after is None else after.cells[column]
            return None if cell.is_same(stored, wanted) else f"it is stored as {stored!r}"
        except (UnwritableError, DBAPIError) as error:
            return self.why(error)
        finally:
            savepoint.rollback()

    def why(self, error: UnwritableError | DBAPIError) -> str:
        """Return why a value was refused; raise what says nothing of the value."""
        if isinstance(error, UnwritableError):
            return str(error)
        if is_transient(error):
            raise error
        return driver_message(error, self.database.url)


class WriteCheck(TableCheck):
    """Checks the columns of the product table."""

    def __init__(self, database: Database, name: TableName, table: TableOptions, options: WriteOptions) -> None:
        self.table = table
        self.options = options
        super().__init__(database, name, "--write")

    @property
    def missing(self) -> list[str]:
        """Columns that are to be written and do not exist."""
        return [column for column, _ in self.options.columns if column not in self.info.columns]

    def plan(self, answers: PossibleAnswers) -> WritePlan:
        """Return what to write, tried out on the table itself. Raises UsageError."""
        cells = [Cell(column, self.info.columns[column], self.dialect) for column, _ in self.options.columns]
        products = ProductTable(self.info, self.table.ids, cells, self.table.where)
        for cell, (_, name) in zip(cells, self.options.columns, strict=True):
            self.check_column(cell, name, answers)
        self.database.write(self._try, products, answers)
        return WritePlan(products, self.options, self.options.columns, answers.categories, self.info.defaults)

    def check_table(self, answers: PossibleAnswers) -> None:
        """Raise UsageError for a table that cannot be written to, or a missing column that may not be created."""
        self.check_kind(": name the table behind it with --table")
        taken = {**dict.fromkeys(self.table.ids, "--id")}
        if self.table.image_table is None:
            taken[self.table.image] = "--image"
            if self.table.version_column:
                taken[self.table.version_column] = "--version-column"
        for column, name in self.options.columns:
            if column in taken:
                raise UsageError(f"--write {column}={name}: {column} is read as {taken[column]}; name another column")
        self.check_map(self.options.columns, answers)
        for column in self.missing:
            if not _NEW_NAME.fullmatch(column):
                raise UsageError(
                    f"--write {column}={dict(self.options.columns)[column]}: only columns of {self.name} can be "
                    f"written; it has no column {column!r}, and a new one gets a name of letters, digits and _"
                )
        if self.missing and not self.options.create_columns:
            try:
                self.info.require(self.missing, "--write")
            except SourceError as error:
                raise UsageError(f"{error}; --create-columns adds it") from error

    def create_columns(self) -> list[str]:
        """Add the columns that are missing; return their names."""
        created = self.missing
        for column in created:
            self.database.write(Connection.exec_driver_sql, self._add(column, dict(self.options.columns)[column]))
        if created:
            self.info = self._describe()
        return created

    def _add(self, column: str, name: str) -> str:
        dialect = self.database.engine.dialect
        kind: Any = {"confidence": Double(), "decision": String(16), "top5_json": JSON()}.get(
            kind_of(name), String(MAX_LABEL_LENGTH)
        )
        if kind_of(name) == "top5_json" and self.dialect == "postgresql":
            kind = postgresql.JSONB()
        if self.dialect == "sqlite" and isinstance(kind, Float):
            kind = Float()
        own, added = quoted_in(dialect, self.name), quoted_in(dialect, TableName(column))
        return f"ALTER TABLE {own} ADD COLUMN {added} {kind.compile(dialect)}"

    def _describe(self) -> TableInfo:
        return self.database.fetch(describe, self.name, "--table")

    def _try(self, connection: Connection, products: ProductTable, answers: PossibleAnswers) -> None:
        """Write everything that may be written to one row and roll it back: only the database knows all its rules."""
        self.require_privilege(connection, products.cells)
        with self.trial(connection, products):
            row = products.any_row(connection)
            if row is not None:
                self.try_values(connection, products, row, self.options.columns, answers)


def _type_name(kind: Any) -> str:
    return str(kind)  # SQLAlchemy gives types that no standard has their names


def qualified(shop: Database, name: TableName, schema: str | None) -> TableName:
    """Return the name of a table of the shop as it is resolved when cataloger's own tables have a schema."""
    if schema is None or name.schema is not None:
        return name
    return TableName(name.name, shop.fetch(_default_schema))


def _default_schema(connection: Connection) -> str | None:
    return inspect(connection).default_schema_name
