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
    from cataloger.db.session import redact

    if sql:
        typer.echo(schemas.upgrade_sql(db, schema=schema))
        return
    before = schemas.current(db, schema=schema)
    schemas.upgrade(db, schema=schema)
    after = schemas.current(db, schema=schema)
    changed = f"from {before or 'no tables'} to {after}" if before != after else f"already at {after}"
    typer.echo(f"{redact(db)}: {changed}")


@app.command()
def downgrade(
    revision: Annotated[str, typer.Argument(help="An older revision, or 'base' for no tables at all.")],
    db: flags.DbOption = DEFAULT_DB,
    schema: flags.SchemaOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it: what only newer revisions hold is lost.")] = False,
) -> None:
    """Take the tables back to an older revision, before an older version of cataloger is installed again."""
    from cataloger.db import schema as schemas
    from cataloger.db.session import redact

    if not yes:
        raise UsageError(
            f"a downgrade of {redact(db)} loses what only newer revisions hold ('base': everything that cataloger "
            "recorded); add --yes to do it"
        )
    before = schemas.current(db, schema=schema)
    schemas.downgrade(db, revision, schema=schema)
    after = schemas.current(db, schema=schema)
    typer.echo(f"{redact(db)}: from {before} to {after or 'no tables'}")


@app.command()
def current(
    db: flags.DbOption = DEFAULT_DB, schema: flags.SchemaOption = None, json_output: flags.JsonOption = False
) -> None:
    """Say which revision the tables have and which one this version needs."""
    from cataloger.db import schema as schemas
    from cataloger.db.session import redact

    revision, head = schemas.current(db, schema=schema), schemas.HEAD
    if json_output:
        render.print_json({"db": redact(db), "revision": revision, "head": head})
    else:
        state = "up to date" if revision == head else f"run `cataloger db upgrade --db {redact(db)}`"
        typer.echo(f"{redact(db)}: revision {revision or 'none'}, this version has {head} ({state})")
