"""`cataloger feed`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cataloger.cli import flags, render
from cataloger.cli.run_command import open_results, require_file
from cataloger.options import DEFAULT_DB
from cataloger.utils import counted

if TYPE_CHECKING:
    from cataloger.taxonomy import FeedReport

EXAMPLES = """\b
Examples:
  cataloger feed -o google.csv
  cataloger feed -o shopify.csv --export products_export.csv
  cataloger feed -o night.csv --taxonomy google --source shop --min-confidence 0.9

google: a supplemental feed of Merchant Center (id, google_product_category, product_type).
shopify: a product CSV (Handle, Product Category, Type, Tags), with --export also Title.
"""
WHY = {
    "decision": "its decision",
    "confidence": "its confidence",
    "category": "a category that the taxonomy lacks",
    "export": "a handle that the export lacks",
}


def feed(
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE.csv", help="File to write; its name may say who reads it."),
    ],
    db: flags.DbOption = DEFAULT_DB,
    schema: flags.SchemaOption = None,
    taxonomy: Annotated[
        str | None,
        typer.Option("--taxonomy", metavar="google|shopify", help="Who reads it. Default: as the file is called."),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option("--source", metavar="NAME", help="The source, if several have products."),
    ] = None,
    min_confidence: Annotated[
        float | None,
        typer.Option("--min-confidence", min=0.0, max=1.0, help="Only results with at least this confidence."),
    ] = None,
    only_decision: Annotated[
        list[str] | None,
        typer.Option(
            "--only-decision",
            metavar="accept|review|abstain",
            help="Only results with this decision; may be repeated. Default: all but review and abstain.",
        ),
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option(
            "--export", metavar="FILE.csv", help="Shopify's own export of the products, for titles and tags."
        ),
    ] = None,
) -> None:
    """Write categories as Google Merchant Center or Shopify import.

    It has a row for each product whose current result is accepted, with its category in Google's or Shopify's product
    taxonomy.
    """
    from cataloger.taxonomy import FeedOptions, feed_kind, write_feed

    kind = feed_kind(output, taxonomy)
    require_file(output, "--output")
    options = FeedOptions(kind, source, min_confidence, tuple(only_decision or ()), export)
    with open_results(db, schema) as database:
        report = write_feed(database, output, options)
    render.stderr_console().print(_summary(output, kind, report), markup=False)


def _summary(output: Path, kind: str, report: "FeedReport") -> str:
    text = f"wrote {output} for {kind}: {counted(report.written, 'product')}"
    if not report.left_out:
        return text
    reasons = ", ".join(f"{count:,} for {WHY[why]}" for why, count in sorted(report.left_out.items()))
    return f"{text}; left out: {reasons}"
