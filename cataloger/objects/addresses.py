"""Addresses of objects: s3://bucket/key, gs://bucket/key and az://container/key.

A key stands in an address as it is: nothing is escaped, and "?" and "#" are letters like others. What may be secret,
a password in front of the bucket or a signature behind the key, makes an address that is none and is shown nowhere.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cataloger.errors import UsageError
from cataloger.utils import strip_invisible

OBJECT_SCHEMES = ("s3", "gs", "az")

_SCHEME = re.compile(r"(s3|gs|az)://", re.IGNORECASE)
_STORE = re.compile(r"[A-Za-z0-9$][A-Za-z0-9._-]{0,221}")
# Of presigned addresses of Amazon, Google and Azure.
_SIGNED = re.compile(r"[?&](x-(amz|goog)-|(awsaccesskeyid|googleaccessid|signature|sig|token)=)", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_HALF_PAIR = re.compile(r"[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class ObjectAddress:
    """Where an object, or a folder of them, lies. store: "s3://bucket", the scheme in small letters.

    key: without "/" at its ends; "" for the whole bucket.
    """

    store: str
    key: str

    def __str__(self) -> str:
        return f"{self.store}/{self.key}" if self.key else self.store

    @property
    def scheme(self) -> str:
        """One of OBJECT_SCHEMES."""
        return self.store.partition("://")[0]

    @property
    def bucket(self) -> str:
        """The name of the bucket or container."""
        return self.store.partition("://")[2]

    @property
    def name(self) -> str:
        """The last part of the key."""
        return self.key.rpartition("/")[2]

    @property
    def parent(self) -> "ObjectAddress":
        """The folder that it lies in."""
        return ObjectAddress(self.store, self.key.rpartition("/")[0])

    @property
    def inside(self) -> str:
        """What the keys of all that lies in this folder begin with."""
        return f"{self.key}/" if self.key else ""

    def below(self, name: str) -> "ObjectAddress":
        """Return the address of something in this folder."""
        return ObjectAddress(self.store, self.inside + name)

    def lies_below(self, folder: "ObjectAddress") -> bool:
        """Tell whether it lies in a folder, or in one below; nothing lies in itself."""
        return self.store == folder.store and self.key.startswith(folder.inside) and self.key not in ("", folder.key)


def is_object_address(text: str) -> bool:
    """Tell whether a text names an object store, in small letters or capitals."""
    return _SCHEME.match(strip_invisible(text)) is not None


def read_address(text: str) -> ObjectAddress:
    """Read an address. Raises ValueError, whose message holds nothing of the address."""
    text = strip_invisible(text)
    scheme = _SCHEME.match(text)
    if scheme is None:
        raise ValueError("the address begins with none of s3://, gs:// and az://")
    bucket, _, key = text[scheme.end() :].partition("/")
    if _STORE.fullmatch(bucket) is None:
        raise ValueError(
            "the address names no valid bucket; keys and passwords belong into the environment, not into an address"
        )
    if _SIGNED.search(key):
        raise ValueError("the address is signed: give the plain one, without what follows the '?'")
    key = key.removesuffix("/")
    if problem := key_problem(key):
        raise ValueError(problem)
    return ObjectAddress(f"{scheme[1].lower()}://{bucket}", key)


def key_problem(key: str) -> str | None:
    """Return why the client of the object stores cannot ask for a key; None where it can. "" is the whole bucket."""
    if not key:
        return None
    parts = key.split("/")
    if "" in parts:
        return "the key has an empty part ('//', or '/' at an end), which cannot be asked for: rename the object"
    if "." in parts or ".." in parts:
        return "a part of the key is '.' or '..', which cannot be asked for: rename the object"
    if _CONTROL.search(key):
        return "the key holds a control character, which cannot be asked for: rename the object"
    return "the key holds half a surrogate pair, which is not possible in a key" if _HALF_PAIR.search(key) else None


class ObjectRoots:
    """Folders of object stores below which a table or manifest may name objects; none by default."""

    def __init__(self, roots: Iterable[str] = ()) -> None:
        """Read the roots. Raises ValueError, whose message holds nothing of the address."""
        self._roots = tuple(read_address(root) for root in roots)

    def __bool__(self) -> bool:
        return bool(self._roots)

    def contain(self, address: ObjectAddress) -> bool:
        """Tell whether an object may be asked for."""
        return any(address.lies_below(root) for root in self._roots)


def checked_roots(texts: Sequence[str]) -> ObjectRoots:
    """Return the folders of --object-root. Raises UsageError, which shows nothing that may be secret."""
    try:
        return ObjectRoots(texts)
    except ValueError as error:
        raise UsageError(f"--object-root: {error}") from None
