"""The locks that a conversion of our tables needs on PostgreSQL, taken before the first table is changed.

A reader of a view locks the view, then its tables. A conversion changes tables, then replaces the views: it holds the
table that a reader waits for, and waits for the view that the reader holds, until the server ends one of the two.
Therefore it takes the views first, then all tables in one statement. Whoever comes later waits for the end.
"""

from typing import Any

from sqlalchemy import Connection, bindparam, inspect, text

from cataloger.schema.models import Base

# Anything that asks for a view alone, and changes nothing of it: LOCK TABLE would lock the tables below it, too.
VIEWS = text(
    r"""
    SELECT c.relname, pg_get_userbyid(c.relowner) FROM pg_class c
    WHERE c.relkind = 'v' AND pg_table_is_visible(c.oid) AND c.relname IN :names ORDER BY c.relname
    """
).bindparams(bindparam("names", expanding=True))
VIEW_NAMES = tuple(
    f"cataloger_{name}"
    for name in ("image_codes", "image_labels", "image_top5", "product_codes", "product_images", "product_top5")
)


def lock_tables(connection: Connection) -> None:
    """Take the locks, until the transaction ends. On other engines nothing is done: they have no such locks."""
    if connection.dialect.name != "postgresql":
        return
    quote: Any = connection.dialect.identifier_preparer.quote
    for view, owner in connection.execute(VIEWS, {"names": VIEW_NAMES}).all():
        connection.exec_driver_sql(f"ALTER VIEW {quote(view)} OWNER TO {quote(owner)}")
    there = sorted(Base.metadata.tables.keys() & set(inspect(connection).get_table_names()))
    if there:
        connection.exec_driver_sql(f"LOCK TABLE {', '.join(map(quote, there))} IN ACCESS EXCLUSIVE MODE")
