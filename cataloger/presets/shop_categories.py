"""The categories that a shop has, by the query of a preset: what a label map may name."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from cataloger.db import Database, one_select, select_as_table, select_names
from cataloger.errors import DatabaseError, UnavailableError, UsageError
from cataloger.ledger import LabelCode
from cataloger.options import PresetUse

CODE, NAME, PARENT = "code", "name", "parent"
BELOW = " > "
NAMED = 8


@dataclass(frozen=True, slots=True)
class ShopCategory:
    """A category of the shop. code: as results are to name it. parent: code of the one above; None at the top.

    path: names from the top, with ` > ` between them.
    """

    code: str
    name: str
    parent: str | None
    path: str


def read_categories(database: Database, query: str) -> list[ShopCategory]:
    """Return the categories that a SELECT of code, name and parent gives, by their paths.

    Raises UsageError for a query that gives something else, or cannot be run.
    """
    rows = {code: (name, parent) for code, name, parent in _rows(database, query, (CODE, NAME, PARENT))}
    found = [
        ShopCategory(code, name, parent if parent in rows else None, BELOW.join(_path(code, rows)))
        for code, (name, parent) in rows.items()
    ]
    return sorted(found, key=lambda each: (each.path, each.code))


def choices_of(database: Database, query: str) -> list[tuple[str, str]]:
    """Return the values that a setting may have, with their names, by a SELECT of value and name."""
    return [(value, name) for value, name in _rows(database, query, ("value", NAME))]


def require_categories(
    database: Database, preset: PresetUse, codes: Sequence[LabelCode], origin: str, *, is_written: bool
) -> None:
    """Raise UsageError where codes are none of the shop's categories, or are to be written and there are none.

    origin: of the codes, for people.
    """
    if not preset.categories or not is_written:
        return
    if not codes:
        raise UsageError(
            f"--preset {preset.name} writes ids of the shop's own categories: give them with --label-map. "
            f"`cataloger presets label-map {preset.name}` makes the file, to be completed"
        )
    known = {each.code for each in read_categories(database, preset.categories)}
    if wrong := [each for each in codes if each.code not in known]:
        shown = ", ".join(f"{each.code} ({each.label})" for each in wrong[:NAMED])
        more = f" and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
        raise UsageError(
            f"{origin}: no category of the shop has the id {shown}{more}; `cataloger presets categories "
            f"{preset.name}` lists those that there are"
        )


def _rows(database: Database, query: str, wanted: Sequence[str]) -> list[tuple[Any, ...]]:
    try:
        return database.fetch(_read, query, wanted)
    except UnavailableError:
        raise
    except DatabaseError as error:
        raise UsageError(f"the preset's query of {', '.join(wanted)} cannot be run: {error}") from error


def _read(connection: Connection, query: str, wanted: Sequence[str]) -> list[tuple[Any, ...]]:
    plain = one_select(query, "the preset's query")
    names = {name.lower(): name for name in select_names(connection, plain)}
    if missing := [name for name in wanted if name not in names]:
        raise UsageError(f"a query of the preset gives no column {' and '.join(missing)}: name it with AS")
    rows = select_as_table(plain, list(names.values()))
    found = connection.execute(select(*(rows.c[names[name]] for name in wanted)))
    return [tuple(None if value is None else str(value) for value in row) for row in found]


def _path(code: str, rows: Mapping[str, tuple[str, str | None]]) -> Iterable[str]:
    """Return the names from the top down to a category; one that is above itself ends the path."""
    names: list[str] = []
    seen: set[str] = set()
    place: str | None = code
    while place is not None and place in rows and place not in seen:
        seen.add(place)
        name, above = rows[place]
        names.append(name or place)
        place = above
    return reversed(names)
