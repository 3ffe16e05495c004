"""`cataloger report`."""

from pathlib import Path
from typing import Annotated

import typer

from cataloger.cli import flags, render
from cataloger.cli.run_command import open_results, require_file
from cataloger.options import DEFAULT_DB

EXAMPLES = """\b
Examples:
  cataloger report                              the current results, after the latest run: report.html
  cataloger report --run 12 -o run12.html       only the results of run 12
  cataloger report --review-url http://shop:8765  its pictures link into the review page there
  cataloger report --json | jq .failures

The page contains all its images: it opens offline, and can be sent by mail.
"""


def report(
    db: flags.DbOption = DEFAULT_DB,
    schema: flags.SchemaOption = None,
    run: Annotated[
        int | None,
        typer.Option("--run", metavar="RUN", help="Only the results of this run. Default: all current results."),
    ] = None,
    source: Annotated[
        str | None, typer.Option("--source", metavar="ROOT", help="Only this source, if the run had several.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Page to write. Default: report.html.")
    ] = None,
    images: Annotated[int, typer.Option("--images", min=0, max=100, help="Thumbnails per category.")] = 12,
    maps: Annotated[
        bool,
        typer.Option("--maps/--no-maps", help="Show which areas of uncertain images speak for their categories."),
    ] = True,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="DIR", help="Directory of the model that gave the results, if it was moved."),
    ] = None,
    allow_private: Annotated[
        bool,
        typer.Option(
            "--allow-private",
            envvar="CATALOGER_ALLOW_PRIVATE",
            help="Also download from private and local addresses, such as the shop's own.",
        ),
    ] = False,
    review_url: Annotated[
        str,
        typer.Option(
            "--review-url",
            envvar="CATALOGER_REVIEW_URL",
            metavar="URL",
            help="Where the review page is served, for the links of the images; '' for no links.",
        ),
    ] = "http://127.0.0.1:8765",
    json_output: Annotated[
        bool,
        typer.Option(
            "--json", envvar="CATALOGER_JSON", help="Print the data as JSON; write a page only with --output."
        ),
    ] = False,
    log_format: flags.LogFormatOption = "text",
    quiet: flags.QuietOption = False,
    no_progress: flags.NoProgressOption = False,
) -> None:
    """Write an HTML page about a run.

    It shows settings, categories, confidences, failures, images and changes. The thumbnails are samples: the least
    confident images first, and some of the others.
    """
    render.set_up_logging(verbose=0, quiet=quiet, form=log_format)
    from cataloger.report import PageOptions, ReportOptions, gather_report, write_page

    options = ReportOptions(run, source, images)
    path = output or (None if json_output else Path("report.html"))
    if path:
        require_file(path, "--output")
    progress_bar = render.progress_bar(enabled=not (quiet or no_progress))
    with open_results(db, schema) as database, progress_bar as bar:
        task = bar.add_task("counting", total=None, extra="")

        def gathering(what: str, count: int) -> None:
            bar.update(task, description=what, completed=count)

        def drawing(done: int, total: int) -> None:
            bar.update(task, description="reading pictures", completed=done, total=total)

        found = gather_report(database, options, gathering)
        if path:
            write_page(database, found, PageOptions(path, maps, model, allow_private, review_url), drawing)
    if json_output:
        render.print_json(found.as_json())
    elif not quiet:
        typer.echo(f"run {found.run.id}: {found.tagged:,} of {found.images:,} images have a category; wrote {path}")
        if run is not None and found.run.pruned:
            typer.echo(
                "its history was deleted by `cataloger runs prune`: only its current results are left", err=True
            )
