"""`cataloger sources`: list what has been tagged, and record a new location."""

from typing import Annotated

import typer

from cataloger.cli import flags, render
from cataloger.cli.groups import make_group
from cataloger.cli.run_command import open_results
from cataloger.options import DEFAULT_DB

app = make_group("Sources: list, move.")


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
    render.stdout_console().print(
        render.table(("kind", "source", "images", "missing", "model"), rows or [("none", "", "", "", "")])
    )


@app.command()
def move(
    old: Annotated[str, typer.Argument(metavar="OLD", help="The source, as `cataloger sources list` shows it.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="Its new location.")],
    db: flags.DbOption = DEFAULT_DB,
    schema: flags.SchemaOption = None,
) -> None:
    """Record that a source was moved: a renamed folder or manifest, or a new table name; it keeps its results."""
    from cataloger.history import relocate_source

    with open_results(db, schema) as database:
        items = relocate_source(database, old, new)
    typer.echo(f"{database.name}: {old} is now {new}, with {items:,} images")
