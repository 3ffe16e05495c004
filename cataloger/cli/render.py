"""What a person sees: progress, summaries, tables. Progress and logs go to stderr, data to stdout.

rich is loaded by what draws with it: `--help` and completion in a shell need none of it.
"""

import json
import logging
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cataloger.signals import LogFormat, begin_log, is_json, turn_into_lines
from cataloger.utils import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table
    from rich.text import Text

PIPE_WIDTH = 200


def stderr_console() -> "Console":
    """Return a console on the current stderr; a new one each time, since tests replace the stream."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def stdout_console() -> "Console":
    """Return a console on the current stdout."""
    from rich.console import Console

    # A pipe or a log has no width to wrap lines at.
    return Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else PIPE_WIDTH)


def as_json(values: Any) -> str:
    """Return JSON for people and programs, with a newline at its end."""
    return json.dumps(values, indent=2, ensure_ascii=False, default=str) + "\n"


def print_json(values: Any) -> None:
    """Print JSON on stdout, the whole result and nothing else."""
    sys.stdout.write(as_json(values))


def set_up_logging(*, verbose: int, quiet: bool, form: LogFormat | None = None) -> None:
    """Send log records to stderr: warnings, with -v information, with -vv everything.

    form: of the log; None as it is.
    """
    if begin_log(form or ("json" if is_json() else "text"), quiet=quiet, verbose=verbose):
        turn_into_lines()
        return
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[0 if quiet else min(verbose, 2)]
    logger = logging.getLogger("cataloger")
    logger.handlers = [_terminal_handler(verbose > 0) if sys.stderr.isatty() else _plain_handler(verbose > 0)]
    logger.setLevel(level)
    logger.propagate = False


def _terminal_handler(shows_time: bool) -> logging.Handler:
    from rich.logging import RichHandler

    return RichHandler(console=stderr_console(), show_path=False, show_time=shows_time)


def _plain_handler(shows_time: bool) -> logging.Handler:
    """Return a handler for a pipe, a log or a mail: one line a record, however long, so that a path stays whole."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_PlainFormatter("%(asctime)s  " * shows_time + "%(levelname)-8s %(message)s"))
    return handler


class _PlainFormatter(logging.Formatter):
    """Writes out what a terminal would act upon when somebody prints the log."""

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(map(printable, super().format(record).splitlines()))


@contextmanager
def progress_bar(*, enabled: bool) -> "Iterator[Progress]":
    """Give a progress display on stderr; silent when not enabled or when stderr is not a terminal."""
    from cataloger.cli.progress import make_progress

    with make_progress(stderr_console(), enabled=enabled) as progress:
        yield progress


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None) -> "Table":
    """Make a plain table; numbers are aligned right. columns: their names; without any name there is no header."""
    from rich.table import Table

    rows = [list(row) for row in rows]
    made = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    made.show_header = any(columns)
    for index, column in enumerate(columns):
        is_number = bool(rows) and all(isinstance(row[index], int | float) for row in rows)
        made.add_column(column, justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        made.add_row(*(_cell(value) for value in row))
    return made


def _cell(value: object) -> "Text":
    from rich.text import Text

    if isinstance(value, float):
        return Text(f"{value:,.3f}")
    return Text(f"{value:,}" if isinstance(value, int) else printable(str(value)))
