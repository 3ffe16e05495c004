"""`cataloger run`: named jobs of cataloger.toml."""

import logging
import os
import signal
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cataloger.cli import flags, render, source_flags, streams
from cataloger.cli.config import Configuration, load_config
from cataloger.cli.run_command import counts_catalog, is_catalog_wanted, signalled, tell_summary
from cataloger.errors import INTERRUPTED_STATUS, ConfigError, UsageError
from cataloger.jobs import Child, JobOutcome, JobRunner, JobsReport, NamedJob
from cataloger.options import WebOptions
from cataloger.signals import LogFormat, Reporter, SignalOptions, end_lines, is_json, limit_time, note_job, tell
from cataloger.utils import nearest_of, stop_signals

if TYPE_CHECKING:
    from rich.console import Console

EVENTS = logging.getLogger("cataloger.events")
EXAMPLES = """\b
Examples:
  cataloger run                 # which jobs there are
  cataloger run shoes
  cataloger run --all --quiet
  cataloger run --all --dry-run

\b
In cataloger.toml:
  [jobs.shoes]
  command = "sync"
  db = "env:SHOP_DB"
  table = "shoes"
  id = ["sku"]
  image = "photo"

Exit status: the worst of the jobs. One that fails keeps no other from being run.
"""

MEANINGS = {
    0: "done",
    1: "fatal",
    2: "wrong usage or configuration",
    3: "done, but not all of it",
    4: "a quality gate failed",
    5: "done, but the output could not be written",
    130: "interrupted",
}
WHY_NOT = {"listed": "", "interrupted": "not run", "no_dry_run": "not run: it has no --dry-run"}


@dataclass(frozen=True, slots=True)
class PassedOn:
    """What all jobs are called with besides their own flags, as far as their commands have such flags."""

    dry_run: bool
    json: bool
    verbose: int
    quiet: bool
    no_progress: bool
    log_format: LogFormat = "text"

    def flags_for(self, known: Collection[str]) -> list[str]:
        """Return those that a command knows, as it takes them. known: its flags without dashes."""
        wanted: dict[str, int] = {"dry-run": self.dry_run, "json": self.json, "quiet": self.quiet}
        wanted |= {"verbose": self.verbose, "no-progress": self.no_progress}
        given = [f"--{flag}" for flag, number in wanted.items() for _ in range(int(number)) if flag in known]
        return [*given, *(["--log-format", self.log_format] if is_json() and "log-format" in known else [])]


def complete_jobs(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Return the jobs whose names begin so, with their commands, for the completion of a shell."""
    try:
        path = (context.parent.params if context.parent else {}).get("config")
        jobs = load_config(path).values.get("jobs", {})
        found = [(name, str(table.get("command", ""))) for name, table in jobs.items()]
    except (ConfigError, AttributeError):  # whatever is wrong, a key that is pressed is no time to tell it
        return []
    return [each for each in found if each[0].startswith(incomplete)]


def run(
    context: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[JOB]...",
            help="Jobs to run, in this order. Without any: show them.",
            autocompletion=complete_jobs,
        ),
    ] = None,
    run_all: Annotated[bool, typer.Option("--all", help="Run all jobs, in the order of the file.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what the jobs would do; those that cannot show it are not run.")
    ] = False,
    json_output: flags.JsonOption = False,
    timeout: flags.TimeoutOption = None,
    metrics: flags.MetricsOption = None,
    on_failure: flags.OnFailureOption = None,
    notify: flags.NotifyOption = None,
    notify_secret: flags.NotifySecretOption = None,
    allow_private: Annotated[
        bool,
        typer.Option(
            "--allow-private",
            envvar="CATALOGER_ALLOW_PRIVATE",
            help="Also notify private and local addresses, such as your own server.",
        ),
    ] = False,
    proxy: source_flags.ProxyOption = None,
    ca_file: source_flags.CaFileOption = None,
    log_format: flags.LogFormatOption = "text",
    verbose: flags.VerboseOption = 0,
    quiet: flags.QuietOption = False,
    no_progress: flags.NoProgressOption = False,
) -> None:
    """Run named jobs of cataloger.toml, one after the other.

    Each job is run in a process of its own. A table shows at the end what became of each.
    """
    if log_format == "json":  # else what a command says of its own log holds
        render.set_up_logging(verbose=verbose, quiet=quiet, form=log_format)
    root = context.find_root()
    configuration: Configuration = root.obj
    if names and run_all:
        raise UsageError("name jobs, or give --all; not both")
    if not (names or run_all):
        outcomes = [JobOutcome(job, not_run="listed") for job in configuration.jobs]
        _show(JobsReport(outcomes), configuration, json=json_output, quiet=False)
        return
    reporter = Reporter(
        "run",
        SignalOptions(metrics, on_failure, notify, notify_secret),
        WebOptions(allow_private=allow_private, proxy=proxy, ca_file=ca_file),
    )
    passed_on = PassedOn(dry_run, json_output, verbose, quiet, no_progress, log_format)
    with signalled(reporter, is_dry=dry_run):
        jobs = _chosen(configuration, names or ())
        own = [name for name, value in _signal_values(reporter.options, timeout).items() if value is not None]
        has_titles = not quiet and len(jobs) > 1
        session = _Session(root.command, configuration, passed_on, has_titles, tuple(own), reporter)
        for job in jobs:
            session.require_flags(job)
        report = session.run(jobs, timeout)
        reporter.jobs = [each.as_json() for each in report.outcomes]
        _show(report, configuration, json=json_output, quiet=quiet or len(jobs) == 1)
        if report.exit_status:
            raise typer.Exit(report.exit_status)


def _signal_values(signals: SignalOptions, timeout: float | None) -> dict[str, object]:
    """Return the flags that concern the whole run, by their names: what it has, its jobs have only of their own."""
    return {
        "timeout": timeout,
        "metrics": signals.metrics,
        "on-failure": signals.on_failure,
        "notify": signals.notify,
        "notify-secret": signals.notify_secret,
    }


def _chosen(configuration: Configuration, names: Sequence[str]) -> list[NamedJob]:
    """Return the jobs of some names, each once; all without any name. Raises UsageError."""
    jobs = {job.name: job for job in configuration.jobs}
    if not jobs:
        raise UsageError(f"{configuration.file.name} has no jobs; write a table [jobs.NAME] for each")
    for name in names:
        if name not in jobs:
            raise UsageError(f"{configuration.file.name} has no job {name!r}; there are {nearest_of(name, jobs)}")
    return [jobs[name] for name in dict.fromkeys(names or jobs)]


ONE_OF: Mapping[str, Sequence[str]] = {"sync": ("table", "image-query", "image-query-file", "preset")}
"""Flags of which a command must have one; what its parameters say of themselves does not tell."""


@dataclass(frozen=True, slots=True)
class _Session:
    """Runs jobs as commands of the command line.

    root: the group of all commands. own: flags without dashes that the run itself has, so that no job takes them from
    where the run has them. reporter: of the run.
    """

    root: Any
    configuration: Configuration
    passed_on: PassedOn
    has_titles: bool
    own: tuple[str, ...]
    reporter: Reporter

    def require_flags(self, job: NamedJob) -> None:
        """Raise ConfigError for a job without a flag that its command must have, or without any of ONE_OF them."""
        command, defaults = self._command(job), self._defaults(job)
        given = {each.name for each in command.params if each.name in defaults or os.environ.get(str(each.envvar))}
        one_of = ONE_OF.get(job.command, ())
        if one_of and not given.intersection(name.replace("-", "_") for name in one_of):
            raise self._lacks(job, one_of[0], f"--{' or --'.join(one_of)} of {job.command}")
        for parameter in command.params:
            if parameter.param_type_name == "argument":
                if parameter.required and not job.arguments:
                    raise self._lacks(job, "arguments", f"{parameter.metavar or parameter.name} of {job.command}")
            elif parameter.required and parameter.name not in given:
                raise self._lacks(job, parameter.opts[0].removeprefix("--"), f"{parameter.opts[0]} of {job.command}")

    def _lacks(self, job: NamedJob, key: str, what: str) -> ConfigError:
        return self.configuration.file.error(("jobs", job.name), f"[jobs.{job.name}] lacks the key '{key}' ({what})")

    def run(self, jobs: Sequence[NamedJob], timeout: float | None = None) -> JobsReport:
        """Run jobs, say on stderr which one ended with a status other than 0; return what became of all.

        timeout: seconds for all of them.
        """
        start = time.monotonic()
        runner = JobRunner(self._call)
        outcomes = []
        with _stopped_by_signals(runner), limit_time(timeout, runner.stop) as limit:
            for job in jobs:
                if self.passed_on.dry_run and "dry-run" not in self._parameters(job):
                    outcomes.append(JobOutcome(job, not_run="no_dry_run"))
                    continue
                if not runner.is_stopped:
                    self._print_title(job)
                outcomes += runner.run([job])
                _report_problem(outcomes[-1])
        is_stopped = any(each.exit_status == INTERRUPTED_STATUS or each.not_run == "interrupted" for each in outcomes)
        return JobsReport(outcomes, time.monotonic() - start, limit.is_over and is_stopped)

    def _print_title(self, job: NamedJob) -> None:
        EVENTS.info("job %s began: cataloger %s", job.name, job.command, extra=_event("job.began", job))
        if self.has_titles and not self.passed_on.json:
            typer.echo(f"{job.name}: cataloger {job.command}")
        # What is buffered would be printed by the job's process, too.
        sys.stdout.flush()
        sys.stderr.flush()

    def _call(self, child: Child) -> int:
        """Call the command of a job in its own process; return its exit status."""
        job = child.job
        note_job(job.name)
        self._choose_stdout(child)
        streams.open_standard()
        stdout = streams.tolerate_lost_output()
        counts_catalog.set(is_catalog_wanted(self.reporter))
        for flag in self.own:
            if flag in self._parameters(job):
                os.environ.pop(str(self._parameters(job)[flag].envvar), None)
        for flag in job.flags:  # they win over the environment, as flags do that are typed
            os.environ.pop(str(self._parameters(job)[flag].envvar), None)
        arguments = [*job.command.split(), *self.passed_on.flags_for(self._parameters(job))]
        arguments += ["--", *job.arguments] if job.arguments else []
        configuration = replace(self.configuration, defaults=self._all_defaults(job))
        try:
            self.root.main(args=arguments, prog_name="cataloger", obj=configuration)
        except SystemExit as end:
            return int(streams.final_status(stdout, end.code) or 0)
        finally:
            end_lines()  # of a job that has its log in JSON where ours is not
        return 0

    def _choose_stdout(self, child: Child) -> None:
        """Let the output of a job go where it belongs: to us, to stdout, or nowhere."""
        if not self.passed_on.json:
            tell_summary.set(child.tell)
            if self.passed_on.quiet and "quiet" not in self._parameters(child.job):
                streams.redirect_stdout(os.devnull)
        elif "json" in self._parameters(child.job):
            child.print_to_parent()
        else:
            os.dup2(2, 1)  # stdout is for the JSON of all jobs

    def _command(self, job: NamedJob) -> Any:
        command = self.root
        for name in job.command.split():
            command = command.commands[name]
        return command

    def _parameters(self, job: NamedJob) -> dict[str, Any]:
        """Return flag without dashes -> parameter of a job's command."""
        return {option.lstrip("-"): each for each in self._command(job).params for option in each.opts}

    def _defaults(self, job: NamedJob) -> dict[str, Any]:
        """Return parameter -> value, of the configuration and, above it, of the job."""
        values = self._all_defaults(job)
        for name in job.command.split():
            values = values.get(name, {})
        return values

    def _all_defaults(self, job: NamedJob) -> dict[str, Any]:
        """Return nested defaults of all commands; those of the job's command are its flags."""
        made = own = deepcopy(self.configuration.defaults)
        for name in job.command.split():
            own = own.setdefault(name, {})
        for flag in self.own:
            if flag in self._parameters(job):
                own.pop(self._parameters(job)[flag].name, None)
        for flag, value in job.flags.items():
            own[self._parameters(job)[flag].name] = value
        return made


@contextmanager
def _stopped_by_signals(runner: JobRunner) -> Iterator[None]:
    """Let Ctrl-C, SIGTERM and SIGHUP stop the job that runs, as they stop a command; the second one at once."""

    def stop(number: int, _frame: object) -> None:
        if number != signal.SIGHUP or not runner.is_stopped:
            runner.stop()

    previous = {number: signal.signal(number, stop) for number in stop_signals()}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _report_problem(outcome: JobOutcome) -> None:
    name = f"cataloger: job {outcome.job.name}"
    values = _event("job.ended", outcome.job) | _figures(outcome)
    if outcome.signal is not None:
        tell(f"{name} was ended by {outcome.signal}" + _advice(outcome.signal), level="error", **values)
    elif outcome.exit_status:
        why = f"{name} ended with exit status {outcome.exit_status}: {_meaning(outcome)}"
        tell(why, level="error", **values)
    elif outcome.not_run == "interrupted":
        tell(f"{name} was not run", level="warning", **values)
    else:
        EVENTS.info("job %s ended: %s", outcome.job.name, _meaning(outcome), extra=values)


def _figures(outcome: JobOutcome) -> dict[str, Any]:
    """Return what a log says of the end of a job."""
    seconds = None if outcome.seconds is None else round(outcome.seconds, 3)
    return {
        "exit_status": outcome.exit_status,
        "seconds": seconds,
        "signal": outcome.signal,
        "not_run": outcome.not_run,
    }


def _event(name: str, job: NamedJob) -> dict[str, Any]:
    return {"event": name, "job": job.name, "command": job.command}


def _advice(name: str) -> str:
    return "; had the machine no memory left?" if name == signal.SIGKILL.name else ""


def _meaning(outcome: JobOutcome) -> str:
    if outcome.not_run is not None:
        return WHY_NOT[outcome.not_run]
    return MEANINGS.get(outcome.exit_status or 0, "fatal")


def _show(report: JobsReport, configuration: Configuration, *, json: bool, quiet: bool) -> None:
    if json:
        render.print_json(report.as_json())
    elif not report.outcomes:
        typer.echo(f"{configuration.file.name} has no jobs; write a table [jobs.NAME] for each")
    elif all(each.not_run == "listed" for each in report.outcomes):
        rows = [(each.job.name, each.job.command) for each in report.outcomes]
        render.stdout_console().print(render.table(("job", "command"), rows))
    elif not quiet:
        _print_summary(report, render.stdout_console())


def _print_summary(report: JobsReport, console: "Console") -> None:
    columns = ("job", "command", "done", "failed", "skipped", "seconds", "exit status", "meaning")
    console.print(render.table(columns, map(_row, report.outcomes)))


def _row(outcome: JobOutcome) -> tuple[object, ...]:
    counts = ("" if number is None else number for number in map(outcome.count, ("done", "failed", "skipped")))
    seconds = "" if outcome.seconds is None else f"{outcome.seconds:.1f}"
    status = "" if outcome.exit_status is None else outcome.exit_status
    meaning = f"ended by {outcome.signal}" if outcome.signal else _meaning(outcome)
    return (outcome.job.name, outcome.job.command, *counts, seconds, status, meaning)
