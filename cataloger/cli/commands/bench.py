"""`cataloger bench`."""

import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cataloger.cli import flags, render

if TYPE_CHECKING:
    from rich.console import Console

    from cataloger.bench import BenchReport

EXAMPLES = """\b
Examples:
  cataloger bench photos
  cataloger bench photos --images 5000 --precision fp32 --json
"""


def bench(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Images like those to be tagged.")],
    images: Annotated[
        int,
        typer.Option(
            "--images", min=1, help="Number of images to use, evenly spread; repeated if the folder has fewer."
        ),
    ] = 1000,
    rounds: Annotated[
        int, typer.Option("--rounds", min=1, help="How often to measure the baseline and the command, in turn.")
    ] = 3,
    model: flags.BundleOption = None,
    precision: flags.PrecisionOption = flags.DEFAULTS.precision,
    batch_size: flags.BatchSizeOption = flags.DEFAULTS.batch_size,
    workers: flags.WorkersOption = flags.DEFAULTS.workers,
    json_output: flags.JsonOption = False,
    no_progress: flags.NoProgressOption = False,
) -> None:
    """Measure how fast this machine tags your own images.

    Also shows where the time goes. The baseline is decoding plus the model, and nothing else, on all processors. It
    is measured in turn with `cataloger tag` into a temporary database. Your images and databases are not changed.
    """
    from cataloger.bench import BenchOptions
    from cataloger.bench import run_bench as measure

    options = BenchOptions(folder, images, rounds, model, precision, batch_size, workers)
    with render.progress_bar(enabled=not no_progress) as bar:
        task = bar.add_task("measuring", total=options.steps, extra="")

        def progress(what: str) -> None:
            bar.update(task, advance=1, extra=what)

        report = measure(options, progress=progress)
    if json_output:
        render.print_json(report.as_json())
    else:
        print_report(report, options.batch, render.stdout_console())


def print_report(report: "BenchReport", batch_size: int, console: "Console") -> None:
    """Print baseline and command, where the processor time goes, and the best way to run the model."""
    console.print(f"{report.model}: {report.images:,} images on {report.processors} processors", markup=False)
    if report.failed:
        console.print(f"{report.failed:,} of them cannot be decoded")
    ratios = sorted(each.achieved for each in report.rounds)
    rounds = report.rounds
    rows = [
        ("baseline", *_medians([each.floor for each in rounds], [each.floor_ms for each in rounds])),
        ("cataloger tag", *_medians([each.tag for each in rounds], [each.tag_ms for each in rounds])),
        ("  without startup", f"{statistics.median(each.tag_running for each in rounds):.1f}", ""),
    ]
    console.print(render.table(("", "images/s", "processor ms per image"), rows))
    console.print(
        f"achieved: {report.achieved:.2f} of the baseline (rounds {ratios[0]:.2f} to {ratios[-1]:.2f}); "
        f"processors idle {100 * statistics.median(each.idle for each in rounds):.0f}%"
    )
    names = dict.fromkeys(name for each in rounds for name in (*each.floor_stages, *each.tag_stages))
    stages = [
        (
            name,
            *(_stage([getattr(each, side).get(name) for each in rounds]) for side in ("floor_stages", "tag_stages")),
        )
        for name in names
    ]
    console.print(render.table(("processor ms per image", "baseline", "cataloger tag"), stages))
    best = report.best
    own = next((each for each in report.settings if each.threads == 1 and each.batch == batch_size), None)
    line = f"model alone, best: {best.sessions} sessions, {best.threads} thread(s) per session, batch {best.batch}: "
    line += f"{best.rate:.1f} images/s"
    console.print(line + (f"; with the settings of tag: {own.rate:.1f}" if own else ""))
    if own and best.threads == 1 and best.rate > 1.03 * own.rate:
        console.print(f"try --batch-size {best.batch}")


def _medians(rates: list[float], milliseconds: list[float]) -> tuple[str, str]:
    return f"{statistics.median(rates):.1f}", f"{statistics.median(milliseconds):.2f}"


def _stage(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{statistics.median(known):.2f}" if known else ""
