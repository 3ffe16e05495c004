"""The hash by which keys of any length are looked up: indexes of some databases take short texts only."""

import hashlib
from functools import lru_cache

CHUNK = 500
"""Keys that are looked up at once."""

CACHED_HASHES = 16 * CHUNK
"""Kept in memory: each is asked for seven times between planning and recording."""


@lru_cache(CACHED_HASHES)
def key_hash(key: str) -> str:
    """Return the SHA-256 by which a key is looked up, hexadecimal."""
    return hashlib.sha256(key.encode("utf-8", "backslashreplace")).hexdigest()
