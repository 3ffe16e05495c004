"""Buffers of downloads: their bytes wait here until they are read.

Separate from `cataloger.fetch.http`, so that a run without downloads loads no HTTP client.
"""

from dataclasses import dataclass, field, replace
from tempfile import SpooledTemporaryFile

from cataloger.records import Fetched, Item
from cataloger.sources import with_validators

BUFFER_BYTES = 2_000_000
"""Bytes that are kept in memory; a larger body goes to a temporary file."""


@dataclass(slots=True)
class Downloaded:
    """The body of an item, `size` bytes, in memory or, if it is large, in a temporary file without a name.

    content_hash: SHA-256 of the body, hexadecimal. validators: what the server says of the version it sent (RFC 9110,
    8.8), "" if nothing. Read it or close it, once.
    """

    item: Item
    content_hash: str
    size: int
    validators: str
    body: SpooledTemporaryFile[bytes] = field(repr=False)

    def read(self) -> Fetched:
        """Return the bytes and close the file. Raises OSError, and ValueError the second time."""
        with self.body:
            self.body.seek(0)
            item = replace(self.item, version=with_validators(self.item.version, self.validators))
            return Fetched(item, self.body.read(), self.content_hash)

    def close(self) -> None:
        """Discard the bytes."""
        self.body.close()
