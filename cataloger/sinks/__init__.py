"""Where results go: the database and output files. Imports `ledger`, `writeback`, `schema`, `db`, `utils`."""

from cataloger.sinks import files
from cataloger.sinks.database import DatabaseSink
from cataloger.sinks.renewed_items import ItemRenewer

__all__ = ["DatabaseSink", "ItemRenewer", "files"]
