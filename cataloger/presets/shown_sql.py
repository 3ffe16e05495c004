"""What a preset has run in the shop's database, for people to read before they trust it."""

import re
from collections.abc import Iterator, Mapping

from cataloger.presets.as_options import write_options
from cataloger.presets.filling import FilledPreset
from cataloger.presets.preset import FlagValue
from cataloger.write_targets import WriteLinkOptions, WriteTableOptions

MISSING = re.compile(r"\{\w+\}")
"""The place of a setting that was not given."""


def statements(filled: FilledPreset) -> list[tuple[str, str]]:
    """Return statements with what each is for. `:product` and the like stand for values."""
    found = []
    if query := filled.flags.get("image-query"):
        found.append(("read the images, once a run, where nothing can be written", str(query)))
    if filled.categories:
        found.append(("read the categories, to check the label map", filled.categories.strip()))
    for name, query in filled.choices.items():
        found.append((f"read what --set {name} may be (`presets check` only)", query.strip()))
    write = write_options(_readable(filled.flags))
    for table in write.tables:
        found += _of_table(table)
    for link in write.links:
        found += _of_link(link)
    return found


def _readable(flags: Mapping[str, FlagValue]) -> dict[str, FlagValue]:
    """Return flags with conditions that can be read although the value of a setting is missing in them."""
    found = dict(flags)
    if isinstance(wheres := found.get("write-where"), list):
        found["write-where"] = [MISSING.sub(r"'\g<0>'", each) for each in wheres]
    return found


def _of_table(table: WriteTableOptions) -> Iterator[tuple[str, str]]:
    where = " AND ".join(
        [*(f"{key} = :product" for key in table.keys), *(f"{c} = {_shown(v)}" for c, v in table.where)]
    )
    columns = [column for column, _ in table.columns]
    read = ", ".join([*table.keys, *columns])
    yield f"read what {table.table} has", f"SELECT {read} FROM {table.table} WHERE {where} FOR UPDATE"
    sets = ", ".join(f"{column} = :{field}" for column, field in table.columns)
    yield f"write to {table.table}, and undo that", f"UPDATE {table.table} SET {sets} WHERE {where}"
    if not table.adds_rows:
        return
    names = ", ".join([*table.keys, *(name for name, _ in table.where), *columns])
    fields = [f":{field}" for _, field in table.columns]
    values = ", ".join([*(":product" for _ in table.keys), *(_shown(value) for _, value in table.where), *fields])
    yield "add a row where there is none", f"INSERT INTO {table.table} ({names}) VALUES ({values})"
    yield "remove a row of our own (undo)", f"DELETE FROM {table.table} WHERE {where}"


def _of_link(link: WriteLinkOptions) -> Iterator[tuple[str, str]]:
    constants = [f"{name} = {_shown(value)}" for name, value in link.constants]
    of_product = " AND ".join([f"{link.product} = :product", *constants])
    one = " AND ".join([f"{link.product} = :product", f"{link.category} = :category", *constants])
    pairs = [*link.constants, *link.values]
    names = ", ".join([link.product, link.category, *(name for name, _ in pairs)])
    values = ", ".join([":product", ":category", *(_shown(value) for _, value in pairs)])
    yield f"read the links in {link.table}", f"SELECT * FROM {link.table} WHERE {of_product} FOR UPDATE"
    yield "add a link", f"INSERT INTO {link.table} ({names}) VALUES ({values})"
    yield "remove a link of our own", f"DELETE FROM {link.table} WHERE {one}"


def _shown(value: str) -> str:
    if MISSING.fullmatch(value):
        return value
    return value if value.lstrip("-").replace(".", "", 1).isdigit() else "'" + value.replace("'", "''") + "'"
