"""`cataloger review`."""

import importlib.util
import os
import sys
import webbrowser
from typing import Annotated

import typer

from cataloger.cli import flags
from cataloger.cli.run_command import login_name, open_results
from cataloger.errors import MissingExtraError, UsageError
from cataloger.options import DEFAULT_DB

EXAMPLES = """\b
Examples:
  cataloger review --db sqlite:///catalog.db
  cataloger review --source /srv/photos --port 0 --author anna
  cataloger review --source /srv/photos --for-adapting 100
  cataloger review --double 5% --db postgresql://shop@db.example/catalog
  cataloger review --show title,price --link "https://shop.example/admin?id={key}"
  cataloger review --host 0.0.0.0 --db postgresql://shop@db.example/catalog
"""


def review(
    db: flags.DbOption = DEFAULT_DB,
    schema: flags.SchemaOption = None,
    source: Annotated[
        str | None,
        typer.Option("--source", metavar="NAME", help="Source to show first, as `cataloger sources list` names it."),
    ] = None,
    for_adapting: flags.ForAdaptingOption = None,
    show: Annotated[
        str,
        typer.Option("--show", metavar="COLUMNS", help="Columns of the product table to show, e.g. title,price."),
    ] = "",
    double: Annotated[
        str,
        typer.Option(
            "--double",
            metavar="SHARE",
            help="Share of the products that a second person reviews without seeing the first answer, e.g. 5%.",
        ),
    ] = "0",
    link: Annotated[
        str,
        typer.Option("--link", metavar="URL", help="Address of a product in the shop, with {key} in it."),
    ] = "",
    host: Annotated[
        str,
        typer.Option(
            "--host", envvar="CATALOGER_REVIEW_HOST", help="Address to listen on; any but loopback needs a token."
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port to listen on; 0: any free port.")
    ] = 8765,
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            envvar="CATALOGER_REVIEW_TOKEN",
            help="Token in the address of the page. Without it, a random one is used if --host is not loopback.",
        ),
    ] = None,
    author: Annotated[
        str | None,
        typer.Option(
            "--author", help="Author of corrections until a reviewer enters a name. Default: the login name."
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            envvar="CATALOGER_MODEL",
            metavar="DIR|NAME@VERSION|default",
            help="Bundle for the activation maps. Default: the one that tagged the source.",
        ),
    ] = None,
    allow_private: Annotated[
        bool,
        typer.Option("--allow-private", help="Also show images from web servers with private addresses."),
    ] = False,
    open_browser: Annotated[
        bool | None, typer.Option("--open/--no-open", help="Open a browser. Default: on a desktop.")
    ] = None,
) -> None:
    """Accept or correct results in a browser, with one key each.

    Serves a local web page until Ctrl-C. Corrections are stored in the database with author and time, and have
    priority over the model's results.
    """
    if any(importlib.util.find_spec(name) is None for name in ("starlette", "uvicorn")):
        raise MissingExtraError("review", "cataloger review")
    from cataloger.review import Access, ReviewOptions, is_loopback, new_token, serve

    access = Access(host, token or (None if is_loopback(host) else new_token()))
    options = ReviewOptions(
        access,
        author or login_name(),
        port,
        source,
        model,
        allow_private=allow_private,
        for_adapting=for_adapting,
        show=tuple(filter(None, map(str.strip, show.split(",")))),
        link=link,
        double=_share(double),
    )
    with open_results(db, schema) as database:

        def ready(address: str) -> None:
            typer.echo(address)
            typer.echo(f"review of {database.name}; press Ctrl-C to stop", err=True)
            if _is_desktop() if open_browser is None else open_browser:
                webbrowser.open(address)

        typer.echo(f"reading the results in {database.name}: about a second per 100,000 images", err=True)
        serve(database, options, ready)


def _share(text: str) -> float:
    """Return a share that is written as `5%` or `0.05`. Raises UsageError."""
    number = text.strip().removesuffix("%")
    try:
        share = float(number) / (100 if number != text.strip() else 1)
    except ValueError:
        share = -1.0
    if not 0.0 <= share <= 1.0:
        raise UsageError(f"--double {text}: give a share of the products, such as 5%")
    return share


def _is_desktop() -> bool:
    """True where somebody sits before a screen; elsewhere a browser in the terminal would open."""
    has_screen = sys.platform in ("win32", "darwin") or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))
    return has_screen and sys.stdout.isatty()
