"""Parse the references to images in a product table: paths and URLs."""

import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cataloger.objects import OBJECT_SCHEMES, ObjectRoots, read_address
from cataloger.records import StoredObject
from cataloger.sources import change_tokens
from cataloger.sources.file_keys import existing_spelling, key_of, name_bytes
from cataloger.sources.web_addresses import WEB_ADDRESS, as_address, clean_address, query_identity
from cataloger.table_options import LIST_FORMS
from cataloger.tabular import read_php_array
from cataloger.utils import clean_name, path_spellings, strip_invisible, without_query

SCHEMES = ("http", "https")
BAD_VALUE = "source.bad_value"
BAD_LIST = "source.bad_list"
RELATIVE_PATH = "source.relative_path"
OUTSIDE_ROOT = "source.outside_root"
UNKNOWN_SCHEME = "source.scheme"

# Two characters at least, so that a Windows drive is no scheme. An image that stands in the value itself is long.
_SCHEME = re.compile(r"(data(?=:)|[a-z][a-z0-9+.-]+(?=://))", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Location:
    """Where the bytes of an image are. uri: for people, without query and password. version: "" if unknown.

    is_uncertain: whether its query is a part of the image or of a signature. stored: in an object store.
    """

    uri: str
    version: str
    path: bytes | None = None
    url: str | None = None
    is_uncertain: bool = False
    stored: StoredObject | None = None


@dataclass(frozen=True, slots=True)
class ReferenceProblem:
    """Why a value names no image. code: stable failure code."""

    code: str
    message: str


def locate(value: object, root: bytes | None, objects: ObjectRoots | None = None) -> Location | ReferenceProblem:
    """Read one value as a URL, as an address below `objects`, or as a path below `root` if there is one.

    A path with a leading slash starts at the root too, as in the path of a URL, unless it lies in the root as it is.
    What is no file as it is written is cleaned: see `cataloger.utils.names` and `cataloger.sources.web_addresses`.
    Codes: source.bad_value, source.relative_path, source.outside_root, source.scheme.
    """
    if isinstance(value, ReferenceProblem):
        return value
    if not isinstance(value, str) or "\0" in value:
        return ReferenceProblem(
            BAD_VALUE, f"the value must be a path or a URL as text, but is {type(value).__name__}"
        )
    text = strip_invisible(value)
    scheme = _SCHEME.match(text)
    if scheme is None:
        return _locate_without_scheme(value, text, root)
    if scheme[1].lower() in OBJECT_SCHEMES:
        return _locate_object(text, objects or ObjectRoots())
    if scheme[1].lower() not in SCHEMES:
        known = ", ".join((*SCHEMES, *OBJECT_SCHEMES))
        return ReferenceProblem(UNKNOWN_SCHEME, f"images are read from paths and from {known}, not from {scheme[1]}")
    return _locate_url(text)


def has_scheme(value: str) -> bool:
    """Tell whether a value is, or contains, an address of any kind and no path."""
    return bool(_SCHEME.match(strip_invisible(value)) or WEB_ADDRESS.search(value))


def address_of(value: str, folder: bytes) -> str | None:
    """Return a path or web address as an address with its scheme; None for a path and for other schemes.

    Where the scheme is missing or mistyped, a file of that name comes first, and a folder named like the host.
    Relative paths start at `folder`.
    """
    text = strip_invisible(value)
    if WEB_ADDRESS.match(text):
        return text
    address = None if has_scheme(value) else as_address(text)
    if address is None or _has_folder(folder, text) or os.path.lexists(os.path.join(folder, name_bytes(value))):
        return None
    return address


def key_of_address(location: Location) -> str | ReferenceProblem:
    """Return the key of an image on the web, for sources that have no other: its address without user info.

    Of the query only a digest is kept, since it may be secret; parameters that sign an address, or tell versions of
    one image apart, do not count.
    """
    if location.stored is not None:
        return location.uri
    if not location.uri.lower().startswith(tuple(f"{scheme}://" for scheme in SCHEMES)):
        return ReferenceProblem(BAD_VALUE, "the value is not a valid web address")
    named, _ = query_identity(location.url or "", versions=False)
    if not named:
        return location.uri
    return f"{location.uri}?{hashlib.sha256(named.encode('utf-8', 'backslashreplace')).hexdigest()[:16]}"


def split_list(value: object, form: str) -> list[object] | ReferenceProblem:
    """Return the images of a cell: an array in JSON or of PHP, or text with a separator. Empty ones are left out.

    form: "json" or "php"; "json:KEY" or "php:KEY" for arrays of objects, whose KEY is the image; or the text between
    two values. A database's own arrays come as lists. An object without KEY is a problem in its place. Code:
    source.bad_list.
    """
    kind, _, key = form.partition(":")
    if isinstance(value, str) and kind not in LIST_FORMS:
        return [part.strip() for part in value.split(form) if part.strip()]
    if isinstance(value, str):
        try:
            value = json.loads(value) if kind == "json" else list(read_php_array(value).values())
        except (ValueError, RecursionError) as error:
            return ReferenceProblem(
                BAD_LIST,
                "the value is not valid JSON" if kind == "json" else f"the value is no array of PHP: {error}",
            )
        if value is None:
            return []
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        return ReferenceProblem(BAD_LIST, "the value is not an array of paths or URLs")
    images = [_member(each, key) for each in value] if key else value
    return [each for each in images if each not in (None, "")]


def _member(value: object, key: str) -> object:
    """Return the image of an object in a list."""
    if isinstance(value, dict) and key in value:
        return value[key]
    return ReferenceProblem(BAD_LIST, f"an element of the list is no object with {key!r}")


def text_of(value: Any) -> str:
    """Return a key's value as text: the same for every driver, and different for different values."""
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    if isinstance(value, datetime) and value.tzinfo:
        value = value.astimezone(UTC)  # PostgreSQL gives it in the time zone of the session
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def clean_values(values: Sequence[Any]) -> tuple[Any, ...]:
    """Return the values of a key as they are recorded: text in NFC, without blanks around it like those of CHAR."""
    return tuple(clean_name(value) if isinstance(value, str) else value for value in values)


def join_keys(values: Sequence[Any]) -> str:
    """Return a key of one or several columns as text: the value itself, or a JSON array of them."""
    if len(values) == 1:
        return text_of(values[0])
    return json.dumps([text_of(value) for value in values], ensure_ascii=False)


def split_key(key: str, parts: int) -> tuple[str, ...]:
    """Return the columns' values, as text, that `join_keys` made a key of; () if it is no key of so many."""
    if parts == 1:
        return (key,)
    try:
        values = json.loads(key)
    except (ValueError, RecursionError):
        return ()
    return tuple(map(str, values)) if isinstance(values, list) and len(values) == parts else ()


def first_part(key: str) -> str:
    """Return the first of the values that `join_keys` made a key of; the key itself if it is one value."""
    try:
        values = json.loads(key)
    except (ValueError, RecursionError):
        return key
    return str(values[0]) if isinstance(values, list) and values else key


def _locate_without_scheme(value: str, text: str, root: bytes | None) -> Location | ReferenceProblem:
    """Read a value as a path or, if there is no such file, as an address whose scheme is missing or mistyped."""
    address = as_address(text)
    if address is None and WEB_ADDRESS.search(text):
        # As a path it would be shown with its password and query.
        return ReferenceProblem(BAD_VALUE, "the value contains a URL, but does not start with it")
    place = _locate_file(value, root)
    if address is None or (isinstance(place, Location) and place.version) or _has_folder(root, text):
        return place
    return _locate_url(address)


def _has_folder(root: bytes | None, text: str) -> bool:
    """True when the first part of a relative path is a folder of the root, and no host."""
    first = text.partition("/")[0]
    return root is not None and bool(first) and os.path.isdir(os.path.join(root, name_bytes(first)))


def _locate_url(url: str) -> Location:
    url = clean_address(url)
    plain = without_query(url)
    identity, is_uncertain = query_identity(url)
    return Location(plain, change_tokens.of_url(plain, identity), url=url, is_uncertain=is_uncertain)


def _locate_object(text: str, roots: ObjectRoots) -> Location | ReferenceProblem:
    """Read an address in an object store. Nothing outside of the roots is asked for: a table may name any bucket."""
    try:
        address = read_address(text)
    except ValueError as error:
        return ReferenceProblem(BAD_VALUE, str(error))
    if not roots.contain(address):
        return ReferenceProblem(
            OUTSIDE_ROOT, f"the object lies below no --object-root, e.g. --object-root {address.store}"
        )
    plain = str(address)
    return Location(plain, change_tokens.of_url(plain), stored=StoredObject(address.store, address.key))


def _locate_file(value: str, root: bytes | None) -> Location | ReferenceProblem:
    """Read a value as a path: as it is written, else cleaned, if there is a file of that name; else as written."""
    try:
        written = _place(name_bytes(value), root)
    except UnicodeEncodeError:
        return ReferenceProblem(
            BAD_VALUE, "the path holds half a surrogate pair, which is not possible in a file name"
        )
    version = _version(written) if isinstance(written, bytes) else ""
    if not version:
        for form in path_spellings(value):
            path = _place(name_bytes(form), root)
            found = existing_spelling(path) if isinstance(path, bytes) else None
            if found is not None and (root is None or _is_inside(found, root)):
                written, version = found, _version(found)
                break
    return written if isinstance(written, ReferenceProblem) else Location(key_of(written), version, path=written)


def _place(name: bytes, root: bytes | None) -> bytes | ReferenceProblem:
    """Return the path of a name below the root; a name without root must be a whole path."""
    path = os.path.normpath(name)
    if root is None:
        if not name.startswith(b"/"):
            return ReferenceProblem(RELATIVE_PATH, "the path is relative: give its folder with --image-root")
        return path
    if not _is_inside(path, root):
        path = os.path.normpath(os.path.join(root, name.lstrip(b"/")))
    if not _is_inside(path, root):
        return ReferenceProblem(OUTSIDE_ROOT, "the path leads out of --image-root")
    return path


def _is_inside(path: bytes, root: bytes) -> bool:
    return path.startswith(root.rstrip(b"/") + b"/")


def _version(path: bytes) -> str:
    try:
        return change_tokens.of_file(os.stat(path))
    except OSError:
        return ""  # reading it reports the reason
