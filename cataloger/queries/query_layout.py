"""The columns of a query, checked before any work: which name a product, tell its images apart, hold the image."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Subquery, Text, cast, func, select

from cataloger.db import TableName, one_select, select_as_table, select_names
from cataloger.errors import WrongSourceError
from cataloger.sources import TableLayout, digest_of
from cataloger.table_options import QUERY_COLUMNS, TableOptions

FLAG = "--image-query"
PRODUCT, IMAGE_ID, IMAGE, VERSION, DEPARTMENT = QUERY_COLUMNS


def inspect_query(connection: Connection, options: TableOptions) -> TableLayout:
    """Return what to select of a query; none of its rows but one is read for that.

    Raises UsageError unless it is one SELECT, and WrongSourceError for a column that it does not give.
    """
    query = one_select(str(options.query), FLAG)
    columns = _Columns(select_names(connection, query))
    rows = select_as_table(query, columns.names)
    ids = [columns.find(name, "--id") for name in options.ids or (PRODUCT,)]
    own = [columns.find(name, "--image-id") for name in options.image_ids]
    if not own and not options.image_list:
        own = columns.find_usual(IMAGE_ID)
    image = rows.c[columns.find(options.image or IMAGE, "--image")]
    is_blob = _holds_bytes(connection, rows, image)
    if is_blob and options.image_list:
        raise WrongSourceError(f"{FLAG}: {image.name} holds bytes; --image-list is for text and arrays")
    version = [columns.find(options.version_column, "--version-column")] if options.version_column else []
    version = version or columns.find_usual(VERSION)
    department = options.department_column
    return TableLayout(
        name=TableName(options.name or "image-query"),
        rows=rows,
        keys=tuple(rows.c[name] for name in (*ids, *own)),
        products=tuple(rows.c[name] for name in ids),
        own=tuple(range(len(ids), len(ids) + len(own))),
        parents=tuple(rows.c[name] for name in ids),
        padded_keys=(False,) * (len(ids) + len(own)),
        padded_products=(False,) * len(ids),
        image=image,
        is_blob=is_blob,
        version=rows.c[version[0]] if version else None,
        digest=digest_of(connection.dialect.name, image) if is_blob and not version else None,
        conditions=(),
        department=rows.c[columns.find(department, "--department-column")] if department else None,
    )


class _Columns:
    """The columns of a query, by the names that it gives them."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names

    def find(self, name: str, flag: str) -> str:
        """Return a column as the query names it: exactly so, or in other letters. Raises WrongSourceError."""
        found = self.find_usual(name)
        if not found:
            raise WrongSourceError(
                f"{FLAG} gives no column {name}, but {', '.join(self.names)}: name it in the query with "
                f"AS {name}, or its own name with {flag}"
            )
        return found[0]

    def find_usual(self, name: str) -> list[str]:
        """Return the column of a name, if there is one. Raises WrongSourceError for two of them."""
        exact = [each for each in self.names if each == name]
        found = exact or [each for each in self.names if each.lower() == name.lower()]
        if len(found) > 1:
            raise WrongSourceError(f"{FLAG} gives the column {name} twice: rename one of them with AS")
        return found


def _holds_bytes(connection: Connection, rows: Subquery, image: ColumnElement[Any]) -> bool:
    """Look at a value, or at its type; of bytes nothing but their beginning is read."""
    dialect = connection.dialect.name
    if dialect == "sqlite":
        kind: Any = func.typeof(image)
    else:
        kind = cast(func.pg_typeof(image), Text) if dialect == "postgresql" else func.left(image, 1)
    found = connection.scalar(select(kind).select_from(rows).where(image.is_not(None)).limit(1))
    return found in ("blob", "bytea") or isinstance(found, bytes)
