"""`cataloger presets`: what comes with cataloger for shop systems, shown, checked and completed."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cataloger.cli import flags, render
from cataloger.cli.groups import make_group
from cataloger.cli.source_flags import PrefixOption, PresetArgument, SetOption, ShopOption, filled_preset
from cataloger.errors import UsageError
from cataloger.presets import preset_names, read_preset

if TYPE_CHECKING:
    from cataloger.db import Database
    from cataloger.presets import FilledPreset, Finding, Preset

app = make_group("Presets of shop systems: list, show, check and more.")

MISSING_STATUS = 2
NAMES = {"mysql": "MySQL, MariaDB", "postgresql": "PostgreSQL"}
EXAMPLES = """\b
Examples:
  cataloger presets list
  cataloger presets show woocommerce --prefix wp_
  cataloger presets label-map woocommerce --db mysql://shop@db/shop > codes.csv
  cataloger presets check woocommerce --db mysql://shop@db/shop --set folder=/var/www/shop --label-map codes.csv
  cataloger presets check shopify --file products_export.csv
  cataloger sync --preset woocommerce --db mysql://shop@db/shop --set folder=/var/www/shop --label-map codes.csv
"""

MapOption = Annotated[
    Path | None,
    typer.Option("--label-map", envvar="CATALOGER_LABEL_MAP", metavar="CSV", help="The shop's codes so far."),
]
FileOption = Annotated[
    Path | None,
    typer.Option("--file", metavar="FILE.csv", help="The shop's own export, where the preset is for files."),
]
CheckedOption = Annotated[
    str | None,
    typer.Option(
        "--db",
        envvar="CATALOGER_DB",
        metavar="URL",
        help="Database of the products; of a preset for files that of the results.",
    ),
]


@app.command("list", epilog=EXAMPLES)
def list_presets(json_output: flags.JsonOption = False) -> None:
    """List the presets that come with cataloger."""
    found = [read_preset(name) for name in preset_names()]
    if json_output:
        render.print_json([{"name": p.name, "title": p.title, "versions": p.versions} for p in found])
        return
    rows = [(preset.name, preset.title, preset.versions) for preset in found]
    render.stdout_console().print(render.table(("preset", "system", "versions"), rows))


@app.command(epilog=EXAMPLES)
def show(
    preset: PresetArgument,
    settings: SetOption = None,
    prefix: PrefixOption = None,
    json_output: flags.JsonOption = False,
) -> None:
    """Show what a preset stands for: settings, flags of `sync`, every statement that is run, privileges.

    Of a preset for files: the columns that are read and written, and the commands. Nothing is read from a database.
    """
    filled = filled_preset(preset, settings, prefix)
    found = _shown(filled)
    if json_output:
        render.print_json(found)
        return
    for line in _lines(found) if found["file"] is None else _lines_of_file(found):
        typer.echo(line)


@app.command(epilog=EXAMPLES)
def check(
    preset: PresetArgument,
    db: CheckedOption = None,
    file: FileOption = None,
    settings: SetOption = None,
    prefix: PrefixOption = None,
    label_map: MapOption = None,
    schema: flags.SchemaOption = None,
    model: flags.BundleOption = None,
    json_output: flags.JsonOption = False,
) -> None:
    """Check a preset against a database, or a file, and say what is missing.

    Its queries are run, a sample of images is looked for, and what would be written is written and taken back. A
    file is read to its end. Nothing is changed. Exit status 2 if something is missing.
    """
    from cataloger.model import read_bundle, resolve_bundle_path
    from cataloger.presets import CheckInput, check_preset

    filled = filled_preset(preset, settings, prefix)
    if filled.preset.file is not None:
        findings = _checked_file(filled.preset, file, db, schema)
    else:
        if db is None or file is not None:
            raise UsageError(f"the preset {preset} is for a database: give --db URL, without --file")
        labels = read_bundle(resolve_bundle_path(model or "default"), check=()).labels
        with _shop(db) as database:
            findings = list(check_preset(filled, CheckInput(database, labels, label_map, schema)))
    if json_output:
        render.print_json({"preset": preset, "findings": [asdict(each) for each in findings]})
    else:
        _print_findings(findings)
    if not all(each.is_fine for each in findings):
        raise typer.Exit(MISSING_STATUS)


@app.command(epilog=EXAMPLES)
def categories(
    preset: PresetArgument,
    db: ShopOption,
    settings: SetOption = None,
    prefix: PrefixOption = None,
    json_output: flags.JsonOption = False,
) -> None:
    """List the categories of the shop, with the ids that a label map names."""
    from cataloger.presets import read_categories

    filled = _with_categories(preset, settings, prefix)
    with _shop(db) as database:
        found = read_categories(database, filled.categories)
    if json_output:
        render.print_json([asdict(each) for each in found])
        return
    rows = [(each.code, each.parent or "", each.path) for each in found]
    render.stdout_console().print(render.table(("code", "parent", "category"), rows))


@app.command("label-map", epilog=EXAMPLES)
def label_map_of(
    preset: PresetArgument,
    db: ShopOption,
    settings: SetOption = None,
    prefix: PrefixOption = None,
    label_map: MapOption = None,
    model: flags.BundleOption = None,
) -> None:
    """Print a label map for a shop, to be completed: the model's labels with the ids of the shop's categories.

    A label has an id where one category of the shop is called like it; check these. For the others write an id, or
    `ignore` where the shop does not sell it. The column `candidates` names similar categories.
    """
    from cataloger.ledger import read_label_map
    from cataloger.model import read_bundle, resolve_bundle_path
    from cataloger.presets import label_map_template, read_categories

    filled = _with_categories(preset, settings, prefix)
    labels = read_bundle(resolve_bundle_path(model or "default"), check=()).labels
    known = read_label_map(label_map) if label_map else []
    with _shop(db) as database:
        lines = label_map_template(labels, read_categories(database, filled.categories), known)
    for line in lines:
        typer.echo(line)


def _checked_file(preset: "Preset", file: Path | None, db: str | None, schema: str | None) -> "list[Finding]":
    from cataloger.db import DatabaseURL
    from cataloger.presets import FileCheckInput, check_file

    if file is None:
        raise UsageError(f"the preset {preset.name} is for a file: give the shop's own export with --file")
    return list(check_file(preset, FileCheckInput(file, None if db is None else DatabaseURL.parse(db), schema)))


def _with_categories(preset: str, settings: list[str] | None, prefix: str | None) -> "FilledPreset":
    filled = filled_preset(preset, settings, prefix)
    if filled.preset.file is not None:
        raise UsageError(
            f"the preset {preset} is for a file, whose categories are those of a taxonomy: `cataloger models labels "
            f"--taxonomy {filled.preset.file.format}` lists them"
        )
    if not filled.categories:
        raise UsageError(f"the preset {preset} has no query of categories, [categories]")
    return filled


@contextmanager
def _shop(db: str) -> "Iterator[Database]":
    from cataloger.db import DatabaseURL
    from cataloger.schema import open_source

    with closing(open_source(DatabaseURL.parse(db))) as database:
        yield database


def _shown(filled: "FilledPreset") -> dict[str, Any]:
    from cataloger.presets import grants, statements

    preset = filled.preset
    backends = [each for each in preset.databases if each != "sqlite"] or ["mysql"]
    privileges = {backend: grants(filled, backend, "shop") for backend in backends}
    return {
        "name": preset.name,
        "title": preset.title,
        "versions": preset.versions,
        "databases": list(preset.databases),
        "settings": [
            {"name": name, "value": filled.values.get(name), "optional": each.optional, "help": each.help}
            for name, each in preset.settings.items()
        ],
        "flags": {name: value for name, value in filled.flags.items() if name != "image-query"},
        "statements": [{"purpose": purpose, "sql": sql} for purpose, sql in statements(filled)],
        "privileges": privileges[backends[0]],
        "privileges_by_database": privileges,
        "notes": list(preset.notes),
        "file": _file(preset),
    }


def _file(preset: "Preset") -> dict[str, Any] | None:
    from cataloger.tabular import shopify_columns as columns
    from cataloger.taxonomy import WRITABLE

    if preset.file is None:
        return None
    read = {
        "product": columns.HANDLE,
        "title": columns.TITLE,
        "image": columns.IMAGE,
        "image of a variant": columns.VARIANT_IMAGE,
    }
    return {
        "format": preset.file.format,
        "commands": list(preset.file.commands),
        "read": {name: list(each) for name, each in read.items()},
        "written": list(WRITABLE),
    }


def _lines(found: dict[str, Any]) -> Iterator[str]:
    yield f"{found['title']}: {found['versions']}"
    yield "\nSettings (--set NAME=VALUE):"
    for each in found["settings"]:
        value = each["value"]
        state = ("optional" if each["optional"] else "must be given") if value is None else value or "(empty)"
        yield f"  {each['name']} = {state}: {each['help']}"
    yield "\nFlags of `cataloger sync` that it stands for, besides --image-query:"
    for name, value in found["flags"].items():
        yield from (f"  --{name} {each}" for each in (value if isinstance(value, list) else [value]))
    yield "\nStatements in the shop's database, besides those on cataloger's own tables:"
    for each in found["statements"]:
        yield f"\n-- {each['purpose']}\n{each['sql']}"
    yield "\nPrivileges that they need, in a database `shop` (those on cataloger's own tables: Database privileges):"
    by_database = found["privileges_by_database"]
    for name, grants in by_database.items():
        yield from [f"-- {NAMES[name]}"] if len(by_database) > 1 else []
        yield from grants
    if found["notes"]:
        yield "\nAfter a run:"
        yield from (f"  {note}" for note in found["notes"])


def _lines_of_file(found: dict[str, Any]) -> Iterator[str]:
    yield f"{found['title']}: {found['versions']}"
    yield "\nColumns that are read, in capital or small letters:"
    yield from (f"  {name}: {' or '.join(written)}" for name, written in found["file"]["read"].items())
    yield "\nColumns that a copy of the file has answers in, in the first row of a product; all else is as it was:"
    yield from (f"  {name}" for name in found["file"]["written"])
    yield "\nCommands, each night:"
    yield from (f"  {command}" for command in found["file"]["commands"])
    yield "\nAfter a run:"
    yield from (f"  {note}" for note in found["notes"])


def _print_findings(findings: "list[Finding]") -> None:
    for each in findings:
        typer.echo(f"{'ok     ' if each.is_fine else 'MISSING'} {each.subject}: {each.text}")
        for line in each.lines:
            typer.echo(f"          {line}")
