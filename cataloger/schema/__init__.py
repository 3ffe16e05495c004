"""What cataloger's own tables hold, and by what it is found there. Imports nothing above `cataloger.db`."""

from cataloger.schema.key_hash import key_hash

__all__ = ["key_hash"]
