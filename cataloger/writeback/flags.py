"""Other tables to write back to, as flags and the configuration name them."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from cataloger.errors import UsageError
from cataloger.options import WriteOptions, columns_written
from cataloger.write_targets import WriteLinkOptions, WriteTableOptions

_CONDITION = re.compile(
    r"\s*(?:\"([^\"]+)\"|([^\s=<>!'\"()]+))\s*=\s*(?:'((?:[^']|'')*)'|(-?\d+(?:\.\d+)?))\s*(?:\band\b|\Z)", re.I
)
_LINK_FORM = "write TABLE:PRODUCT_COLUMN,CATEGORY_COLUMN, then COLUMN=VALUE for each other column"
_BEST = "label_1"


@dataclass(frozen=True, slots=True)
class OtherWrites:
    """Other tables to write to, as flags name them.

    tables: `TABLE` or `TABLE:COLUMN=FIELD,...`. keys: the columns that name the product, for each table, or one for
    all. wheres: conditions of the rows, for each table in turn, or one for all; "" for none. links: `TABLE:PRODUCT,
    CATEGORY[=FIELD+FIELD][,COLUMN=VALUE...]`, with `==` for what tells these links from others. existing: tables that
    no row is added to.
    """

    tables: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    wheres: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    existing: tuple[str, ...] = ()

    def options(self, writes: Sequence[str], **others: Any) -> WriteOptions:
        """Return them as options. writes: of --write, which belong to a table without columns, if there is one.

        Raises UsageError.
        """
        if not self.tables and (self.keys or self.wheres):
            raise UsageError("--write-key and --write-where need --write-table")
        bare = [text for text in self.tables if ":" not in text]
        if len(bare) > 1 or (bare and len(self.tables) > 1):
            raise UsageError("each of several --write-table has its own columns: --write-table TABLE:COLUMN=FIELD")
        links = tuple(_link(text) for text in self.links)
        return WriteOptions.parse(() if bare else writes, tables=self._tables(writes), links=links, **others)

    def _tables(self, writes: Sequence[str]) -> tuple[WriteTableOptions, ...]:
        keys = _for_each(self.keys, len(self.tables), "--write-key")
        wheres = _for_each(self.wheres, len(self.tables), "--write-where")
        tables = [
            _table(text, key, where, writes) for text, key, where in zip(self.tables, keys, wheres, strict=True)
        ]
        for name in self.existing:
            if name not in {table.table for table in tables}:
                raise UsageError(f"--write-existing {name}: no --write-table names it")
        return tuple(replace(table, adds_rows=table.table not in self.existing) for table in tables)


def _table(text: str, key: str, where: str, writes: Sequence[str]) -> WriteTableOptions:
    table, colon, own = text.partition(":")
    flag = f"--write-table {table.strip()}:" if colon else "--write"
    columns = columns_written(own.split(",") if colon else writes, flag)
    keys = tuple(name.strip() for name in key.split(",") if name.strip())
    return WriteTableOptions(table.strip(), keys, columns, _conditions(where))


def _link(text: str) -> WriteLinkOptions:
    table, _, rest = text.partition(":")
    names = [part.strip() for part in next(csv.reader([rest], quotechar="'", skipinitialspace=True), [])]
    is_complete = len(names) >= 2 and all(names) and bool(table.strip()) and "=" not in names[0]
    if not is_complete or not all("=" in name for name in names[2:]):
        raise UsageError(f"--write-link {text}: {_LINK_FORM}")
    pairs = [(name.strip(), value.strip()) for name, _, value in (part.partition("=") for part in names[1:])]
    (category, fields), *pairs = pairs
    columns = [names[0], category, *(name for name, _ in pairs)]
    if len(set(columns)) < len(columns):
        raise UsageError(f"--write-link {text} names a column twice")
    values = tuple((name, value) for name, value in pairs if not value.startswith("="))
    constants = tuple((name, value[1:].strip()) for name, value in pairs if value.startswith("="))
    several = tuple(dict.fromkeys(name.strip() for name in (fields or _BEST).split("+")))
    return WriteLinkOptions(table.strip(), names[0], category, values, constants, several)


def _conditions(text: str) -> tuple[tuple[str, str], ...]:
    """Read conditions of the form COLUMN = VALUE with `and` between them."""
    found, position = [], 0
    while position < len(text.rstrip()):
        match = _CONDITION.match(text, position)
        if match is None:
            raise UsageError(
                f"--write-where {text}: write COLUMN = VALUE, with `and` between several, so that missing rows can "
                'be added, e.g. "attribute_id = 87 and store_id = 0"'
            )
        value = match[4] if match[3] is None else match[3].replace("''", "'")
        found.append((match[1] or match[2], value))
        position = match.end()
    return tuple(found)


def _for_each(given: tuple[str, ...], count: int, flag: str) -> tuple[str, ...]:
    """Return a value for each of several tables; "" for each if none is given."""
    if len(given) not in (0, 1, count):
        raise UsageError(f"{flag} is given once for all, or for each --write-table: {count} times, not {len(given)}")
    return given if len(given) == count else (given or ("",)) * count
