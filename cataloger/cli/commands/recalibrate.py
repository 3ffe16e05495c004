"""`cataloger recalibrate`: apply a model's new calibration to a database."""

from typing import TYPE_CHECKING, Annotated

import typer

from cataloger.cli import flags, render
from cataloger.cli.run_command import decisions_line, open_results, stop_on_interrupt
from cataloger.errors import INTERRUPTED_STATUS
from cataloger.options import DEFAULT_DB
from cataloger.utils import counted

if TYPE_CHECKING:
    from cataloger.history import RecalibrationReport

EXAMPLES = """\b
Examples:
  cataloger calibrate labels.csv --images photos --model models/shop --output models/shop-98 --target-precision 0.98
  cataloger recalibrate --db sqlite:///catalog.db --model models/shop-98
  cataloger recalibrate --db sqlite:///catalog.db --model models/adapted --source /srv/photos
  cataloger runs undo 7 --db sqlite:///catalog.db
"""


def recalibrate(
    db: flags.DbOption = DEFAULT_DB,
    schema: flags.SchemaOption = None,
    model: Annotated[
        str,
        typer.Option(
            "--model",
            envvar="CATALOGER_MODEL",
            metavar="DIR|NAME@VERSION|default",
            help="Bundle with the calibration.",
        ),
    ] = "default",
    source: Annotated[
        str | None,
        typer.Option(
            "--source",
            metavar="NAME",
            help="Only this source, by name or root. Default: all sources of the model that are not adapted.",
        ),
    ] = None,
    json_output: flags.JsonOption = False,
) -> None:
    """Bring the results in a database to a model's calibration.

    Confidences and decisions are computed again from the recorded scores; no image is read. A source that was
    adapted keeps its calibration unless --source names it. This is a run: `cataloger runs diff` shows what changed,
    `cataloger runs undo` reverts it. Columns that were written back are updated by the next `cataloger sync --write`.
    """
    from cataloger.history import recalibrate_results as run_recalibration
    from cataloger.hooks import Hooks
    from cataloger.model import read_bundle, resolve_bundle_path

    bundle = read_bundle(resolve_bundle_path(model))
    with open_results(db, schema) as database, stop_on_interrupt() as stop:
        report = run_recalibration(database, bundle, Hooks(stop), source=source)
    if json_output:
        render.print_json(report.as_json())
    else:
        _print(report)
    if report.interrupted:
        raise typer.Exit(INTERRUPTED_STATUS)


def _print(report: "RecalibrationReport") -> None:
    console = render.stdout_console()
    row = (report.recomputed, report.unchanged, report.left)
    console.print(render.table(("recomputed", "unchanged", "cannot be recomputed"), [row]))
    if report.decisions:
        console.print(decisions_line(report.decisions))
    if report.left:
        console.print(
            f"{report.left:,} results are not changed: an older version made them, or their image has failed since; "
            "tag them again with --force",
            markup=False,
        )
    if report.kept:
        console.print(
            f"kept as they are adapted: {', '.join(report.kept)}; --source NAME recalibrates one of them",
            markup=False,
        )
    state = "interrupted, run the same command again to continue" if report.interrupted else "ended"
    console.print(f"run {report.run_id} {state}; {report.model} on {counted(report.sources, 'source')}", markup=False)
