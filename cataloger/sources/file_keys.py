"""Names of files as text that can be stored: every byte name has exactly one key, and no two share one."""

import os
import re

from cataloger.utils import part_spellings, path_spellings

_LOOKS_ESCAPED = re.compile(r"%(?=[0-9A-Fa-f]{2})")
_ESCAPED = re.compile(rb"%([0-9A-Fa-f]{2})")
_UNDECODABLE = re.compile("[\udc80-\udcff]")


def key_of(name: bytes) -> str:
    """Return a name as text. Bytes that are not UTF-8 become %XX; a "%" that could be taken for that becomes %25."""
    text = name.decode("utf-8", "surrogateescape")
    text = _LOOKS_ESCAPED.sub("%25", text)
    return _UNDECODABLE.sub(lambda match: f"%{ord(match.group()) - 0xDC00:02X}", text)


def name_of(key: str) -> bytes:
    """Return the name that `key_of` made a key of."""
    return _ESCAPED.sub(lambda match: bytes.fromhex(match[1].decode()), key.encode("utf-8", "surrogateescape"))


def name_bytes(text: str) -> bytes:
    """Return the name of a file that a text of ours or of a database gives: UTF-8, whatever the locale of the user.

    Raises UnicodeEncodeError for half a surrogate pair.
    """
    return text.encode("utf-8", "surrogateescape")


def find_below(folder: bytes, text: str) -> tuple[bytes, bytes]:
    """Return name and path of the file that a manifest in `folder` calls `text`: as written, else the cleaned one.

    Where there is neither, they are those that are written. Raises UnicodeEncodeError for half a surrogate pair.
    """
    written = name_bytes(text)
    path = os.path.join(folder, written)
    if os.path.lexists(path):
        return written, path
    absolute = os.path.abspath(folder)
    for form in path_spellings(text):
        found = existing_spelling(os.path.normpath(os.path.join(absolute, name_bytes(form))))
        if found is not None:
            inside = absolute.rstrip(b"/") + b"/"
            name = found.removeprefix(inside)
            return name, os.path.join(folder, name)
    return written, path


def existing_spelling(path: bytes) -> bytes | None:
    """Return the path of a file as its names are spelled on the disk, composed or decomposed; None if it is missing.

    path: absolute and normal.
    """
    if os.path.isfile(path):
        return path
    if path.isascii():
        return None
    found = b"/"
    for part in path.split(b"/")[1:]:
        places = (os.path.join(found, spelling) for spelling in part_spellings(part))
        if (place := next(filter(os.path.lexists, places), None)) is None:
            return None
        found = place
    return found if os.path.isfile(found) else None
