"""The command `cataloger`: its commands, configuration, and the one place where an error becomes an exit status."""

import atexit
import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import cataloger
from cataloger.cli import config as configuration
from cataloger.cli import streams
from cataloger.cli.groups import LazyCommands
from cataloger.errors import CatalogerError
from cataloger.signals import asks_for_json, begin_log, turn_into_lines
from cataloger.utils import keep_numpy_to_one_thread

EXIT_STATUSES = (
    "Exit status: 0 done; 1 fatal; 2 wrong usage or configuration; 3 done, but not all of it, e.g. more failures "
    "than allowed; 4 a quality gate failed; 5 done, but the output could not be written; 130 interrupted, run again "
    "to continue."
)

NEW_OBJECTS_BEFORE_COLLECTION = 50_000
"""Python's own number is 700. A command spends 7% less processor time until its first image so."""

COMMANDS = (
    *(
        "tag",
        "sync",
        "check",
        "inspect",
        "train",
        "evaluate",
        "explain",
        "report",
        "feed",
        "review",
        "calibrate",
        "adapt",
        "recalibrate",
    ),
    *("run", "presets", "models", "runs", "sources", "corrections", "db", "bench", "doctor"),
)
"""In the order of the help; each is a module of `cataloger.cli.commands`."""


class CommandGroup(TyperGroup):
    """Loads commands when they are called; prints a CatalogerError as one line on stderr, with what is to be copied
    below it, and exits with its status.

    It is done here and not in `main`, so that tests through CliRunner take the same path as the shell.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.commands = LazyCommands("cataloger.cli.commands", COMMANDS)

    def make_context(self, info_name: str | None, args: list[str], *rest: Any, **extra: Any) -> Any:
        """Clean what comes from outside before anything is read of it: arguments and variables."""
        configuration.clean_environment()
        return super().make_context(info_name, configuration.clean_arguments(args), *rest, **extra)

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands without loading them."""
        del ctx
        return list(self.commands)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except CatalogerError as error:
            streams.tell_error(error)
            raise typer.Exit(error.exit_code) from error
        except OSError as error:
            # A name that is too long, a link in a circle, a mount that is lost: it is that file's fault.
            if error.errno not in streams.DISK_ERRORS and error.filename is None:
                raise
            streams.tell_error(error)
            raise typer.Exit(CatalogerError.exit_code) from error


app = typer.Typer(
    name="cataloger",
    cls=CommandGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EXIT_STATUSES,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"cataloger {cataloger.__version__}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            envvar="CATALOGER_CONFIG",
            metavar="FILE",
            help="Configuration file. Default: cataloger.toml in the working directory.",
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Tag the images of a fashion catalog: top-5 categories with calibrated confidences, in your database.

    A flag has priority over an environment variable (CATALOGER_*), and that over cataloger.toml.
    """
    del version
    if context.obj is None:  # a job brings the configuration that its `run` has read
        context.obj = _configure(configuration.load_config(config), context.command)
    context.default_map = context.obj.defaults
    defaults = context.obj.defaults.get(context.invoked_subcommand or "", {})
    if asks_for_json(sys.argv[1:], os.environ, defaults):
        _begin_lines()


def _begin_lines() -> None:
    """Let all that is said on stderr be JSON, whatever the command; one with flags about its log says more of it."""
    begin_log("json")
    turn_into_lines()


def _configure(file: configuration.ConfigFile, group: Any) -> configuration.Configuration:
    """Check a configuration against the flags of all commands, which are loaded for that."""
    if not file.values:
        return configuration.Configuration(file)
    commands = dict(_leaves(group))
    flags = {name: _flags(command) for name, command in commands.items()}
    jobs = configuration.jobs_of(file, flags)
    defaults = configuration.defaults_for(file, flags)
    configuration.check_values(file, commands, jobs)
    return configuration.Configuration(file, defaults, jobs)


def _leaves(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the name of every command below a group, e.g. "db upgrade", and the command."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _leaves(command, f"{prefix}{name} ")
        else:
            yield prefix + name, command


def _flags(command: Any) -> dict[str, str]:
    """Return flag without dashes -> parameter name."""
    return {
        option.removeprefix("--"): parameter.name
        for parameter in command.params
        for option in parameter.opts
        if option.startswith("--") and option != "--help"
    }


def main() -> None:
    """Entry point of the console script."""
    stdout = streams.tolerate_lost_output()
    if asks_for_json(sys.argv[1:], os.environ):  # also what is said of wrong flags is a line then
        _begin_lines()
    keep_numpy_to_one_thread()
    # Loading some 700 modules makes next to no garbage, and Python would look for it hundreds of times.
    gc.set_threshold(NEW_OBJECTS_BEFORE_COLLECTION)
    # Python collects garbage of all modules before it exits: a fifth of a second for nothing.
    atexit.register(gc.freeze)
    try:
        app()
    except SystemExit as end:
        sys.exit(streams.final_status(stdout, end.code))
