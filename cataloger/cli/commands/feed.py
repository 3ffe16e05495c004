"""`cataloger feed`."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cataloger.cli import flags, render
from cataloger.cli.run_command import open_results, require_file
from cataloger.errors import UsageError
from cataloger.options import DEFAULT_DB
from cataloger.utils import counted

if TYPE_CHECKING:
    from cataloger.taxonomy import CopyReport, FeedReport

EXAMPLES = """\b
Examples:
  cataloger feed -o google.csv
  cataloger feed -o shopify.csv --export products_export.csv
  cataloger feed -o shopify.csv --into products_export.csv
  cataloger feed -o shopify.csv --into products_export.csv --write Tags
  cataloger feed -o shopify.csv --into products_export.csv --undo
  cataloger feed -o night.csv --taxonomy google --source shop --min-confidence 0.9

google: a supplemental feed of Merchant Center (id, google_product_category, product_type).
shopify: a product CSV (Handle, Product Category, Type, Tags), with --export also Title, with --into a copy of the
whole export.
"""
WHY = {
    "decision": "its decision",
    "confidence": "its confidence",
    "category": "a category that the taxonomy lacks",
    "export": "a handle that the export lacks",
    "unknown": "no result",
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
    into: Annotated[
        Path | None,
        typer.Option(
            "--into",
            metavar="FILE.csv",
            help="Write a copy of this export of Shopify: all as it is there, but empty categories and types filled, "
            "tags added, and what earlier copies were given brought up to date.",
        ),
    ] = None,
    write: Annotated[
        list[str] | None,
        typer.Option(
            "--write",
            metavar="COLUMN",
            help="With --into: only this column, Product Category, Type or Tags; may be repeated.",
        ),
    ] = None,
    only_if: Annotated[
        list[str] | None,
        typer.Option(
            "--only-if",
            metavar="VALUE",
            help="With --into: replace this category or type of the shop, too; may be repeated.",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="With --into: replace all categories and types of the shop.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --into: count what would change, and write nothing.")
    ] = False,
    undo: Annotated[
        bool,
        typer.Option(
            "--undo",
            help="With --into: take back what earlier copies have written, except what people have changed since.",
        ),
    ] = False,
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
    from cataloger.taxonomy import CopyOptions, FeedOptions, copy_export, feed_kind, write_feed

    kind = feed_kind(output, taxonomy or ("shopify" if into else None))
    require_file(output, "--output")
    copy = None
    if into is not None:
        copy = CopyOptions(into, _columns(write or ()), tuple(only_if or ()), overwrite, dry_run, undo)
    elif write or only_if or overwrite or dry_run or undo:
        raise UsageError("--write, --only-if, --overwrite, --undo and --dry-run need --into, an export of Shopify")
    options = FeedOptions(kind, source, min_confidence, tuple(only_decision or ()), export, copy)
    with open_results(db, schema) as database:
        if options.copy is not None:
            text = _copied(output, copy_export(database, output, options), dry_run=dry_run)
        else:
            text = _summary(output, kind, write_feed(database, output, options))
    render.stderr_console().print(text, markup=False)


def _columns(written: Iterable[str]) -> tuple[str, ...]:
    """Return columns of an export as they are called here. Raises UsageError."""
    from cataloger.taxonomy import WRITABLE

    known = {name.casefold(): name for name in WRITABLE}
    for name in written:
        if name.casefold() not in known:
            raise UsageError(f"--write {name}: the columns of --into are {', '.join(WRITABLE)}")
    return tuple(dict.fromkeys(known[name.casefold()] for name in written))


def _copied(output: Path, report: "CopyReport", *, dry_run: bool) -> str:
    """Say what a copy has changed."""
    cells = ", ".join(f"{count:,} of {column}" for column, count in report.changed.items() if count) or "none"
    done = f"{output} would get" if dry_run else f"wrote {output} with"
    lines = [f"{done} {counted(report.products, 'product')}; cells changed: {cells}"]
    if report.kept:
        kept = counted(report.kept, "cell")
        lines.append(f"left as they are: {kept} with a value of the shop; --only-if or --overwrite replaces it")
    if report.edited:
        edited, examples = counted(report.edited, "cell"), ", ".join(report.edited_products)
        lines.append(f"left as they are: {edited} that people have changed since an earlier copy, e.g. of {examples}")
    if report.left_out:
        lines.append(f"left out: {_left_out(report.left_out)}")
    return "\n".join(lines)


def _summary(output: Path, kind: str, report: "FeedReport") -> str:
    text = f"wrote {output} for {kind}: {counted(report.written, 'product')}"
    if not report.left_out:
        return text
    return f"{text}; left out: {_left_out(report.left_out)}"


def _left_out(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} for {WHY[why]}" for why, count in sorted(counts.items()))
