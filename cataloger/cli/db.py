"""`cataloger db`: the tables of cataloger in a database."""

from typing import Annotated

import typer

from cataloger.cli import options as flags
from cataloger.cli import render
from cataloger.cli.groups import make_group
from cataloger.errors import UsageError
from cataloger.options import DEFAULT_DB

app = make_group("The tables of cataloger: upgrade, downgrade, current.")


@app.command()
def upgrade(
    db: flags.DbOption = DEFAULT_DB,
    schema: flags.SchemaOption = None,
    sql: Annotated[bool, typer.Option("--sql", help="Print the statements instead of running them.")] = False,
) -> None:
    """Create the tables and views of cataloger, or bring them to this version; touches nothing else."""
    from cataloger.db import schema as schemas
    from cataloger.db.urls import DatabaseURL

    url = DatabaseURL.parse(db)
    if sql:
        typer.echo(schemas.upgrade_sql(url, schema=schema))
        return
    before = schemas.current(url, schema=schema)
    schemas.upgrade(url, schema=schema)
    after = schemas.current(url, schema=schema)
    changed = f"from {before or 'no tables'} to {after}" if before != after else f"already at {after}"
    typer.echo(f"{url.redacted}: {changed}")


@app.command()
def downgrade(
    revision: Annotated[str, typer.Argument(help="An older revision, or 'base' for no tables at all.")],
    db: flags.DbOption = DEFAULT_DB,
    schema: flags.SchemaOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it: what only newer revisions hold is lost.")] = False,
) -> None:
    """Take the tables back to an older revision, before an older version of cataloger is installed again."""
    from cataloger.db import schema as schemas
    from cataloger.db.urls import DatabaseURL

    url = DatabaseURL.parse(db)
    if not yes:
        raise UsageError(
            f"a downgrade of {url.redacted} loses what only newer revisions hold ('base': everything that cataloger "
            "recorded); add --yes to do it"
        )
    before = schemas.current(url, schema=schema)
    schemas.downgrade(url, revision, schema=schema)
    after = schemas.current(url, schema=schema)
    typer.echo(f"{url.redacted}: from {before} to {after or 'no tables'}")


@app.command()
def current(
    db: flags.DbOption = DEFAULT_DB, schema: flags.SchemaOption = None, json_output: flags.JsonOption = False
) -> None:
    """Say which revision the tables have and which one this version needs."""
    from cataloger.db import schema as schemas
    from cataloger.db.urls import DatabaseURL

    url = DatabaseURL.parse(db)
    revision, head = schemas.current(url, schema=schema), schemas.HEAD
    if json_output:
        render.print_json({"db": url.redacted, "revision": revision, "head": head})
    else:
        state = "up to date" if revision == head else f"run `cataloger db upgrade --db {url.redacted}`"
        typer.echo(f"{url.redacted}: revision {revision or 'none'}, this version has {head} ({state})")
