"""The tables of cataloger: opening a database that has them."""

from cataloger.schema.open import open_database, open_for_planning, open_results, open_source

__all__ = ["open_database", "open_for_planning", "open_results", "open_source"]
