"""Whether a preset suits a database: its queries run, its images are there, and what it writes is accepted there."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

from cataloger.contracts import TOP_K
from cataloger.db import Database, DatabaseURL, TableName
from cataloger.errors import CatalogerError, UsageError
from cataloger.ledger import LabelCode, read_label_map
from cataloger.options import PresetUse
from cataloger.presets.as_options import table_options, write_options
from cataloger.presets.filling import FilledPreset
from cataloger.presets.shop_categories import choices_of, read_categories, require_categories
from cataloger.queries import ShopSource, open_shop_source
from cataloger.records import Item
from cataloger.schema import open_for_planning, without_tables
from cataloger.utils import counted, visible
from cataloger.write_targets import WriteLinkOptions, WriteTableOptions
from cataloger.writeback import LinkCheck, PossibleAnswers, RowCheck, qualified

TRIED = 40
"""Categories that are tried to write; each is a statement."""
SHOWN = 30


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. lines: more of it, e.g. what there is to choose from."""

    subject: str
    is_fine: bool
    text: str
    lines: Sequence[str] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True)
class CheckInput:
    """What a preset is checked with. database: the shop's, open. schema: of cataloger's own tables.

    labels: of the model. label_map: file of the shop's codes, if there is one yet.
    """

    database: Database
    labels: tuple[str, ...]
    label_map: Path | None = None
    schema: str | None = None

    @property
    def url(self) -> DatabaseURL:
        """Where the database is."""
        return self.database.url


def check_preset(filled: FilledPreset, given: CheckInput) -> Iterator[Finding]:
    """Yield what was found, in the order in which it is looked at. Whatever is tried to write is rolled back."""
    yield from _settings(filled, given)
    yield _database(filled, given)
    if any(each.kind != "folder" for each in filled.missing):
        return  # without it the statements are none
    opened: list[ShopSource] = []
    yield _tried("images", partial(_images, filled, given, opened))
    if filled.categories:
        yield _tried("categories", partial(_categories, filled, given))
        yield _tried("label map", partial(_label_map, filled, given))
    if filled.targets and opened:
        yield from _targets(filled, given, opened[0])
    yield _tried("tables of cataloger", partial(_own_tables, given))


def _tried(subject: str, look: Callable[[], Finding]) -> Finding:
    """Turn an error into a finding."""
    try:
        return look()
    except CatalogerError as error:
        return Finding(subject, False, str(error))


def _settings(filled: FilledPreset, given: CheckInput) -> Iterator[Finding]:
    for name, setting in filled.preset.settings.items():
        value, is_needed = filled.values.get(name), name not in filled.values and not setting.optional
        choices = _choices(filled, given, name) if name in filled.choices else []
        text = f"not given: {setting.help}; give --set {name}=..." if value is None else f"{value} ({setting.help})"
        is_known = value is None or not choices or any(each.split(" ", 1)[0] == value for each in choices)
        if not is_known:
            text = f"{value}: there is no such value in the shop"
        shown = choices[:SHOWN] if value is None or not is_known else []
        yield Finding(f"setting {name}", not is_needed and is_known, text, shown)


def _choices(filled: FilledPreset, given: CheckInput, name: str) -> list[str]:
    try:
        return [f"{value} {text}" for value, text in choices_of(given.database, filled.choices[name])]
    except CatalogerError:  # the query of the images says what is wrong
        return []


def _database(filled: FilledPreset, given: CheckInput) -> Finding:
    backend, wanted = given.url.backend, filled.preset.databases
    backend = "mysql" if backend == "mariadb" else backend
    text = f"{backend}; the preset is for {' and '.join(wanted)}" if wanted else backend
    return Finding("database", not wanted or backend in wanted, text)


def _images(filled: FilledPreset, given: CheckInput, opened: list[ShopSource]) -> Finding:
    """Look at some images. opened: receives the source, once it is open."""
    source = open_shop_source(given.database, table_options(filled.flags))
    opened.append(source)
    drawn = [each.subject for each in source.sample.drawn] if source.sample else []
    places = [each.uri for each in drawn if isinstance(each, Item)]
    if not places:
        return Finding("images", False, "the query gives no row with an image")
    files, sample = [place for place in places if place and "://" not in place], counted(len(places), "image")
    if any(each.kind == "folder" for each in filled.missing):
        return Finding("images", True, f"a sample of {sample}; without their folder they are not looked for")
    if not files:
        return Finding("images", True, f"a sample of {sample}, which are not files")
    missing = [place for place in files if not os.path.lexists(place)]
    there = f"{len(files) - len(missing)} of {counted(len(files), 'file')} of a sample are there"
    if missing:
        there += f"; missing e.g. {visible(missing[0])}"
    return Finding("images", len(missing) < len(files), there)


def _categories(filled: FilledPreset, given: CheckInput) -> Finding:
    found = read_categories(given.database, filled.categories)
    lines = [f"{each.code} {each.path}" for each in found[:SHOWN]]
    return Finding("categories", bool(found), f"the shop has {len(found):,}", lines)


def _label_map(filled: FilledPreset, given: CheckInput) -> Finding:
    command = f"`cataloger presets label-map {filled.preset.origin}`"
    if given.label_map is None:
        return Finding("label map", False, f"not given (--label-map); {command} makes it, to be completed")
    codes = [each for each in read_label_map(given.label_map) if not each.is_ignored]
    use = PresetUse(filled.preset.origin, filled.categories)
    require_categories(given.database, use, codes, f"--label-map {given.label_map}", is_written=True)
    missing = [label for label in given.labels if label not in {each.label for each in codes}]
    more = f"; not sold: {', '.join(missing)}" if missing else ""
    return Finding("label map", True, f"{counted(len(codes), 'label')} with a category of the shop{more}")


def _targets(filled: FilledPreset, given: CheckInput, source: ShopSource) -> Iterator[Finding]:
    options, answers = write_options(filled.flags), cache(partial(_answers, filled, given))
    drawn = [each.subject for each in source.sample.drawn] if source.sample else []
    product = next((each.product_key for each in drawn if isinstance(each, Item)), None)

    def name(text: str) -> TableName:
        return qualified(given.database, TableName.parse(text), given.schema)

    def of_table(table: WriteTableOptions) -> RowCheck:
        return RowCheck(given.database, name(table.table), table, options, product)

    def of_link(link: WriteLinkOptions) -> LinkCheck:
        return LinkCheck(given.database, name(link.table), link, options, product)

    checks: list[tuple[str, Callable[[], RowCheck | LinkCheck]]] = []
    checks += [(each.table, partial(of_table, each)) for each in options.tables]
    checks += [(each.table, partial(of_link, each)) for each in options.links]
    for table, make in checks:
        yield _tried(f"write to {table}", partial(_written, filled, answers, make))


def _written(
    filled: FilledPreset, answers: Callable[[], PossibleAnswers], make: Callable[[], RowCheck | LinkCheck]
) -> Finding:
    check = make()
    check.check(len(table_options(filled.flags).ids) or 1)
    check.plan(answers())
    return Finding(f"write to {check.name}", True, "can be written, and was taken back")


def _answers(filled: FilledPreset, given: CheckInput) -> PossibleAnswers:
    """Return what may be written: the codes of the label map, or some of the shop's categories."""
    if given.label_map is not None:
        codes = [each for each in read_label_map(given.label_map) if not each.is_ignored]
    elif filled.categories:
        found = read_categories(given.database, filled.categories)[:TRIED]
        codes = [LabelCode(each.code, each.code, each.name, each.parent) for each in found]
    else:
        return PossibleAnswers(given.labels, {}, TOP_K)
    if not codes:
        raise UsageError("there is no category to try it with")
    return PossibleAnswers(tuple(each.label for each in codes), {each.label: each for each in codes}, TOP_K)


def _own_tables(given: CheckInput) -> Finding:
    opened = open_for_planning(given.url, schema=given.schema)
    if opened is None:
        return Finding("tables of cataloger", False, without_tables(given.url, given.schema))
    opened.close()
    return Finding("tables of cataloger", True, "are there")
