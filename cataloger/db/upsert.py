"""INSERT that copes with rows that exist already, in the SQL of each engine."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.dialects import mysql, postgresql, sqlite

Rows = Sequence[dict[str, Any]]


def upsert_rows(
    connection: Connection, table: Any, rows: Rows, *, keys: Sequence[str], update: Sequence[str]
) -> None:
    """Insert rows; where one with the same `keys` exists, set its `update` columns, or leave it if there are none.

    table: a mapped class. All rows must have the same columns.
    """
    if not rows:
        return
    name = connection.dialect.name
    if name in ("mysql", "mariadb"):
        statement = mysql.insert(table)
        # Setting a key to itself changes nothing, and unlike INSERT IGNORE it hides no other error.
        columns = update or keys[:1]
        connection.execute(
            statement.on_duplicate_key_update({column: statement.inserted[column] for column in columns}), rows
        )
        return
    insert = (postgresql if name == "postgresql" else sqlite).insert(table)
    if update:
        insert = insert.on_conflict_do_update(
            index_elements=list(keys), set_={column: insert.excluded[column] for column in update}
        )
    else:
        insert = insert.on_conflict_do_nothing(index_elements=list(keys))
    connection.execute(insert, rows)
