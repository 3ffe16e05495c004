"""The log as JSON lines: one object a record, whose `event` says what has happened (docs/reference/log.md)."""

import json
import logging
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Literal

import typer

from cataloger.utils import printable

LogFormat = Literal["text", "json"]
EVENTS = "cataloger.events"
"""Logger of what everybody who reads a log by program wants to see: the begin and the end of runs and jobs."""
OTHER = "log"
"""Event of a record without a name of its own."""
STANDARD = {*vars(logging.makeLogRecord({})), "message", "asctime", "event"}


@dataclass(slots=True)
class _State:
    """What holds for all records of this process. A fork goes on with it."""

    is_json: bool = False
    run_id: int | None = None
    job: str | None = None


_state = _State()


def is_json() -> bool:
    """True while the log of this process is in JSON."""
    return _state.is_json


def note_job(name: str) -> None:
    """Name the job that all further records of this process belong to."""
    _state.job = name


def asks_for_json(
    arguments: Sequence[str], environment: Mapping[str, str], defaults: Mapping[str, Any] | None = None
) -> bool:
    """Tell whether a call will have its log in JSON, before its flags are read: these may be wrong.

    arguments: of the command line. defaults: of the command, by the names of its parameters.
    """
    for number, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name == "--log-format":
            return (value if equals else "".join(arguments[number + 1 : number + 2])) == "json"
    chosen = environment.get("CATALOGER_LOG_FORMAT") or (defaults or {}).get("log_format")
    return chosen == "json"


def begin_log(form: LogFormat, *, quiet: bool = False, verbose: int = 0) -> bool:
    """Send log records to stderr as JSON if that is wanted; return whether it is."""
    _state.is_json = form == "json"
    _state.run_id = None
    if not _state.is_json:
        logging.getLogger(EVENTS).setLevel(logging.NOTSET)
        return False
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[0 if quiet else min(verbose, 2)]
    handler.addFilter(_Quiet(logging.WARNING if quiet else logging.DEBUG))
    logger = logging.getLogger("cataloger")
    logger.handlers = [handler]
    logger.setLevel(level)
    logger.propagate = False
    # A run tells its number there, also where nothing of it is to be shown.
    logging.getLogger(EVENTS).setLevel(min(level, logging.INFO))
    return True


def tell(text: str, event: str, level: str = "info", **fields: Any) -> None:
    """Print a line on stderr: the text or, in a log of JSON, a record of it."""
    typer.echo(as_line(text, event, level, **fields) if _state.is_json else text, err=True)


def as_line(text: str, event: str, level: str, **fields: Any) -> str:
    """Return a record as one line of JSON, in ASCII, without a line break at its end."""
    values = {"time": now(), "level": level, "event": event, "run_id": _state.run_id, "job": _state.job}
    return json.dumps(values | {"message": _clean(text)} | fields, default=str)


def now() -> str:
    """Return the local time with its distance from UTC, in ISO 8601 to the millisecond."""
    return datetime.now().astimezone().isoformat(timespec="milliseconds")


def _clean(text: str) -> str:
    text = text.removeprefix("cataloger: ").removeprefix("error: ")
    # Names of files may hold bytes that are no text; a half of a surrogate pair is no JSON for strict readers.
    return "\n".join(map(printable, text.encode("utf-8", "backslashreplace").decode().splitlines()))


class JsonFormatter(logging.Formatter):
    """Writes a record as a line of JSON, with what `extra` adds to it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        fields = {name: value for name, value in vars(record).items() if name not in STANDARD}
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        event = getattr(record, "event", OTHER)
        return as_line(record.getMessage(), event, record.levelname.lower(), logger=record.name, **fields)


class _Quiet(logging.Filter):
    """Notes the number of the run, whatever is shown, and lets records of a level and above through."""

    def __init__(self, least: int) -> None:
        super().__init__()
        self._least = least

    def filter(self, record: logging.LogRecord, /) -> bool:
        if (run_id := getattr(record, "run_id", None)) is not None:
            _state.run_id = run_id
        return record.levelno >= self._least


def tell_crash(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Take the place of `sys.excepthook`: one record of an error that nobody has foreseen."""
    if issubclass(kind, KeyboardInterrupt) or not _state.is_json:
        sys.__excepthook__(kind, error, trace)
        return
    lines = "".join(traceback.format_exception(kind, error, trace))
    with suppress(OSError):
        os.write(2, f"{as_line(f'{kind.__name__}: {error}', 'crash', 'critical', traceback=lines)}\n".encode())
