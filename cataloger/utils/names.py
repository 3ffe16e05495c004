"""Names from outside - of images, products, categories, files - as they are cleaned, compared and shown.

The rule, for every way in: what is written counts as it is written; where nothing has that name, it is cleaned.
Blanks, line breaks and invisible characters around a name mean nothing, and neither does whether an accent is part of
its letter (NFC) or follows it (NFD, as macOS writes names). Of paths, a backslash may separate folders, %20 may stand
for a blank, and a query such as ?v=3 may follow.
"""

import json
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from urllib.parse import unquote

# Blanks of every kind and line breaks; zero width space, marks of direction, U+2060, byte order mark.
_AROUND = re.compile(r"\A[\s\u200b\u200e\u200f\u2060\ufeff]+|[\s\u200b\u200e\u200f\u2060\ufeff]+\Z")
_LINE_BREAKS = "\r\n"
LONGEST_DEPARTMENT = 255
"""Characters of a department, as the ledger has room for."""


def strip_invisible(text: str) -> str:
    """Return text without the blanks, line breaks and invisible characters around it."""
    return text.strip() if text.isascii() else _AROUND.sub("", text)


def clean_name(text: str) -> str:
    """Return a key or name as it is recorded: nothing invisible around it, composed (NFC). Blanks alone stay."""
    stripped = strip_invisible(text)
    return unicodedata.normalize("NFC", stripped) if stripped else text


def clean_label(text: str) -> str:
    """Return a category as it is recorded: clean, with single blanks within; "" if there is nothing else."""
    return " ".join(unicodedata.normalize("NFC", strip_invisible(text)).split())


def clean_setting(text: str) -> str:
    """Return a value of a flag, variable or configuration without line breaks around it, as Windows writes them.

    Blanks stay, and so do line breaks alone: both may be meant, e.g. as a separator.
    """
    return text.strip(_LINE_BREAKS) or text


def spellings(text: str) -> tuple[str, ...]:
    """Return what a name may mean, each once: as written, without what surrounds it, and that in NFC and in NFD."""
    return tuple(dict.fromkeys((text, *_normal_forms(strip_invisible(text)))))


def path_spellings(text: str) -> Iterator[str]:
    """Yield what a path may mean: as it is written, then cleaned in steps; not whether its letters are NFC or NFD."""
    stripped = strip_invisible(text)
    slashed = stripped.replace("\\", "/")
    without_query = re.split(r"[?#]", slashed, maxsplit=1)[0]
    forms = (text, stripped, slashed, _unquoted(slashed), without_query, _unquoted(without_query))
    yield from (form for form in dict.fromkeys(forms) if form and "\0" not in form)


def part_spellings(part: bytes) -> tuple[bytes, ...]:
    """Return the spellings of the name of one file or folder: as it is, composed (NFC) and decomposed (NFD)."""
    text = part.decode("utf-8", "surrogateescape")
    return tuple(form.encode("utf-8", "surrogateescape") for form in _normal_forms(text))


def existing_path(path: str) -> str:
    """Return a path of the command line or configuration as it is written if it exists, else the cleaned one.

    Where there is neither, it is the one that is written. Unlike the paths of data it may be that of a new file.
    """
    if os.path.lexists(path):
        return path
    texts = [path]
    with suppress(UnicodeEncodeError):  # in a legacy locale, of a configuration in UTF-8
        texts.append(os.fsencode(path).decode("utf-8", "surrogateescape"))
    for text in texts:
        for form in (*spellings(text), *spellings(text.replace("\\", "/"))):
            place = os.fsdecode(form.encode("utf-8", "surrogateescape"))
            if os.path.lexists(place):
                return place
    return path


def find_label(text: str, known: Collection[str]) -> str | None:
    """Return the one of some labels that a text means: spelled as it is, else the same once both are clean."""
    if text in known:
        return text
    wanted = clean_label(text)
    return wanted if wanted in known else next((label for label in known if clean_label(label) == wanted), None)


def clean_department(value: object) -> str | None:
    """Return how a department is recorded and compared: without case and doubled blanks; None for an empty one."""
    return (clean_label(str(value)).casefold()[:LONGEST_DEPARTMENT] or None) if value is not None else None


@lru_cache(maxsize=1024)
def person_key(name: str) -> str:
    """Return the form by which names of people are compared: without case and doubled blanks."""
    return clean_label(clean_label(name).casefold())


def same_person(one: str | None, other: str | None) -> bool:
    """True if two names are those of one person, however they are capitalized; None is nobody."""
    return one is not None and other is not None and person_key(one) == person_key(other)


def spelling_of_each(counts: Mapping[str, int]) -> dict[str, str]:
    """Return name -> the spelling to show for its person: that of the most, of several the first by letters."""
    ordered = sorted(counts, key=lambda name: (counts[name], [-ord(letter) for letter in name]))
    shown = {person_key(name): name for name in ordered}
    return {name: shown[person_key(name)] for name in counts}


def sum_by_person(counts: Mapping[str, Mapping[str, int]], weight: str) -> dict[str, dict[str, int]]:
    """Add the counts of all spellings of a name. weight: the count by which the spelling to show is chosen."""
    shown_as = spelling_of_each({name: each[weight] for name, each in counts.items()})
    sums: dict[str, Counter[str]] = {name: Counter() for name in shown_as.values()}
    for name, each in counts.items():
        sums[shown_as[name]].update(each)
    return {name: dict(each) for name, each in sums.items()}


def shown_key(key: str) -> str:
    """Return a key, or the place of bytes in a table, for people; one of several columns, a JSON array, as `a/1`."""
    if not key.startswith("["):
        table, found, rest = key.partition("/[")  # the place of bytes in a table
        return f"{table}/{shown_key('[' + rest)}" if found and shown_key("[" + rest) != "[" + rest else key
    try:
        parts = json.loads(key)
    except (ValueError, RecursionError):
        return key
    is_ours = isinstance(parts, list) and len(parts) > 1 and all(isinstance(part, str) for part in parts)
    if not is_ours or json.dumps(parts, ensure_ascii=False) != key:
        return key  # the name of a file that looks like an array
    return "/".join(map(shown_key, parts))  # the first part of an image's key may be the key of its product


def visible(text: str) -> str:
    """Return a name for people; with what cannot be seen written out, and in quotation marks, if there is any."""
    is_composed = unicodedata.is_normalized("NFC", text)
    shown = "".join(_shown(character, is_composed=is_composed) for character in text)
    return text if shown == text == text.strip() else f"'{shown}'"


def _shown(character: str, *, is_composed: bool) -> str:
    if character.isprintable() and (is_composed or not unicodedata.combining(character)):
        return character
    return character.encode("unicode_escape").decode()


def _normal_forms(text: str) -> tuple[str, ...]:
    if text.isascii():
        return (text,)
    return tuple(dict.fromkeys((text, unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", text))))


def _unquoted(text: str) -> str:
    return unquote(text, errors="surrogateescape") if "%" in text else text
