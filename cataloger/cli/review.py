"""`cataloger review`."""

import importlib.util
import os
import sys
import webbrowser
from typing import Annotated

import typer

from cataloger.cli import options as flags
from cataloger.cli.running import open_results
from cataloger.errors import MissingExtraError
from cataloger.options import DEFAULT_DB
from cataloger.owner import login_name

EXAMPLES = """\b
Examples:
  cataloger review --db sqlite:///catalog.db
  cataloger review --source /srv/photos --port 0 --author anna
  cataloger review --host 0.0.0.0 --db postgresql://shop@db.example/catalog
"""


def review(
    db: flags.DbOption = DEFAULT_DB,
    schema: flags.SchemaOption = None,
    source: Annotated[
        str | None,
        typer.Option("--source", metavar="NAME", help="Show this one first, as `cataloger sources list` names it."),
    ] = None,
    host: Annotated[
        str, typer.Option("--host", envvar="CATALOGER_REVIEW_HOST", help="Address to listen on; others need a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port to listen on; 0: any free one.")] = 8765,
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            envvar="CATALOGER_REVIEW_TOKEN",
            help="What lets people in. Other addresses than loopback always have one; made up if you give none.",
        ),
    ] = None,
    author: Annotated[
        str | None,
        typer.Option(
            "--author", help="Who speaks, until a reviewer gives a name in the page. Default: the login name."
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            envvar="CATALOGER_MODEL",
            metavar="DIR|default",
            help="Bundle for the activation maps. Default: where the one that has tagged the source was.",
        ),
    ] = None,
    allow_private: Annotated[
        bool,
        typer.Option("--allow-private", help="Show pictures from web servers with private addresses too."),
    ] = False,
    open_browser: Annotated[
        bool | None, typer.Option("--open/--no-open", help="Open a browser. Default: on a desktop.")
    ] = None,
) -> None:
    """Review answers in a browser: accept or correct them with one key. A person's word goes before the model's.

    Serves a local web page until Ctrl-C. Words are kept in the database, with who said them, when, and what of.
    """
    if any(importlib.util.find_spec(name) is None for name in ("starlette", "uvicorn")):
        raise MissingExtraError("review", "cataloger review")
    from cataloger.review.security import Access, is_loopback, new_token
    from cataloger.review.server import ReviewOptions, serve

    access = Access(host, token or (None if is_loopback(host) else new_token()))
    options = ReviewOptions(access, author or login_name(), port, source, model, allow_private)
    with open_results(db, schema) as database:

        def ready(address: str) -> None:
            typer.echo(address)
            typer.echo(f"review of {database.name}; Ctrl-C ends it", err=True)
            if _is_desktop() if open_browser is None else open_browser:
                webbrowser.open(address)

        typer.echo(f"reading the results in {database.name}: a second for each hundred thousand", err=True)
        serve(database, options, ready)


def _is_desktop() -> bool:
    """True where somebody sits before a screen; elsewhere a browser in the terminal would open."""
    has_screen = sys.platform in ("win32", "darwin") or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))
    return has_screen and sys.stdout.isatty()
