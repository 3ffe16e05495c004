"""`cataloger tag`."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from cataloger.cli import options as flags
from cataloger.cli import render
from cataloger.options import DEFAULT_DB, RunOptions

if TYPE_CHECKING:
    from cataloger.pipeline import RunReport
    from cataloger.tagging import TagReport

DEFAULTS = RunOptions()

EXAMPLES = """\b
Examples:
  cataloger tag photos
  cataloger tag photos new/dress.jpg --db sqlite:///catalog.db --output catalog.csv
  cataloger tag products.csv --path-column photo --db postgresql://shop@db/catalog
  cataloger tag photos --dry-run

Run the same command again to go on after an interruption, or to tag only what is new or changed.
"""


def tag(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH...", help="Folders, images, or manifests (.csv, .jsonl).")
    ],
    db: flags.DbOption = DEFAULT_DB,
    schema: flags.SchemaOption = None,
    model: flags.ModelOption = None,
    output: flags.OutputOption = None,
    path_column: flags.ColumnOption = None,
    product_column: flags.ProductColumnOption = None,
    top_k: Annotated[
        int, typer.Option("--top-k", envvar="CATALOGER_TOP_K", min=1, max=5, help="Categories an image.")
    ] = DEFAULTS.top_k,
    batch_size: Annotated[
        int, typer.Option("--batch-size", envvar="CATALOGER_BATCH_SIZE", min=1, help="Images classified together.")
    ] = DEFAULTS.batch_size,
    workers: Annotated[
        int,
        typer.Option("--workers", envvar="CATALOGER_WORKERS", min=0, help="Decoding processes; 0: one a processor."),
    ] = DEFAULTS.workers,
    device: flags.DeviceOption = DEFAULTS.device,
    limit: Annotated[
        int | None, typer.Option("--limit", envvar="CATALOGER_LIMIT", min=1, help="Tag at most so many images.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done; write nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Tag again what is unchanged.")] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try again what failed for good, e.g. damaged files.")
    ] = False,
    max_failure_rate: Annotated[
        float,
        typer.Option(
            "--max-failure-rate",
            envvar="CATALOGER_MAX_FAILURE_RATE",
            min=0.0,
            max=1.0,
            help="Failed share of the images attempted above which the exit status is 3.",
        ),
    ] = DEFAULTS.max_failure_rate,
    json_output: flags.JsonOption = False,
    verbose: flags.VerboseOption = 0,
    quiet: flags.QuietOption = False,
    no_progress: flags.NoProgressOption = False,
) -> None:
    """Tag images: write the top-5 categories with calibrated confidences to a database.

    Folders are searched recursively. Unchanged images are skipped, so that a run can be repeated every night.
    """
    render.set_up_logging(verbose=verbose, quiet=quiet)
    from cataloger.tagging import Hooks, TagOptions
    from cataloger.tagging import tag as run_tagging

    options = TagOptions(
        paths=tuple(paths),
        db=db,
        schema=schema,
        model=model,
        output=output,
        path_column=path_column,
        product_column=product_column,
        run=RunOptions(
            top_k=top_k,
            batch_size=batch_size,
            workers=workers,
            device=device,
            limit=limit,
            dry_run=dry_run,
            force=force,
            retry_failed=retry_failed,
            max_failure_rate=max_failure_rate,
        ),
    )
    with _stop_on_interrupt() as stop, _progress(enabled=not (quiet or no_progress)) as progress:
        report = run_tagging(options, Hooks(stop, progress))
    _finish(report, json_output=json_output, quiet=quiet)


@contextmanager
def _stop_on_interrupt() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C or SIGTERM into a request to stop; a second one interrupts at once."""
    stop = threading.Event()

    def handle(_number: int, _frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        # The reader of a pipe has got the Ctrl-C as well and may be gone; that must not end the run in its place.
        with suppress(OSError, RuntimeError):
            sys.stderr.write("\nstopping after the images in flight; press Ctrl-C again to stop at once\n")

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    except KeyboardInterrupt:
        # Everything has been closed. Python itself would wait for the batches that are being classified.
        os._exit(130)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def _progress(*, enabled: bool) -> Iterator[Any]:
    """Give a callback that shows a run's report, and its total once known, as a progress bar."""
    with render.progress_bar(enabled=enabled) as bar:
        task = None if bar.disable else bar.add_task("tagging", total=None, extra="")

        def show(report: "RunReport", total: int | None) -> None:
            if task is not None:
                completed = report.attempted + sum(report.skipped.values())
                failed = f"{report.failed} failed" if report.failed else ""
                bar.update(task, completed=completed, total=total, extra=failed)

        yield show


def _finish(report: "TagReport", *, json_output: bool, quiet: bool) -> None:
    if json_output:
        render.print_json(report.as_json())
    elif not quiet:
        print_summary(report, render.stdout_console())
    if report.exit_status:
        raise typer.Exit(report.exit_status)


def print_summary(report: "TagReport", console: Console) -> None:
    """Print what a run did: counts, rate, where the time went, failures, categories."""
    run = report.run
    if report.options.run.dry_run:
        rows = [(reason.replace("_", " "), count) for reason, count in report.run.plan().items()]
        console.print(render.table(("plan", "images"), rows or [("nothing to do", 0)]))
        return
    rate = f"{run.attempted / report.seconds:.1f}" if run.attempted and report.seconds else "-"
    console.print(
        render.table(
            ("done", "failed", "skipped", "images/s", "seconds"),
            [(run.done, run.failed, sum(run.skipped.values()), rate, f"{report.seconds:.1f}")],
        )
    )
    if run.attempted:
        console.print(_time_line(report))
    if run.failures:
        console.print(render.table(("failure", "images"), run.failures.most_common()))
    if run.categories:
        console.print(render.table(("most frequent category", "images"), run.categories.most_common(10)))
    console.print(_closing_line(report))


def _time_line(report: "TagReport") -> str:
    parts: dict[str, float] = dict(report.run.seconds)
    parts["starting and the rest"] = max(0.0, report.seconds - sum(parts.values()))
    shares = (f"{name} {100 * value / report.seconds:.0f}%" for name, value in parts.items())
    return "time waited for: " + ", ".join(shares)


def _closing_line(report: "TagReport") -> str:
    from cataloger.db.session import redact

    state = "interrupted, run the same command again to go on;" if report.run.interrupted else "ended"
    options = report.options
    where = f"results: {redact(options.db)}" + (f" and {options.output}" if options.output else "")
    return f"run {report.run_id} {state} {where}"
