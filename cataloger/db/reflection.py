"""Tables of the shop: finding one by its name and describing it; types and values as the driver gives them."""

import difflib
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import (
    BINARY,
    VARBINARY,
    ColumnClause,
    Connection,
    LargeBinary,
    TableClause,
    column,
    inspect,
    table,
    text,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import Inspector
from sqlalchemy.exc import DBAPIError, SAWarning
from sqlalchemy.sql import quoted_name

from cataloger.errors import UsageError, WrongSourceError

# A name is bare, without dots and quotes, or in double quotes, in which "" means one.
_PART = re.compile(r'\s*(?:"((?:[^"]|"")+)"|([^".\s][^".]*?))\s*(?:\.|$)')


# A text or a number in parentheses or without, in PostgreSQL with the type that it is cast to.
_CONSTANT = re.compile(r"\(*(?:'((?:[^']|'')*)'|(-?\d+(?:\.\d+)?))\)*(?:::[\w\s\".()]+)?\)*\Z")

BINARY_TYPES = (LargeBinary, BINARY, VARBINARY, mysql.TINYBLOB, mysql.MEDIUMBLOB, mysql.LONGBLOB)


@dataclass(frozen=True, slots=True)
class TableName:
    """Name of a table or view, exactly as the database has it."""

    name: str
    schema: str | None = None

    @classmethod
    def parse(cls, text: str) -> "TableName":
        """Read `table`, `schema.table`, or either part in double quotes. Raises UsageError."""
        parts, position = [], 0
        while position < len(text):
            match = _PART.match(text, position)
            if match is None:
                break
            parts.append((match[1] or match[2]).replace('""', '"'))
            position = match.end()
        if position < len(text) or text.endswith(".") or len(parts) not in (1, 2):
            raise UsageError(f'{text!r} is not the name of a table; write products, shop.products or shop."My.Table"')
        return cls(parts[-1], parts[0] if len(parts) == 2 else None)

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}" if self.schema else self.name


@dataclass(frozen=True, slots=True)
class TableInfo:
    """A table as the database describes it. columns: name -> type. uniques: sets that do not repeat, nulls aside.

    computed: columns that the database fills itself. is_view: it is a view, not a table. defaults: of columns, as
    text, where that is a constant. plain_engine: engine of a MySQL table without transactions.
    """

    name: TableName
    columns: dict[str, Any]
    not_null: frozenset[str]
    primary_key: tuple[str, ...]
    uniques: tuple[frozenset[str], ...]
    computed: frozenset[str] = frozenset()
    is_view: bool = False
    defaults: Mapping[str, str] = field(default_factory=dict)
    plain_engine: str | None = None

    def clause(self, alias: str | None = None) -> Any:
        """Return the table for use in a statement; every identifier is quoted as it is."""
        columns: list[ColumnClause[Any]] = [column(quoted_name(name, True)) for name in self.columns]
        schema = quoted_name(self.name.schema, True) if self.name.schema else None
        clause: TableClause = table(quoted_name(self.name.name, True), *columns, schema=schema)
        return clause.alias(alias) if alias else clause

    def require(self, names: Iterable[str], flag: str) -> None:
        """Raise WrongSourceError unless all columns exist; the message suggests the nearest one."""
        for name in names:
            if name not in self.columns:
                missing = _missing(f"the column in {self.name}", name, list(self.columns))
                raise WrongSourceError(f"{flag} {name}: {missing}")

    def is_binary(self, name: str) -> bool:
        """True for a column of bytes."""
        return isinstance(self.columns[name], BINARY_TYPES)

    def is_unique(self, names: Sequence[str]) -> bool:
        """True when the database guarantees that these columns never repeat in rows without a null in them."""
        return any(key and key <= frozenset(names) for key in (frozenset(self.primary_key), *self.uniques))


def describe(connection: Connection, name: TableName, flag: str) -> TableInfo:
    """Look a table or view up. Raises WrongSourceError with the nearest names when it is not there."""
    with warnings.catch_warnings():
        # Types of extensions and indexes over expressions: SQLAlchemy does not support them, we do not need them.
        warnings.simplefilter("ignore", SAWarning)
        info = _describe(inspect(connection), name, flag)
    return replace(info, plain_engine=_plain_engine(connection, name))


def _plain_engine(connection: Connection, name: TableName) -> str | None:
    if connection.dialect.name not in ("mysql", "mariadb"):
        return None
    query = text(
        "SELECT t.engine FROM information_schema.tables t LEFT JOIN information_schema.engines e "
        "ON e.engine = t.engine WHERE t.table_name = :name AND t.table_schema = COALESCE(:schema, DATABASE()) "
        "AND COALESCE(e.transactions, 'NO') <> 'YES'"
    )
    found = connection.scalar(query.bindparams(name=name.name, schema=name.schema))
    return None if found is None else str(found)


def _describe(inspector: Inspector, name: TableName, flag: str) -> TableInfo:
    _find(inspector, name, flag)
    table, schema = name.name, name.schema
    columns = inspector.get_columns(table, schema)
    primary_key = inspector.get_pk_constraint(table, schema).get("constrained_columns") or ()
    uniques = [each["column_names"] for each in inspector.get_unique_constraints(table, schema)]
    # A partial index is unique only among the rows that it covers, and one over an expression has no column there.
    # SQLite has an index of its own for what is UNIQUE in a column's definition, which is not always read otherwise.
    own = {"include_auto_indexes": True} if inspector.dialect.name == "sqlite" else {}
    indexes = inspector.get_indexes(table, schema, **own)
    uniques += [i["column_names"] for i in indexes if i["unique"] and not _is_partial(i)]  # type: ignore[misc]
    return TableInfo(
        name,
        # Bytes in a domain of PostgreSQL are bytes all the same.
        {str(each["name"]): getattr(each["type"], "data_type", each["type"]) for each in columns},
        frozenset(str(each["name"]) for each in columns if not each["nullable"]),
        tuple(str(each) for each in primary_key),
        tuple(frozenset(names) for names in uniques if None not in names),
        frozenset(str(each["name"]) for each in columns if each.get("computed") or _is_always(each.get("identity"))),
        table in inspector.get_view_names(schema),
        {str(each["name"]): value for each in columns if (value := _constant(each.get("default"))) is not None},
    )


def _constant(default: Any) -> str | None:
    """Return the value of a column's default; None if it has none, NULL, or an expression."""
    found = _CONSTANT.match(default) if isinstance(default, str) else None
    if found is None:
        return None
    return found[1].replace("''", "'") if found[1] is not None else str(found[2])


def _is_always(identity: Any) -> bool:
    return bool(identity and identity.get("always"))


def _find(inspector: Inspector, name: TableName, flag: str) -> None:
    """Raise WrongSourceError unless there is such a table or view."""
    schema = name.schema
    if schema and schema not in inspector.get_schema_names():
        raise WrongSourceError(f"{flag} {name}: {_missing('the schema', schema, inspector.get_schema_names())}")
    known = [*inspector.get_table_names(schema), *inspector.get_view_names(schema)]
    if inspector.dialect.name == "postgresql":
        known += inspector.get_materialized_view_names(schema)
    if name.name not in known and not _is_unlisted(inspector, name, known):
        shops = [each for each in known if not each.startswith("cataloger_")]
        raise WrongSourceError(f"{flag} {name}: {_missing('the table', name.name, shops)}")


def _is_unlisted(inspector: Inspector, name: TableName, known: Sequence[str]) -> bool:
    """True for a table of another server and one that keeps its history; not for the same name in other letters."""
    if name.name.lower() in (each.lower() for each in known):
        return False
    try:
        return inspector.has_table(name.name, name.schema)
    except DBAPIError:
        # MySQL does not say whether a table exists that may not be read: it may as well be a spelling mistake.
        if _near(name.name, known):
            return False
        raise


def _is_partial(index: Any) -> bool:
    options = index.get("dialect_options", {})
    return any(key.endswith("_where") and value is not None for key, value in options.items())


def _missing(what: str, name: str, known: Sequence[str]) -> str:
    if offered := _near(name, known):
        return f"{what} does not exist; did you mean {' or '.join(offered)}?"
    listed = ", ".join(sorted(known)[:12]) + (", ..." if len(known) > 12 else "")
    return f"{what} does not exist; there are: {listed}" if known else f"{what} does not exist; there is none"


def _near(name: str, known: Sequence[str]) -> list[str]:
    near = difflib.get_close_matches(name.lower(), [each.lower() for each in known], n=3)
    return [each for each in known if each.lower() in near]
