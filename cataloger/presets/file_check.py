"""Whether a preset suits a file of the shop: its columns are there, it imports again, and its images can be named."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cataloger.db import DatabaseURL
from cataloger.errors import CatalogerError
from cataloger.presets.preset import Preset
from cataloger.presets.preset_check import Finding
from cataloger.records import Item
from cataloger.schema import open_for_planning, without_tables
from cataloger.sources import ManifestSource
from cataloger.taxonomy import WRITABLE, open_export
from cataloger.utils import counted


@dataclass(frozen=True, slots=True)
class FileCheckInput:
    """What a preset is checked with. path: the shop's file. url: of the database of the results, if given."""

    path: Path
    url: DatabaseURL | None = None
    schema: str | None = None


def check_file(preset: Preset, given: FileCheckInput) -> Iterator[Finding]:
    """Yield what was found, in the order in which it is looked at. The file is only read, to its end."""
    yield from _tried("file", lambda: _cells(given.path))
    yield from _tried("images", lambda: _images(preset, given.path))
    if given.url is not None:
        yield from _tried("tables of cataloger", lambda: _own_tables(given))


def _tried(subject: str, look: Callable[[], list[Finding]]) -> list[Finding]:
    """Turn an error into a finding."""
    try:
        return look()
    except CatalogerError as error:
        return [Finding(subject, False, str(error))]


def _cells(path: Path) -> list[Finding]:
    """Return what the file holds, and how many products have something in the columns that answers are written to."""
    rows = products = 0
    with open_export(path) as export:
        filled = dict.fromkeys(export.places, 0)
        for block in export.blocks():
            rows += len(block)
            for row in (each for each in block if each.product):
                products += 1
                for name, place in export.places.items():
                    filled[name] += bool(row.cell(place).strip())
    contents = f"{counted(products, 'product')} in {counted(rows, 'row')}; a copy of it can be imported"
    found = [Finding("file", products > 0, contents)]
    missing = "not in the file, so that nothing is written there"
    texts = {name: f"{n:,} of {products:,} products have a value; it stays" for name, n in filled.items()}
    found += [Finding(f"column {name}", bool(filled), texts.get(name, missing)) for name in WRITABLE]
    return found


def _images(preset: Preset, path: Path) -> list[Finding]:
    """Count what the file names, and give an example of a row that cannot be used."""
    assert preset.file is not None
    addresses = files = 0
    wrong: list[str] = []
    for subject in ManifestSource(path.absolute(), preset=preset.file.format).scan():
        if not isinstance(subject, Item):
            wrong.append(f"{subject.item.key}: {subject.message}")
        elif subject.path is None:
            addresses += 1
        else:
            files += 1
    text = f"{addresses:,} by address, {files:,} by path"
    if wrong:
        text += f"; {counted(len(wrong), 'row')} cannot be used, the first in {wrong[0]}"
    return [Finding("images", addresses + files > 0, text)]


def _own_tables(given: FileCheckInput) -> list[Finding]:
    assert given.url is not None
    opened = open_for_planning(given.url, schema=given.schema)
    if opened is None:
        return [Finding("tables of cataloger", False, without_tables(given.url, given.schema))]
    opened.close()
    return [Finding("tables of cataloger", True, "are there")]
