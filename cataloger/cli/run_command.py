"""What commands that run a job share: Ctrl-C, the progress bar and the summary at the end."""

import getpass
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cataloger.cli import render
from cataloger.cli.streams import tell_error
from cataloger.contracts import DECISIONS
from cataloger.errors import INTERRUPTED_STATUS, CatalogerError, LostOutputError, UsageError
from cataloger.hooks import ignore
from cataloger.signals import Reporter, SignalOptions, is_json, limit_time, tell
from cataloger.utils import (
    STOP_REQUEST,
    counted,
    printable,
    replacing,
    reuse_buffers,
    shown_key,
    stop_signals,
    visible,
    work_in_batch,
)

SHOWN = 10
"""Reasons that are named one by one."""

EVENTS = logging.getLogger("cataloger.events")

tell_summary: ContextVar[Callable[[Mapping[str, Any]], None]] = ContextVar("tell_summary", default=ignore)
"""Receives the JSON of a run that has ended, whatever is printed of it."""
counts_catalog: ContextVar[bool] = ContextVar("counts_catalog", default=False)
"""Whether the run that this job belongs to wants the images of the sources counted."""

if TYPE_CHECKING:
    from rich.console import Console

    from cataloger.api import OnProgress, Progress
    from cataloger.db import Database
    from cataloger.engine import JobReport


def watched(
    work: "Callable[[OnProgress, threading.Event], JobReport]",
    *,
    progress: bool,
    quiet: bool,
    json: bool,
    profile: Path | None = None,
    timeout: float | None = None,
) -> None:
    """Run a job, show its progress, print its summary; exit with its status.

    profile: file of its profile. timeout: seconds after which it is to stop.
    """
    if profile:
        require_file(profile, "--profile")
    reuse_buffers()
    work_in_batch()
    with stop_on_interrupt() as stop, limit_time(timeout, stop.set) as limit, _progress(enabled=progress) as show:
        report = work(show, stop)
    report.timed_out = limit.is_over and report.run.interrupted
    tell_summary.get()(report.as_json())
    _show_report(report, quiet=quiet, json=json)
    if profile:
        _write_profile(report, profile)
    if report.exit_status:
        raise typer.Exit(report.exit_status)


@contextmanager
def signalled(reporter: Reporter, *, is_dry: bool) -> Iterator[None]:
    """Send what is wanted when the block has ended, however it has; a dry run sends nothing.

    Exits with status 5 where all is done, but the file of metrics could not be written.
    """
    if is_dry or reporter.options == SignalOptions():
        yield
        return
    error, status = None, CatalogerError.exit_code
    try:
        with _kept_output(reporter):
            yield
        status = 0
    except typer.Exit as end:
        status = end.exit_code
        raise
    except CatalogerError as problem:
        error, status = tell_error(problem), problem.exit_code
        raise typer.Exit(status) from problem
    except BaseException as problem:
        error = type(problem).__name__
        status = INTERRUPTED_STATUS if isinstance(problem, KeyboardInterrupt) else status
        raise
    finally:
        _send_signals(reporter, status, error)


@contextmanager
def _kept_output(reporter: Reporter) -> Iterator[None]:
    """Let the reporter have the JSON of the run, too."""
    tell_before = tell_summary.get()

    def keep(values: Mapping[str, Any]) -> None:
        reporter.output = values
        tell_before(values)

    token = tell_summary.set(keep)
    try:
        yield
    finally:
        tell_summary.reset(token)


def _send_signals(reporter: Reporter, status: int, error: str | None) -> None:
    for problem in reporter.send(reporter.summary(status, error)):
        tell(f"cataloger: {printable(problem)}", "signal.failed", "error")
    if reporter.is_metrics_lost and not status:
        raise typer.Exit(LostOutputError.exit_code)


def is_catalog_wanted(reporter: Reporter) -> bool:
    """Tell whether somebody wants the images of the sources counted: a file of metrics, or a notification."""
    wanted = reporter.options.metrics, reporter.options.notify
    return counts_catalog.get() or wanted != (None, None)


def require_file(path: Path, flag: str) -> None:
    """Raise UsageError for a file to write that has no folder, or is one."""
    if not path.absolute().parent.is_dir():
        raise UsageError(f"{flag} {path}: there is no folder {path.absolute().parent}")
    if path.is_dir():
        raise UsageError(f"{flag} {path} is a folder; name a file in it")


def require_folder(path: Path | None, flag: str) -> None:
    """Raise UsageError for a folder to write that is a file."""
    if path is not None and path.exists() and not path.is_dir():
        raise UsageError(f"{flag} {path} is a file; name a folder")


def _show_report(report: "JobReport", *, quiet: bool, json: bool) -> None:
    if json:
        render.print_json(report.as_json())
    elif not quiet:
        print_summary(report, render.stdout_console())
    if report.exit_status != INTERRUPTED_STATUS:
        for line in report.shortfalls():
            tell(f"cataloger: {printable(line)}", "run.shortfall", "error")
    _log_end(report)


def _log_end(report: "JobReport") -> None:
    run, state = report.run, "was interrupted" if report.run.interrupted else "ended"
    figures = {"done": run.done, "failed": run.failed, "skipped": sum(run.skipped.values())}
    values = {"event": "run.ended", "exit_status": report.exit_status, "seconds": round(report.seconds, 3), **figures}
    name = f"run {report.run_id}" if report.run_id else "the dry run"
    text = ", ".join(f"{number:,} {kind}" for kind, number in figures.items())
    EVENTS.info("%s %s: %s", name, state, text, extra={**values, "dry_run": report.options.run.dry_run})


def _write_profile(report: "JobReport", path: Path) -> None:
    from cataloger.bench import profile_of

    with replacing(path, failure=LostOutputError, advice="; the run itself is complete") as temporary:
        temporary.write_text(render.as_json(profile_of(report)), encoding="utf-8")


@contextmanager
def open_results(db: str, schema: str | None) -> "Iterator[Database]":
    """Open the database of --db, which has results, and close it at the end. Raises UsageError, DatabaseError."""
    from cataloger import schema as schemas
    from cataloger.db import DatabaseURL

    with closing(schemas.open_results(DatabaseURL.parse(db), schema=schema)) as database:
        yield database


@contextmanager
def stop_on_interrupt() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C, SIGTERM or SIGHUP into a request to stop; the second one interrupts at once.

    Those that `cataloger run` passes on are counted apart, as systemd sends a SIGTERM to all processes of a service.
    A closed terminal is told by its shell, too, and is never the second one.
    """
    stop = threading.Event()
    asked: set[bool] = set()

    def handle(number: int, _frame: object) -> None:
        if number == signal.SIGHUP and stop.is_set():
            return
        is_passed_on = number == STOP_REQUEST
        if is_passed_on in asked:
            raise KeyboardInterrupt
        asked.add(is_passed_on)
        if stop.is_set():
            return
        stop.set()
        # The reader of a pipe gets the Ctrl-C too and may have exited; that must not end the run here.
        with suppress(OSError, RuntimeError):
            begin = "" if is_json() else "\n"
            tell(f"{begin}stopping after the images in progress; press Ctrl-C again to stop at once", "run.stopping")

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    previous = {number: signal.signal(number, handle) for number in (*stop_signals(), STOP_REQUEST)}
    try:
        yield stop
    except KeyboardInterrupt:
        # Everything has been closed. Python itself would wait for the batches that are being classified.
        os._exit(INTERRUPTED_STATUS)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def _progress(*, enabled: bool) -> Iterator[Any]:
    """Give a callback that shows how far a run is as a progress bar."""
    with render.progress_bar(enabled=enabled) as bar:
        task = None if bar.disable else bar.add_task("tagging", total=None, extra="")

        def show(now: "Progress") -> None:
            if task is not None:
                failed = f"{now.failed} failed" if now.failed else ""
                bar.update(task, completed=now.done + now.failed + now.skipped, total=now.total, extra=failed)

        yield show


def print_summary(report: "JobReport", console: "Console") -> None:
    """Print what a run did: counts, rate, where the time went, failures, categories."""
    run = report.run
    if report.options.preset:
        console.print(f"preset: {report.options.preset}", markup=False)
    if report.options.run.dry_run:
        rows = [(reason.replace("_", " "), count) for reason, count in report.plan().items()]
        console.print(render.table(("plan", "images"), rows or [("nothing to do", 0)]))
        _print_left_out(report, console)
        _print_writes(report, console)
        _print_measured(report, console)
        return
    rate = f"{run.attempted / report.seconds:.1f}" if run.attempted and report.seconds else "-"
    console.print(
        render.table(
            ("done", "failed", "skipped", "images/s", "seconds"),
            [(run.done, run.failed, sum(run.skipped.values()), rate, f"{report.seconds:.1f}")],
        )
    )
    if run.attempted:
        console.print(f"model: {', '.join(report.models)}", markup=False)
        console.print(_time_line(report))
    if run.skipped:
        reasons = ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in run.skipped.most_common())
        console.print(("skipped: " if run.attempted or report.recomputed else "nothing to do: ") + reasons)
    if report.recomputed:
        console.print(f"recomputed from stored scores, no image read: {counted(report.recomputed, 'result')}")
    _print_left_out(report, console)
    if report.missing or report.restored:
        console.print(
            f"removed from the source, no longer in the views: {report.missing}; restored: {report.restored}"
        )
    if report.purged:
        console.print(f"deleted with all that was recorded of them (--forget): {report.purged:,}")
    _print_writes(report, console)
    if run.failures:
        failures = [
            (code, count, visible(shown_key(run.failed_first[code]))) for code, count in run.failures.most_common()
        ]
        console.print(render.table(("failure", "images", "first image"), failures))
        for code, *_ in failures:
            console.print(f"{code}, first image: {printable(run.failed_why[code])}", markup=False)
        console.print("all failures: `cataloger report`, or the view cataloger_image_top5 where status is 'failed'")
    if report.uncertain_queries:
        console.print(
            f"web addresses whose query may be a part of the image or of a signature: {report.uncertain_queries:,}; "
            "with another query they are tagged again"
        )
    if run.decisions:
        console.print(decisions_line(run.decisions))
    _print_measured(report, console)
    if run.categories:
        console.print(render.table(("most frequent category", "images"), run.categories.most_common(10)))
    console.print(_closing_line(report))


def decisions_line(decisions: Mapping[str, int]) -> str:
    """Return the counts of the decisions as one line."""
    total = sum(decisions.values())
    parts = ((name, decisions.get(name, 0)) for name in DECISIONS)
    return "decisions: " + ", ".join(f"{name} {count:,} ({100 * count / total:.1f}%)" for name, count in parts)


def _print_left_out(report: "JobReport", console: "Console") -> None:
    """Print what the scans met and did not take."""
    if left_out := report.run.left_out.most_common():
        shown = ", ".join(f"{count:,} {printable(reason).replace('_', ' ')}" for reason, count in left_out[:SHOWN])
        more = sum(count for _, count in left_out[SHOWN:])
        console.print(f"left out: {shown}" + (f", {more:,} others" if more else ""), markup=False)


def _print_measured(report: "JobReport", console: "Console") -> None:
    """Print how right what is accepted is in each source, or that nothing has measured it there."""
    are_several = len(report.measured) > 1
    for each in report.measured[:SHOWN]:
        console.print(printable(f"{each.source}: {each.line()}" if are_several else each.line()), markup=False)


def _print_writes(report: "JobReport", console: "Console") -> None:
    """Print what was written back to the product table, or would be, and what was left as it is and why."""
    is_planned = report.options.run.dry_run
    if report.created_columns:
        console.print(f"columns {'to add' if is_planned else 'added'}: {', '.join(report.created_columns)}")
    counts = report.writes
    if counts is None:
        return
    written = ", ".join(f"{column} {count:,}" for column, count in counts.written.items()) or "nothing"
    unmeasured = " (accept is not measured here)" if any(not each.is_measured for each in report.measured) else ""
    verb = "would be written, as far as results are known" if is_planned else "written back"
    console.print(f"{verb}: {written}{unmeasured}")
    if counts.replaced:
        console.print(f"{'would replace' if is_planned else 'replaced'} values of the shop: {counts.replaced:,}")
    if counts.kept:
        console.print(
            f"not written, since the shop has a value there: {counted(counts.kept, 'value')}; "
            "--overwrite replaces all, --only-if those that you name"
        )
    if counts.edited:
        examples = ", ".join(dict.fromkeys(counts.edited_products))
        console.print(
            f"not written, since people have changed them: {counted(counts.edited, 'value')}, e.g. of {examples}"
        )
    if counts.not_null:
        console.print(f"not written, since the cell has a value (--only-null): {counted(counts.not_null, 'value')}")
    if counts.refused:
        console.print(f"refused by the table: {counts.refused:,}, e.g. {'; '.join(counts.reasons)}")


def _time_line(report: "JobReport") -> str:
    parts: dict[str, float] = dict(report.run.watch.seconds)
    parts["startup and other work"] = max(0.0, report.seconds - sum(parts.values()))
    shares = (f"{name} {100 * value / report.seconds:.0f}%" for name, value in parts.items())
    return "time waited for: " + ", ".join(shares)


def _closing_line(report: "JobReport") -> str:
    state = "interrupted, run the same command again to continue" if report.run.interrupted else "ended"
    options = report.options
    where = f"results: {options.db.redacted}" + (f" and {options.output}" if options.output else "")
    shard = options.run.shard
    if shard is not None:
        rest = "all parts are done, and the whole is settled" if report.settled else "other parts are not done"
        state += f": shard {shard}, {rest}"
    return f"run {report.run_id} {state}; {where}"


def login_name() -> str:
    """Return the name that this process's user logs in with; "reviewer" for one without a name, as in a container."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "reviewer"
