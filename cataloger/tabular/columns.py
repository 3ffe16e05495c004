"""Columns by their names: as written first, then whatever their case."""

from collections.abc import Mapping, Sequence
from typing import Any

from cataloger.tabular.problems import TableFormatError


def find_column(name: str, names: Sequence[str]) -> int | None:
    """Return the position of a column, None if there is none. Raises TableFormatError where two could be meant."""
    written = [number for number, other in enumerate(names) if other == name.strip()]
    found = written or [number for number, other in enumerate(names) if fold(other) == fold(name)]
    if len(found) > 1:
        both = " and ".join(repr(names[number]) for number in found[:2])
        raise TableFormatError(f"has two columns that {name!r} could mean, {both}; rename one of them")
    return found[0] if found else None


def find_key(name: str, row: Mapping[str, Any]) -> str | None:
    """Return the key of a JSON object that a name means, as `find_column` does."""
    if name in row:
        return name
    keys = list(row)
    position = find_column(name, keys)
    return None if position is None else keys[position]


def fold(name: str) -> str:
    """Return a column's name as names are compared."""
    return name.strip().casefold()
