"""`cataloger runs`: list, show, compare, undo and prune runs."""

import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cataloger.cli import flags, render
from cataloger.cli.groups import make_group
from cataloger.cli.run_command import open_results, stop_on_interrupt
from cataloger.errors import INTERRUPTED_STATUS, UsageError
from cataloger.options import DEFAULT_DB
from cataloger.utils import counted, shown_key

if TYPE_CHECKING:
    from cataloger.history import Difference, DifferenceSummary, Part, UndoReport
    from cataloger.ledger import RunRecord

REMOVED = "gone"
"""Name of this change in JSON and CSV; the table shows a plainer one."""
COUNTS = {
    "seconds": "seconds waited for",
    "total_seconds": "seconds with startup",
    "failed_first": "first image of each failure",
    "failed_why": "why that image failed",
    "gone": "removed from the source",
    "returned": "restored",
    "forgotten": "deleted (--forget)",
    "write_back": "written back",
}
"""What the table calls a key of the counts, where that is another name."""
ALWAYS = ("done", "failed", "skipped")
"""Counts that the table shows also when they are 0."""

app = make_group("Runs: list, show, diff, undo, prune.")

DIFF_EXAMPLES = """\b
Examples:
  cataloger runs diff 12 13
  cataloger runs diff 12 13 --format csv > moved.csv
  cataloger runs diff 12 13 --json | jq .products.moved
"""
UNDO_EXAMPLES = """\b
Examples:
  cataloger runs undo 13
  cataloger runs undo 13 --skip-edited    keep cells that people have changed since
  cataloger runs undo 14                  if 14 was an undo: revert that undo

The next `tag` or `sync` with the same options repeats what was undone; correct its cause first.
"""

RunArgument = Annotated[int, typer.Argument(metavar="RUN", help="Number of the run, from `cataloger runs list`.")]
ExamplesOption = Annotated[
    int, typer.Option("--examples", min=0, help="Number of images and products to list, of each kind.")
]


@app.command("list")
def list_command(
    db: flags.DbOption = DEFAULT_DB,
    schema: flags.SchemaOption = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Number of runs, newest first.")] = 20,
    json_output: flags.JsonOption = False,
) -> None:
    """List the latest runs: command, counts, model, and how they ended."""
    from cataloger.ledger import list_runs

    with open_results(db, schema) as database:
        runs = list_runs(database, limit)
    if json_output:
        render.print_json([run.as_json() for run in runs])
        return
    columns = ("run", "started (UTC)", "command", "done", "failed", "skipped", "written", "model", "state")
    render.stdout_console().print(render.table(columns, [_row(run) for run in runs] or [("none", *[""] * 8)]))


def _row(run: "RunRecord") -> tuple[object, ...]:
    counts = (run.counts.get(name, "") for name in ("done", "failed"))
    skipped = run.counts.get("skipped", "")
    models = ", ".join(sorted({model for _, model in run.sources}))
    written = sum(run.written.values()) or ""
    started = run.started_at.strftime("%Y-%m-%d %H:%M")
    return (run.id, started, run.command, *counts, skipped, written, models, run.state)


@app.command()
def show(
    run: RunArgument,
    db: flags.DbOption = DEFAULT_DB,
    schema: flags.SchemaOption = None,
    json_output: flags.JsonOption = False,
) -> None:
    """Show one run: options, counts, written columns, and how it ended."""
    from cataloger.ledger import find_run

    with open_results(db, schema) as database:
        record = find_run(database, run)
    if json_output:
        render.print_json(record.as_json())
        return
    rows: list[tuple[str, object]] = [
        ("run", record.id),
        ("command", record.command),
        ("state", record.state),
        ("started (UTC)", record.started_at.strftime("%Y-%m-%d %H:%M:%S")),
        ("seconds", "" if record.seconds is None else f"{record.seconds:,.1f}"),
        ("version, device", f"{record.version}, {record.device}"),
        *((f"source {number}", f"{root} ({model})") for number, (root, model) in enumerate(record.sources, start=1)),
        *((f"written to {column}", count) for column, count in record.written.items()),
        *((name, record.counts[name]) for name in ALWAYS if name in record.counts),
        *((COUNTS.get(name, name.replace("_", " ")), text) for name, text in _happened(record.counts)),
        *((f"option {name}", text) for name, text in _filled(record.options)),
    ]
    render.stdout_console().print(render.table(("", ""), rows))


def _happened(counts: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the counts that are not 0, as text; without those that are shown always."""
    rest = {name: value for name, value in counts.items() if value != 0 and name not in ALWAYS}
    if isinstance(rest.get("write_back"), dict):
        rest["write_back"] = dict(_happened(rest["write_back"]))
    return _filled(rest)


def _filled(values: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what is set, as text; without flags that were not given."""
    filled = {name: value for name, value in values.items() if value is not False and value not in ({}, [], None, "")}
    return [(name, _plain(value)) for name, value in filled.items()]


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {text}" for name, text in _filled(value))
    return ", ".join(map(_plain, value)) if isinstance(value, list) else str(value)


@app.command(epilog=DIFF_EXAMPLES)
def diff(
    before: Annotated[int, typer.Argument(metavar="A", help="Number of the earlier run.")],
    after: Annotated[int, typer.Argument(metavar="B", help="Number of the later run.")],
    db: flags.DbOption = DEFAULT_DB,
    schema: flags.SchemaOption = None,
    output_format: Annotated[
        Literal["table", "json", "csv"],
        typer.Option("--format", help="csv has a line for every image and product that changed."),
    ] = "table",
    examples: ExamplesOption = 10,
    json_output: flags.JsonOption = False,
) -> None:
    """Compare the results after two runs.

    Shows changed categories, changed confidences and changes per category. Runs of two models are compared on the
    images that both have tagged.
    """
    from cataloger.history import DifferenceSummary, compare

    if json_output and output_format == "csv":
        raise UsageError("--json and --format csv exclude each other: leave one of them out")
    with open_results(db, schema) as database:
        differences = compare(database, before, after)
        if output_format == "csv":
            _print_csv(differences)
            return
        summary = DifferenceSummary(examples)
        for difference in differences:
            summary.add(difference)
    if json_output or output_format == "json":
        render.print_json({"before": before, "after": after, **summary.as_json()})
    else:
        _print_summary(summary)


def _print_csv(differences: Any) -> None:
    from cataloger.history import Difference, PastAnswer
    from cataloger.tabular import write_csv

    columns = list(Difference("image", "", "", None, PastAnswer(None, None), None).as_json())
    rows = (list(each.as_json().values()) for each in differences if each.change != "same")
    write_csv(sys.stdout, columns, rows)


def _print_summary(summary: "DifferenceSummary") -> None:
    console = render.stdout_console()
    names = ("same", "moved", "new", REMOVED, "failed", "recovered")
    parts: list[tuple[str, Part]] = [("images", summary.parts["image"]), ("products", summary.parts["product"])]
    parts = [(name, part) for name, part in parts if part.changes]
    rows = [(name, *(part.changes[each] for each in names)) for name, part in parts]
    titles = ["removed" if name == REMOVED else name for name in names]
    console.print(render.table(("", *titles), rows or [("nothing", *[0] * len(names))]))
    for name, part in parts:
        if not part.moves:
            continue
        churn = [tuple(row.values()) for row in part.churn() if row["left"] or row["arrived"]]
        console.print(render.table((f"{name} by category", "before", "left", "arrived", "after"), churn))
        moves = [(f"{old} -> {new}", count) for (old, new), count in part.moves.most_common(10)]
        console.print(render.table((f"{name}: most frequent moves", "count"), moves))
    if summary.moved:
        title = "moved, most confident first"
        console.print(render.table((title, "", "before", "", "after", ""), _lines(summary.moved)))
    if summary.shifted:
        title = "same category, largest changes of confidence"
        console.print(render.table((title, "", "before", "", "after", ""), _lines(summary.shifted)))


def _lines(differences: "list[Difference]") -> list[tuple[object, ...]]:
    return [
        (
            shown_key(each.key),
            each.kind,
            each.before.label if each.before else "",
            each.before.confidence if each.before else "",
            each.after.label if each.after else "",
            each.after.confidence if each.after else "",
        )
        for each in differences
    ]


@app.command(epilog=UNDO_EXAMPLES)
def undo(
    run: RunArgument,
    db: flags.DbOption = DEFAULT_DB,
    schema: flags.SchemaOption = None,
    skip_edited: Annotated[
        bool, typer.Option("--skip-edited", help="Keep cells that people have changed since, and undo the rest.")
    ] = False,
    json_output: flags.JsonOption = False,
    log_format: flags.LogFormatOption = "text",
    quiet: flags.QuietOption = False,
    no_progress: flags.NoProgressOption = False,
) -> None:
    """Undo a run, in the views and in written columns.

    They get the values that they would have without it. After an interruption, run the same command again to
    continue.
    """
    render.set_up_logging(verbose=0, quiet=quiet, form=log_format)
    from cataloger.history import undo_run
    from cataloger.hooks import Hooks

    bar = render.progress_bar(enabled=not (quiet or no_progress))
    with open_results(db, schema) as database, stop_on_interrupt() as stop, bar as shown:
        task = None if shown.disable else shown.add_task("undoing", total=None, extra="")

        def progress(done: int, total: int) -> None:
            if task is not None:
                shown.update(task, completed=done, total=total)

        report = undo_run(database, run, skip_edited=skip_edited, hooks=Hooks(stop, progress))
    if json_output:
        render.print_json(report.as_json())
    elif not quiet:
        _print_undo(report)
    if report.exit_status:
        raise typer.Exit(report.exit_status)


def _print_undo(report: "UndoReport") -> None:
    console = render.stdout_console()
    if report.interrupted:
        console.print(f"run {report.undone_id} is undone in part; run the same command again to continue")
        return
    what = "is undone" if report.reapplied_id is None else f"is reverted: run {report.reapplied_id} is reapplied"
    console.print(f"run {report.undone_id} {what}")
    if report.images:
        console.print(f"current results recomputed: {counted(report.images, 'image')}")
    if report.restored:
        restored = ", ".join(f"{column} {count:,}" for column, count in report.restored.items())
        console.print(f"values restored in tables of the shop: {restored}")
    if report.edited:
        console.print(
            f"not restored, since people have changed them: {counted(report.edited, 'value')}, e.g. of "
            f"{', '.join(dict.fromkeys(report.edited_products))}"
        )
    if report.missing:
        console.print(f"no longer in the product table: {counted(report.missing, 'product')}")
    if report.refused:
        console.print(f"refused by the table: {report.refused:,}, e.g. {'; '.join(report.reasons)}")
    console.print(f"to revert this: cataloger runs undo {report.run_id}")


@app.command()
def prune(
    keep: Annotated[
        int, typer.Option("--keep", min=1, help="Number of newest runs of tag and sync whose history is kept.")
    ],
    db: flags.DbOption = DEFAULT_DB,
    schema: flags.SchemaOption = None,
    json_output: flags.JsonOption = False,
) -> None:
    """Delete the history of older runs; they cannot be undone afterwards.

    The current results are kept, and so is everything that undoing the kept runs needs.
    """
    from cataloger.history import prune_runs
    from cataloger.hooks import Hooks

    with open_results(db, schema) as database, stop_on_interrupt() as stop:
        report = prune_runs(database, keep, Hooks(stop))
    if json_output:
        render.print_json(report.as_json())
    else:
        typer.echo(
            f"deleted the history of {counted(report.runs, 'run')}: {counted(report.results, 'result')} of images, "
            f"{report.product_results:,} of products, {counted(report.writes, 'written value')}, "
            f"{counted(report.presences, 'note')} that an image is missing or restored"
        )
        if report.interrupted:
            typer.echo("interrupted; run the same command again to continue")
    if report.interrupted:
        raise typer.Exit(INTERRUPTED_STATUS)
