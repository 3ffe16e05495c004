"""`cataloger sources`: list what has been tagged, record a new location or name, delete what is abandoned."""

from typing import TYPE_CHECKING, Annotated

import typer

from cataloger.cli import flags, render
from cataloger.cli.groups import make_group
from cataloger.cli.run_command import open_results, stop_on_interrupt
from cataloger.errors import INTERRUPTED_STATUS, UsageError
from cataloger.options import DEFAULT_DB
from cataloger.utils import counted

if TYPE_CHECKING:
    from cataloger.history import DeletionReport

app = make_group("Sources: list, move, rename, delete.")

RENAME_EXAMPLES = """Example:

  cataloger sources rename /srv/photos "photos of 2024" --db sqlite:///cataloger.db
"""

DELETE_EXAMPLES = """Examples:

  cataloger sources delete /srv/old --db sqlite:///cataloger.db --dry-run

  cataloger sources delete /srv/old --db sqlite:///cataloger.db --yes
"""

SourceArgument = Annotated[
    str, typer.Argument(metavar="SOURCE", help="The source, as `cataloger sources list` shows it.")
]
OldArgument = Annotated[str, typer.Argument(metavar="OLD", help="The source, as `cataloger sources list` shows it.")]


@app.command("list")
def list_command(
    db: flags.DbOption = DEFAULT_DB, schema: flags.SchemaOption = None, json_output: flags.JsonOption = False
) -> None:
    """List the folders, manifests and tables that have been tagged."""
    from cataloger.ledger import list_sources

    with open_results(db, schema) as database:
        sources = list_sources(database)
    if json_output:
        render.print_json([source.as_json() for source in sources])
        return
    rows = [(each.kind, each.root, each.images, each.missing, each.model or "") for each in sources]
    console = render.stdout_console()
    console.print(render.table(("kind", "source", "images", "missing", "model"), rows or [("none", "", "", "", "")]))
    if renamed := [(each.root, each.name) for each in sources if each.name != each.root]:
        console.print(render.table(("source", "is called"), renamed))


@app.command()
def move(
    old: OldArgument,
    new: Annotated[str, typer.Argument(metavar="NEW", help="Its new location.")],
    db: flags.DbOption = DEFAULT_DB,
    schema: flags.SchemaOption = None,
) -> None:
    """Record that a source was moved or renamed; it keeps its results.

    A source is a folder, a manifest or a product table.
    """
    from cataloger.history import relocate_source

    with open_results(db, schema) as database:
        items = relocate_source(database, old, new)
    typer.echo(f"{database.name}: {old} is now {new}, with {counted(items, 'image')}")


@app.command(epilog=RENAME_EXAMPLES)
def rename(
    old: OldArgument,
    new: Annotated[str, typer.Argument(metavar="NEW", help="Its new name in views, reports and --source.")],
    db: flags.DbOption = DEFAULT_DB,
    schema: flags.SchemaOption = None,
) -> None:
    """Give a source another name; it keeps all that is recorded of it.

    A folder or manifest stays where it is, and later runs over it go on. Later runs over a table find it by its new
    name: --source-name NEW of `cataloger sync`.
    """
    from cataloger.history import rename_source

    with open_results(db, schema) as database:
        items = rename_source(database, old, new)
    typer.echo(f"{database.name}: {old} is now called {new}, with {items:,} images")


@app.command(epilog=DELETE_EXAMPLES)
def delete(
    source: SourceArgument,
    db: flags.DbOption = DEFAULT_DB,
    schema: flags.SchemaOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Confirm: what is deleted cannot be restored.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count what would be deleted; delete nothing.")] = False,
    json_output: flags.JsonOption = False,
) -> None:
    """Delete a source with its results, corrections and history.

    Neither its images nor the product table are touched. After an interruption, the same command continues.
    """
    from cataloger.history import count_recorded, delete_source
    from cataloger.hooks import Hooks

    if yes and dry_run:
        raise UsageError("--dry-run deletes nothing, so that there is nothing to confirm: leave out --yes")
    with open_results(db, schema) as database, stop_on_interrupt() as stop:
        report = count_recorded(database, source)
        if not (yes or dry_run):
            raise UsageError(f"{_counted(report)} would be deleted permanently; add --yes to confirm")
        if yes:
            report = delete_source(database, source, Hooks(stop))
    if json_output:
        render.print_json(report.as_json())
    else:
        _print_deletion(report)
    if report.interrupted:
        raise typer.Exit(INTERRUPTED_STATUS)


def _counted(report: "DeletionReport") -> str:
    return (
        f"the {report.kind} {report.source} with {report.images:,} images, {report.results:,} results of images, "
        f"{report.product_results:,} of products, {report.corrections:,} corrections, {report.writes:,} records of "
        "written values"
    )


def _print_deletion(report: "DeletionReport") -> None:
    if report.interrupted:
        typer.echo(
            f"{report.deleted:,} of {report.images:,} images are deleted; run the same command again to continue"
        )
    elif report.run_id is None:
        typer.echo(f"would delete {_counted(report)}")
    else:
        typer.echo(f"deleted {_counted(report)}")
