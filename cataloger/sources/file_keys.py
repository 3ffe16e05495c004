"""Names of files as text that can be stored: every byte name has exactly one key, and no two share one.

And patterns of names, as users write them.
"""

import fnmatch
import os
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from cataloger.errors import UsageError
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


@dataclass(frozen=True, slots=True)
class NamePatterns:
    """Patterns of files and folders: names: of the last part of a path; paths: of all of it."""

    names: tuple[re.Pattern[str], ...] = ()
    paths: tuple[re.Pattern[str], ...] = ()

    @classmethod
    def of(cls, texts: Iterable[str]) -> Self:
        """Return the patterns that users write; one with a slash is for paths below the folder. Raises UsageError."""
        globs = [_glob(text) for text in texts]
        return cls(tuple(_regex(g) for g in globs if "/" not in g), tuple(_regex(g) for g in globs if "/" in g))

    def match(self, path: bytes) -> bool:
        """Tell whether a file or folder is meant itself. path: below the folder."""
        if not (self.names or self.paths):
            return False
        text = _composed(path.decode("utf-8", "surrogateescape"))
        name = text.rpartition("/")[2]
        return any(each.fullmatch(name) for each in self.names) or any(each.fullmatch(text) for each in self.paths)

    def cover(self, path: bytes) -> bool:
        """Tell whether a file or folder is meant, or a folder that it lies in. path: below the folder."""
        if not (self.names or self.paths):
            return False
        parts = path.split(b"/")
        return any(self.match(b"/".join(parts[:end])) for end in range(1, len(parts) + 1))


def _glob(text: str) -> str:
    glob = text.strip().removeprefix("./").rstrip("/")
    if not glob or glob.startswith("/"):
        raise UsageError(f"--exclude {text!r}: write the name of files or folders, or a path below the folder")
    return glob


def _regex(glob: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(_composed(glob)), re.DOTALL)


def _composed(text: str) -> str:
    """Return a name with accents in one form: some systems store them apart from their letters."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)
