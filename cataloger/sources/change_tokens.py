"""Version tokens: what is recorded with a result to tell the next time whether its image has changed.

    1234-1700000000000000000      a file: size in bytes and modification time in nanoseconds
    url:https://shop/a.jpg        a URL without user info and query, which may be secret and change with a signature
    url:https://shop/a.jpg q:5e.. the same, with a digest of what its query says of the image
    url:https://shop/a.jpg v:9f.. the same, with a digest of what its server said of the version it sent; behind q:
    column:9f..                   a column of the shop that changes with the image
    sha256:9f..                   the bytes themselves, in a table
    object:1234 e:9f..            an object of a listing: size in bytes, and a digest of its ETag
    object:1234 t:2024-05-01..    the same without ETag: the time at which it was written
    url:s3://bucket/a.jpg v:9f..  an object that a table names, as for a URL; behind v: what its store said of it

The values of columns and the headers of servers are kept as digests: they are long, or secret, or both.
"""

import hashlib
import os

_QUERY = " q:"
_VALIDATORS = " v:"


def of_file(status: os.stat_result) -> str:
    """Return the token of a file."""
    return f"{status.st_size}-{status.st_mtime_ns}"


def file_size(token: str) -> int | None:
    """Return the size in the token of a file, in bytes; None for the token of something else."""
    size, _, time = token.partition("-")
    return int(size) if size.isdigit() and time.lstrip("-").isdigit() else None


def of_url(plain: str, query: str = "") -> str:
    """Return the token of a URL whose query has been removed. query: what that says of the image; "" for nothing."""
    token = "url:" + plain.replace(" ", "%20")
    return token + _QUERY + _digest(query) if query else token


def of_object(size: int, etag: str, modified: str) -> str:
    """Return the token of an object. modified: when it was written, for stores that give no ETag."""
    return f"object:{size} e:{_digest(etag)}" if etag else f"object:{size} t:{modified}"


def of_column(text: str) -> str:
    """Return the token of a version column's value."""
    return "column:" + _digest(text)


def with_validators(token: str, validators: str) -> str:
    """Add the version that a server sent to the token of a URL; other tokens are returned unchanged."""
    return token + _VALIDATORS + _digest(validators) if token.startswith("url:") and validators else token


def is_same(scanned: str, recorded: str) -> bool:
    """True when an image has not changed as far as the scan can tell; it has not asked any server."""
    return bool(scanned) and scanned in (recorded, recorded.partition(_VALIDATORS)[0])


def with_query(scanned: str, recorded: str) -> str | None:
    """Return a token that was recorded without the query of its URL, with the one of the scan.

    None where the scan knows of no query, or the recorded token is of another image or has one already.
    """
    plain, mark, _ = scanned.partition(_QUERY)
    address, version, validators = recorded.partition(_VALIDATORS)
    return scanned + version + validators if mark and address == plain else None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()
