"""`cataloger adapt`: learn one shop's calibration from its labelled images, without training."""

import math
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cataloger.cli import flags, render
from cataloger.cli.run_command import open_results
from cataloger.errors import QualityGateError
from cataloger.model import BundlePlace
from cataloger.options import DEFAULT_DB
from cataloger.utils import counted

if TYPE_CHECKING:
    from cataloger.training.calibration import AdaptReport
    from cataloger.training.metrics import Share

EXAMPLES = """\b
Examples:
  cataloger adapt --db sqlite:///catalog.db --dry-run
  cataloger adapt --db sqlite:///catalog.db --output models/adapted
  cataloger adapt labels.csv --db sqlite:///catalog.db --source photos --output models/adapted
  cataloger adapt --db postgresql://shop@db/shop --output models/adapted \\
                  --query "select sku, category from products where category is not null"
  cataloger recalibrate --db sqlite:///catalog.db --source photos --model models/adapted
"""


def adapt(
    output: Annotated[str | None, flags.bundle_output()] = None,
    labels: Annotated[
        Path | None,
        typer.Argument(metavar="[LABELS]", help="CSV of images or products and their categories."),
    ] = None,
    db: flags.DbOption = DEFAULT_DB,
    schema: flags.SchemaOption = None,
    source: Annotated[
        str | None, typer.Option("--source", metavar="NAME", help="Name or root of the source; needed for several.")
    ] = None,
    query: Annotated[
        str | None,
        typer.Option(
            "--query",
            metavar="SQL",
            help="SELECT of the columns that identify a product and, as the last one, its category.",
        ),
    ] = None,
    query_db: Annotated[
        str | None,
        typer.Option("--query-db", envvar="CATALOGER_QUERY_DB", metavar="URL", help="Its database. Default: --db."),
    ] = None,
    unlabelled: Annotated[
        bool,
        typer.Option(
            "--unlabelled",
            help="Learn from scores alone how frequent the categories are. It may make a shop worse; nothing tells.",
        ),
    ] = False,
    model: Annotated[
        str | None, typer.Option("--model", metavar="DIR", help="Bundle, where it is not where the source's was.")
    ] = None,
    target_precision: flags.TargetPrecisionOption = 0.95,
    dry_run: flags.DryRunOption = False,
    json_output: flags.JsonOption = False,
) -> None:
    """Learn a calibration for one source from its labels.

    No image is read, nothing is trained. Labels are the corrections in the ledger, a CSV, or the categories that a
    query selects, translated by the label map of the source. What does not gain beyond chance is refused, with its
    figures. `cataloger recalibrate --source` applies the bundle, and `cataloger runs undo` takes that back.
    """
    place = None if output is None else BundlePlace(output)
    from cataloger.db import DatabaseURL
    from cataloger.history import count_to_recompute
    from cataloger.training.calibration import AdaptOptions, adapt_source

    with ExitStack() as stack:
        options = AdaptOptions(
            output=None if place is None or dry_run else stack.enter_context(place.folder()),
            source=source,
            labels=labels,
            query=query,
            query_db=DatabaseURL.parse(query_db or db),
            unlabelled=unlabelled,
            model=model,
            target=target_precision,
            dry_run=dry_run,
        )
        database = stack.enter_context(open_results(db, schema))
        report = adapt_source(database, options)
        if place is not None and report.output is not None:
            place.store(Path(report.output))
            report = replace(report, output=str(place))
        if report.adapted_bundle is not None:
            recompute = count_to_recompute(database, report.adapted_bundle, source=report.source)
            report = replace(report, recompute=recompute)
    if json_output:
        render.print_json(report.as_json())
    else:
        _print(report)
    if report.adapted_bundle is None:
        raise QualityGateError(_refusal(report))
    if report.output is None:
        render.stderr_console().print("nothing was written (--dry-run)")
        return
    render.stderr_console().print(
        f"wrote {report.output}: `cataloger recalibrate --db URL --source {report.source} --model {report.output}` "
        "applies it",
        markup=False,
    )


def _refusal(report: "AdaptReport") -> str:
    found = report.adapted
    assert found is not None
    return (
        f"no adaptation of {report.source} gains beyond chance: {found.before.right} of {found.before.images} right "
        f"before, {found.after.right} after (of the products {found.won} got better and {found.lost} worse; chance "
        f"{found.chance:.2f}). Nothing was written: label more images, or leave the model as it is"
    )


def _print(report: "AdaptReport") -> None:
    from cataloger.training.calibration import needing_more, shares

    console, found = render.stdout_console(), report.adapted
    if found is None:
        console.print(f"learned from {report.stored:,} images without labels; nothing measures whether it is better")
        _print_recompute(report)
        return
    rows = []
    for when in ("before", "after"):
        right, accepted_right, coverage = shares(found, when)
        rows.append((when, _share(right), f"{coverage:.1%}", _share(accepted_right)))
    console.print(render.table(("", "right", "accepted", "right of these"), rows))
    categories = [(each.label, each.images, each.before, each.after) for each in found.categories]
    console.print(render.table(("category", "labelled", "right before", "right after"), categories))
    console.print(
        f"learned: {found.kind}, from {found.before.images:,} labelled of {report.stored:,} images; measured on "
        "images that it had not seen, in cross-validation by product",
        markup=False,
    )
    if more := needing_more(found):
        console.print(f"more labels would help: {', '.join(more)}", markup=False)
    if report.unknown:
        some = ", ".join(f"{name} ({count})" for name, count in report.unknown.most_common(10))
        console.print(f"no label of the model and no code of the label map: {some}", markup=False)
    _print_recompute(report)


def _print_recompute(report: "AdaptReport") -> None:
    if report.recompute is not None:
        count = counted(report.recompute, "result")
        render.stdout_console().print(f"recalibrate will recompute {count}; no image is read", markup=False)


def _share(share: "Share") -> str:
    return "-" if math.isnan(share.value) else f"{share.value:.1%} ({share.low:.1%} to {share.high:.1%})"
