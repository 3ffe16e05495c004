"""`cataloger check`: a quality gate after the nightly run."""

from typing import TYPE_CHECKING, Annotated

import typer

from cataloger.cli import flags, render
from cataloger.cli.run_command import open_results
from cataloger.errors import QualityGateError
from cataloger.options import DEFAULT_DB, DriftLimits
from cataloger.utils import printable

if TYPE_CHECKING:
    from cataloger.drift import CategoryShift, CheckReport, Measure

DEFAULTS = DriftLimits()

EXAMPLES = """\b
Examples:
  cataloger sync --table products --id sku --image photo && cataloger check
  cataloger check --against 12
  cataloger check --against models/shop --max-category-psi 0.3
  cataloger check --run 13 --against 12 --source /srv/photos --json

The limits can be set in cataloger.toml, in [check]. Exit status 4: something has drifted.
"""


def check(
    against: Annotated[
        str,
        typer.Option(
            "--against",
            metavar="RUN|MODEL",
            help="Number of a run, DIR or 'default' for a model's validation images, or 'previous': the last "
            "earlier run of the same sources with enough images.",
        ),
    ] = "previous",
    run: Annotated[
        int | None, typer.Option("--run", metavar="RUN", help="Run to check. Default: the newest that tagged images.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--source",
            metavar="NAME",
            help="Only this source, as `cataloger sources list` names it. Default: all of the run.",
        ),
    ] = None,
    db: flags.DbOption = DEFAULT_DB,
    schema: flags.SchemaOption = None,
    max_category_psi: Annotated[
        float, typer.Option("--max-category-psi", min=0.0, help="Largest PSI of the category mix.")
    ] = DEFAULTS.max_category_psi,
    max_confidence_psi: Annotated[
        float, typer.Option("--max-confidence-psi", min=0.0, help="Largest PSI of the confidences, in ten bins.")
    ] = DEFAULTS.max_confidence_psi,
    max_confidence_change: Annotated[
        float, typer.Option("--max-confidence-change", min=0.0, help="Largest change of mean confidence, up or down.")
    ] = DEFAULTS.max_confidence_change,
    max_failure_increase: Annotated[
        float,
        typer.Option("--max-failure-increase", min=0.0, help="Largest increase of the share of images that failed."),
    ] = DEFAULTS.max_failure_increase,
    max_abstain_increase: Annotated[
        float, typer.Option("--max-abstain-increase", min=0.0, help="Largest increase of the share of 'abstain'.")
    ] = DEFAULTS.max_abstain_increase,
    max_review_increase: Annotated[
        float, typer.Option("--max-review-increase", min=0.0, help="Largest increase of the share of 'review'.")
    ] = DEFAULTS.max_review_increase,
    min_images: Annotated[
        int, typer.Option("--min-images", min=1, help="Fewest images on each side for a comparison.")
    ] = DEFAULTS.min_images,
    categories: Annotated[
        int, typer.Option("--categories", min=0, help="Number of categories to show, most changed first.")
    ] = 5,
    json_output: flags.JsonOption = False,
) -> None:
    """Check whether the results of a run have drifted.

    Compares it with an earlier run, or with a model's validation images: the category mix and the confidences by
    the population stability index (PSI), and the shares of failures, abstentions and reviews. A measure has drifted
    if it is above its limit and above what chance explains for this number of images, at 99% for all measures
    together.
    """
    from cataloger.drift import CheckOptions
    from cataloger.drift import check_run as compare

    limits = DriftLimits(
        max_category_psi=max_category_psi,
        max_confidence_psi=max_confidence_psi,
        max_confidence_change=max_confidence_change,
        max_failure_increase=max_failure_increase,
        max_abstain_increase=max_abstain_increase,
        max_review_increase=max_review_increase,
        min_images=min_images,
    )
    with open_results(db, schema) as database:
        report = compare(database, CheckOptions(against, run, source, limits))
    if json_output:
        render.print_json(report.as_json())
    else:
        _print(report, categories)
    if report.drifted:
        raise QualityGateError(report.verdict)


def _print(report: "CheckReport", number: int) -> None:
    console = render.stdout_console()
    if report.measures:
        columns = ("measure", "images before", "now", "before", "now", "drift", "limit", "by chance", "verdict")
        console.print(render.table(columns, map(_measure, report.measures)))
    if shown := [each for each in report.categories[:number] if each.psi > 0]:
        titles = ("moved most", "images before", "share", "images now", "share", "of the PSI")
        totals = (sum(each.reference for each in report.categories), sum(each.now for each in report.categories))
        console.print(render.table(titles, [_category(each, totals) for each in shown]))
    for note in report.notes:
        console.print(f"note: {printable(note)}", markup=False)
    if not report.drifted:
        console.print(printable(report.verdict), markup=False)


def _measure(measure: "Measure") -> tuple[object, ...]:
    values = measure.values or ("", "")
    numbers = ("" if value is None else value for value in (*values, measure.drift, measure.limit, measure.chance))
    return (measure.name, *(measure.images or ("", "")), *numbers, measure.verdict)


def _category(category: "CategoryShift", totals: tuple[int, int]) -> tuple[object, ...]:
    before, now = category.reference, category.now
    return (category.label, before, before / max(1, totals[0]), now, now / max(1, totals[1]), category.psi)
