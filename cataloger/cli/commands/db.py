"""`cataloger db`: the tables of cataloger in a database."""

from typing import Annotated

import typer

from cataloger.cli import flags, render
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
    """Create the tables and views of cataloger, or upgrade them.

    Other tables are not changed.
    """
    from cataloger.db import DatabaseURL
    from cataloger.schema import revisions as schemas

    url = DatabaseURL.parse(db)
    if sql:
        typer.echo(schemas.upgrade_sql(url, schema=schema))
        return
    before = schemas.current(url, schema=schema)
    schemas.upgrade(url, schema=schema)
    after = schemas.current(url, schema=schema)
    changed = f"from {before or 'no tables'} to {after}" if before != after else f"already at {after}"
    typer.echo(f"{url.redacted}: {changed}")
    if limits := schemas.encoding_limits(url, schema=schema):
        typer.echo(f"cataloger: warning: {limits}", err=True)


@app.command()
def downgrade(
    revision: Annotated[str, typer.Argument(help="An older revision, or 'base' for no tables at all.")],
    db: flags.DbOption = DEFAULT_DB,
    schema: flags.SchemaOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Confirm: data that only newer revisions have is lost.")] = False,
) -> None:
    """Convert the tables to an older revision.

    Do so before you install an older version of cataloger.
    """
    from cataloger.db import DatabaseURL
    from cataloger.schema import revisions as schemas

    url = DatabaseURL.parse(db)
    if not yes:
        raise UsageError(
            f"a downgrade of {url.redacted} loses the data that only newer revisions have ('base': all data of "
            "cataloger); add --yes to confirm"
        )
    before = schemas.current(url, schema=schema)
    schemas.downgrade(url, revision, schema=schema)
    after = schemas.current(url, schema=schema)
    typer.echo(f"{url.redacted}: from {before} to {after or 'no tables'}")


@app.command()
def current(
    db: flags.DbOption = DEFAULT_DB, schema: flags.SchemaOption = None, json_output: flags.JsonOption = False
) -> None:
    """Show the revision of the tables, and the one that is needed."""
    from cataloger.db import DatabaseURL
    from cataloger.schema import revisions as schemas

    url = DatabaseURL.parse(db)
    revision, head = schemas.current(url, schema=schema), schemas.HEAD
    if json_output:
        render.print_json({"db": url.redacted, "revision": revision, "head": head})
    else:
        state = "up to date" if revision == head else f"run `cataloger db upgrade --db {url.redacted}`"
        typer.echo(f"{url.redacted}: revision {revision or 'none'}, this version has {head} ({state})")
