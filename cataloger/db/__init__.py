"""Access to any database: URLs, connections, errors of drivers, paging, reflection, column types.

Does not depend on our tables. Imports only the ground modules.
"""

from cataloger.db.clock import utc_now
from cataloger.db.connections import connect, connected, make_engine
from cataloger.db.database import Database
from cataloger.db.driver_errors import driver_message, is_transient, translate_driver_error
from cataloger.db.odd_values import accept_odd_values
from cataloger.db.paging import is_among, row_pages, slices, value_pages
from cataloger.db.reflection import BINARY_TYPES, TableInfo, TableName, describe
from cataloger.db.sessions import quote_schema
from cataloger.db.statistics import Statistics
from cataloger.db.types import AnyRow, UtcDateTime, digest, exact_name, exact_text, identifier, sanitize_text
from cataloger.db.upsert import insert_rows, upsert_rows
from cataloger.db.urls import BUSY_TIMEOUT, DatabaseURL
from cataloger.db.user_select import explained, one_select, select_as_table, select_names

__all__ = [
    "BINARY_TYPES",
    "BUSY_TIMEOUT",
    "AnyRow",
    "Database",
    "DatabaseURL",
    "Statistics",
    "TableInfo",
    "TableName",
    "UtcDateTime",
    "accept_odd_values",
    "connect",
    "connected",
    "describe",
    "digest",
    "driver_message",
    "exact_name",
    "exact_text",
    "explained",
    "identifier",
    "insert_rows",
    "is_among",
    "is_transient",
    "make_engine",
    "one_select",
    "quote_schema",
    "row_pages",
    "sanitize_text",
    "select_as_table",
    "select_names",
    "slices",
    "translate_driver_error",
    "upsert_rows",
    "utc_now",
    "value_pages",
]
