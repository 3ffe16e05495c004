"""One SELECT that a person gives: checked to be that alone, and used as a table in statements of ours."""

import re
from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ClauseElement,
    ColumnClause,
    Connection,
    Executable,
    Select,
    Subquery,
    column,
    literal_column,
    select,
    text,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import quoted_name
from sqlalchemy.sql.compiler import SQLCompiler

from cataloger.errors import UsageError

# In standard SQL; a text with a backslash before its quote is taken for longer than it is, and at worst refused.
_TEXT_OR_COMMENT = re.compile(r"""('(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`)|--[^\n]*|/\*.*?\*/""", re.DOTALL)
_BEGINNING = re.compile(r"(select|with)\b|\(\s*select\b", re.IGNORECASE)
_EXPLAIN = {"sqlite": "EXPLAIN QUERY PLAN"}


def one_select(query: str, flag: str = "--query") -> str:
    """Return a query without its last semicolon. Raises UsageError unless it is a single SELECT."""
    # As long as the query, so that a place in one is a place in the other.
    plain = _TEXT_OR_COMMENT.sub(lambda found: ("'" if found[1] else " ") * len(found[0]), query)
    if not _BEGINNING.match(plain.lstrip()):
        raise UsageError(f"{flag} must be a SELECT; nothing else is run")
    while plain.rstrip().endswith(";"):
        plain = plain.rstrip()[:-1]
        query = query[: len(plain)]
    if ";" in plain:
        raise UsageError(f"{flag} contains more than one statement; give a single SELECT")
    return query.strip()


def select_names(connection: Connection, query: str) -> list[str]:
    """Return the names of the columns that a SELECT gives, without its rows."""
    everything: Select[Any] = select(literal_column("*")).select_from(select_as_table(query, ())).limit(0)
    return list(connection.execute(everything).keys())


def select_as_table(query: str, names: Sequence[str]) -> Subquery:
    """Return a SELECT for the FROM of another one. names: of all its columns, in their order."""
    columns: list[ColumnClause[Any]] = [column(quoted_name(name, quote=True)) for name in names]
    # The line breaks keep a comment at its end from reaching our SQL.
    return text(f"\n{_literal(query)}\n").columns(*columns).subquery("cataloger_query")


def explained(connection: Connection, statement: Select[Any]) -> list[str]:
    """Return what the database says of how it would run a statement, line by line; the statement is not run."""
    result = connection.execute(_Explain(statement))
    names = list(result.keys())
    return [_line(names, row) for row in result]


class _Explain(Executable, ClauseElement):
    """The question of what a statement costs."""

    inherit_cache = False

    def __init__(self, statement: Select[Any]) -> None:
        self.statement = statement


@compiles(_Explain)
def _explain(element: _Explain, compiler: SQLCompiler, **_options: Any) -> str:
    verb = _EXPLAIN.get(compiler.dialect.name, "EXPLAIN")
    return f"{verb} {compiler.process(element.statement)}"


def _line(names: Sequence[str], row: Sequence[Any]) -> str:
    """Return a row of a plan: PostgreSQL has one text in each, SQLite one at the end, MySQL cells with names."""
    if len(row) == 1 or names[-1] == "detail":
        return str(row[-1])
    return ", ".join(f"{name} {value}" for name, value in zip(names, row, strict=True) if value is not None)


def _literal(query: str) -> str:
    """Return SQL in which no colon begins one of our parameters."""
    return query.replace(":", "\\:")
