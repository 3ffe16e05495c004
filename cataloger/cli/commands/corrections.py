"""`cataloger corrections`: export to, import from spreadsheets, and list."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cataloger.cli import flags, render
from cataloger.cli.groups import make_group
from cataloger.cli.run_command import login_name, open_results, require_file
from cataloger.contracts import Decision
from cataloger.errors import FAILURES_STATUS, UsageError
from cataloger.options import DEFAULT_DB
from cataloger.utils import counted, printable

if TYPE_CHECKING:
    from cataloger.corrections import AuthorSummary, CorrectionSummary, ImportReport, What
    from cataloger.reviewers import Agreement, DayOfPerson

SHOWN = 20

app = make_group("Corrections of people to images: export, import, list.")

EXPORT_EXAMPLES = """\b
Examples:
  cataloger corrections export corrections.csv
  cataloger corrections export to-do.csv --predictions --decision review
  cataloger corrections export to-do.csv --predictions --below 0.8
  cataloger corrections export to-do.csv --for-adapting 100 --source photos

Fill in the column label, or write not_product into verdict, and import the file again.
"""
IMPORT_EXAMPLES = """\b
Examples:
  cataloger corrections import to-do.csv --dry-run
  cataloger corrections import to-do.csv --author ann

\b
A row needs label, and key or uri. Exit status 3: some rows were not imported; each is listed with its line.
"""

SourceOption = Annotated[
    str | None,
    typer.Option("--source", metavar="NAME", help="Only this source, as `cataloger sources list` names it."),
]


@app.command("export", epilog=EXPORT_EXAMPLES)
def export_command(
    file: Annotated[Path, typer.Argument(metavar="FILE.csv", help="File to write.")],
    db: flags.DbOption = DEFAULT_DB,
    schema: flags.SchemaOption = None,
    source: SourceOption = None,
    history: Annotated[
        bool, typer.Option("--all", help="All corrections ever made, not only the current ones.")
    ] = False,
    predictions: Annotated[
        bool, typer.Option("--predictions", help="Every image with the model's result, for people to correct.")
    ] = False,
    decision: Annotated[
        Decision | None,
        typer.Option("--decision", help="Only predictions with this decision."),
    ] = None,
    below: Annotated[
        float | None,
        typer.Option("--below", min=0.0, max=1.0, help="Only predictions with a lower confidence."),
    ] = None,
    for_adapting: flags.ForAdaptingOption = None,
) -> None:
    """Write corrections, or results to be corrected, to a CSV file."""
    from cataloger.corrections import ExportOptions, export_corrections

    if history and predictions:
        raise UsageError("--all and --predictions cannot be combined; use one of them")
    require_file(file, "FILE.csv")
    what: What = "history" if history else "predictions" if predictions else "current"
    options = ExportOptions(what, source, decision, below, for_adapting)
    with open_results(db, schema) as database:
        count = export_corrections(database, file, options)
    render.stderr_console().print(f"wrote {file}: {counted(count, 'row')}", markup=False)


@app.command("import", epilog=IMPORT_EXAMPLES)
def import_command(
    file: Annotated[Path, typer.Argument(metavar="FILE.csv", help="File that people have filled in.")],
    db: flags.DbOption = DEFAULT_DB,
    schema: flags.SchemaOption = None,
    source: SourceOption = None,
    author: Annotated[
        str | None,
        typer.Option("--author", metavar="NAME", help="Author of the corrections. Default: the login name."),
    ] = None,
    new_labels: Annotated[bool, typer.Option("--new-labels", help="Accept labels that no model has.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Also replace corrections that were made since the export.")
    ] = False,
    dry_run: flags.DryRunOption = False,
    json_output: flags.JsonOption = False,
) -> None:
    """Import corrections from a CSV file. Rows that cannot be imported are listed; the others are saved."""
    from cataloger.corrections import ImportOptions, import_corrections

    options = ImportOptions(login_name() if author is None else author, source, new_labels, overwrite, dry_run)
    with open_results(db, schema) as database:
        report = import_corrections(database, file, options)
    if json_output:
        render.print_json(report.as_json())
    else:
        _print_report(report, dry_run=dry_run)
    if report.problems or report.conflicts:
        raise typer.Exit(FAILURES_STATUS)


@app.command("list")
def list_command(
    db: flags.DbOption = DEFAULT_DB,
    schema: flags.SchemaOption = None,
    source: SourceOption = None,
    json_output: flags.JsonOption = False,
) -> None:
    """Count corrections by author and day.

    Also those that the model had right, and how far two people agree who saw the same products.
    """
    from cataloger.corrections import summarize
    from cataloger.ledger import find_source_id
    from cataloger.reviewers import measure_agreement, read_activity, read_assignments, read_pairs

    with open_results(db, schema) as database:
        source_id = find_source_id(database, source)
        summary, days = summarize(database, source_id), read_activity(database, source_id)
        pairs, assignments = read_pairs(database, source_id), read_assignments(database)
    agreement = measure_agreement(pairs)
    if json_output:
        values = {**summary.as_json(), "days": [each.as_json() for each in days], "agreement": agreement.as_json()}
        values["disagreements"] = [each.as_json() for each in pairs if each.disputed is not None]
        render.print_json({**values, "assignments": [each.as_json() for each in assignments]})
    else:
        _print_summary(summary)
        _print_together(days, agreement)


def _print_report(report: "ImportReport", *, dry_run: bool) -> None:
    console = render.stderr_console()
    for line, kind, text in sorted(report.notes[:SHOWN]):
        console.print(f"line {line}: {kind}: {printable(text)}", markup=False)
    if (more := report.problems + report.conflicts - SHOWN) > 0:
        console.print(f"{more:,} more; --json names up to a thousand")
    numbers = (report.saved, report.same, report.empty, report.conflicts, report.problems)
    first = "would be saved" if dry_run else "saved"
    columns = (first, "unchanged", "empty", "conflicts", "problems")
    render.stdout_console().print(render.table(columns, [numbers]))


def _print_summary(summary: "CorrectionSummary") -> None:
    rows = [_row(each) for each in (*summary.authors, summary.total)]
    columns = ("author", "corrections", "not a product", "same as the model")
    console = render.stdout_console()
    console.print(render.table(columns, rows))
    console.print(f"images in all: {summary.images:,}")
    console.print(f"corrections ever made, replaced and withdrawn ones included: {summary.ever:,}")


def _print_together(days: Sequence["DayOfPerson"], agreement: "Agreement") -> None:
    console = render.stdout_console()
    if days:
        columns = ("day", "author", "products", "images", "same as the model")
        rows = [(each.day, each.person, each.products, each.images, each.agreed) for each in days]
        console.print(render.table(columns, rows))
    if agreement.products:
        kappa, same = agreement.kappa, f"{agreement.same:,} of {counted(agreement.products, 'product')}"
        line = f"answered twice with the same answer: {same}; still to be decided: {agreement.open:,}"
        console.print(line, markup=False)
        if kappa.value == kappa.value:
            console.print(f"Cohen's kappa: {kappa.value:.2f} ({kappa.low:.2f} to {kappa.high:.2f})", markup=False)


def _row(each: "AuthorSummary") -> tuple[object, ...]:
    agreed = f"{each.agreed:,} of {each.judged:,}" + (f" ({each.agreed / each.judged:.1%})" if each.judged else "")
    return (each.author, each.corrections, each.not_product, agreed)
