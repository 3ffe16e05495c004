"""The tables of cataloger: opening a database that has them, and by what an item is found in them."""

from cataloger.schema.key_hash import key_hash
from cataloger.schema.open import open_database, open_for_planning, open_results, open_source

__all__ = ["key_hash", "open_database", "open_for_planning", "open_results", "open_source"]
