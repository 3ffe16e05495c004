"""cataloger.toml: defaults for the flags of the command line, and named jobs.

Keys are flags without the dashes, e.g. `db` or `batch-size`. At the top level they apply to every command that has
the flag; in a table with the name of a command, e.g. [tag], to that command; in [jobs.NAME] to that job. What is
unknown is an error that names the file and the line.
"""

import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer

from cataloger.errors import ConfigError
from cataloger.jobs import NamedJob
from cataloger.utils import clean_setting, line_of, nearest_of

CONFIG_NAME = "cataloger.toml"
PREFIX = "CATALOGER_"
JOBS = "jobs"
"""The table of the jobs; no command may have this name."""
COMMAND, ARGUMENTS = "command", "arguments"
"""Keys of a job besides flags; no command may have flags of these names."""
NO_JOBS = {"run": "it runs jobs itself", "review": "it serves until it is stopped"}
"""Commands that are no work of a job, and why."""

Flags = Mapping[str, Mapping[str, str]]
"""Command ("tag", "db upgrade") -> flag without dashes -> name of its parameter."""


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A configuration as it was read. name: of the file, for messages. text: where the lines of keys are found."""

    values: Mapping[str, Any] = field(default_factory=dict)
    name: str = CONFIG_NAME
    text: str = ""

    def error(self, keys: Sequence[str], message: str) -> ConfigError:
        """Make an error about a key, or the table that lacks one, with the file and the line."""
        line = line_of(self.text, keys)
        return ConfigError(f"{self.name}{'' if line is None else f', line {line}'}: {message}")


@dataclass(frozen=True, slots=True)
class Configuration:
    """What a configuration says: defaults by command and parameter, nested, and jobs in the order of the file."""

    file: ConfigFile = field(default_factory=ConfigFile)
    defaults: dict[str, Any] = field(default_factory=dict)
    jobs: tuple[NamedJob, ...] = ()


def load_config(path: Path | None) -> ConfigFile:
    """Read a configuration file; without a path, cataloger.toml of the working directory if there is one."""
    chosen = path or Path(CONFIG_NAME)
    if path is None and not os.path.lexists(chosen):
        return ConfigFile()
    try:
        # Editors of Windows begin a file with a byte order mark.
        text = chosen.read_text(encoding="utf-8-sig")
        return ConfigFile({key: _clean(value) for key, value in tomllib.loads(text).items()}, str(chosen), text)
    except OSError as error:
        raise ConfigError(f"the configuration {chosen} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{chosen} is not in UTF-8 ({error.reason} at byte {error.start}): save it in UTF-8"
        ) from error
    except ValueError as error:  # of TOML, and of Python for a number of thousands of digits
        raise ConfigError(f"{chosen} is not valid TOML: {error}") from error
    except RecursionError as error:
        raise ConfigError(f"{chosen} is not valid TOML: its lists or tables are nested too deeply") from error


def clean_environment() -> None:
    """Take the line breaks of Windows from the ends of our variables, as a file of settings may have left them."""
    for name, value in os.environ.items():
        if name.startswith(PREFIX):
            os.environ[name] = clean_setting(value)


def clean_arguments(arguments: Sequence[str]) -> list[str]:
    """Return arguments without the carriage return that a script written on Windows leaves at the end of its lines.

    One that is the name of a file stays as it is.
    """
    return [each if os.path.lexists(each) else each.rstrip("\r") or each for each in arguments]


def _clean(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _clean(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_clean(each) for each in value]
    return clean_setting(value) if isinstance(value, str) else value


def defaults_for(file: ConfigFile, commands: Flags) -> dict[str, Any]:
    """Turn a configuration into nested defaults by command and parameter. Raises ConfigError for an unknown key."""
    defaults: dict[str, Any] = {}
    general = {key: value for key, value in file.values.items() if not isinstance(value, dict) and key != JOBS}
    tables = {key: value for key, value in file.values.items() if isinstance(value, dict) and key != JOBS}
    known = {flag for flags in commands.values() for flag in flags}
    _refuse_unknown(file, (), general, known)
    _refuse_unknown(file, (), tables, {name.split()[0] for name in commands} | {JOBS}, kind="table")
    for command, flags in commands.items():
        keys = tuple(command.split())
        own = _table(tables, keys)
        _refuse_unknown(file, keys, own, set(flags) | _subcommands(command, commands))
        values = {**{k: v for k, v in general.items() if k in flags}, **own}
        for name, value in own.items():
            if isinstance(value, dict) and name in flags:
                raise file.error((*keys, name), f"[{command}]: {name} takes a value, not a table")
        _insert(defaults, keys, {flags[k]: v for k, v in values.items() if k in flags})
    for group in {name.split()[0] for name in commands if " " in name}:
        own = tables.get(group, {})
        _refuse_unknown(file, (group,), own, _subcommands(group, commands))
        for name, values in own.items():
            if not isinstance(values, dict):
                raise file.error((group, name), f"[{group}]: {name} is a command; write a table [{group}.{name}]")
    return defaults


def jobs_of(file: ConfigFile, commands: Flags) -> tuple[NamedJob, ...]:
    """Return the jobs of a configuration. Raises ConfigError for what is none, and for an unknown key."""
    tables = file.values.get(JOBS, {})
    if not isinstance(tables, dict):
        raise file.error((JOBS,), f"{JOBS} is no flag; write a table [{JOBS}.NAME] for each job")
    return tuple(_job(file, name, table, commands) for name, table in tables.items())


def _job(file: ConfigFile, name: str, table: Any, commands: Flags) -> NamedJob:
    keys, place = (JOBS, name), f"[{JOBS}.{name}]"
    if not isinstance(table, dict):
        raise file.error(keys, f"[{JOBS}]: {name} is the name of a job; write a table {place}")
    if not NamedJob.is_name(name):
        raise file.error(keys, f"{place}: the name of a job consists of letters, digits, '-' and '_'")
    if COMMAND not in table:
        raise file.error(keys, f'{place} does not say which command it runs; write e.g. {COMMAND} = "sync"')
    command, possible = table[COMMAND], set(commands) - set(NO_JOBS)
    if command in NO_JOBS:
        raise file.error((*keys, COMMAND), f"{place}: {command} cannot be a job: {NO_JOBS[command]}")
    if not isinstance(command, str) or command not in possible:
        raise file.error((*keys, COMMAND), f"{place}: {_unknown('command', str(command), possible)}")
    flags = {key: value for key, value in table.items() if key not in (COMMAND, ARGUMENTS)}
    # A table is read as if all of its keys were flags, so that each is named as one.
    _refuse_unknown(file, keys, flags, set(commands[command]) | {COMMAND, ARGUMENTS})
    return NamedJob(name, command, flags, _arguments(file, keys, table.get(ARGUMENTS, [])))


def _arguments(file: ConfigFile, keys: tuple[str, ...], value: Any) -> tuple[str, ...]:
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(each, str) for each in values):
        raise file.error((*keys, ARGUMENTS), f"[{'.'.join(keys)}]: {ARGUMENTS} is a text or a list of texts")
    return tuple(values)


def check_values(file: ConfigFile, commands: Mapping[str, Any], jobs: Iterable[NamedJob] = ()) -> None:
    """Refuse what a flag cannot be, in all tables, as its command would.

    commands: name -> the command of the command line. Raises ConfigError.
    """
    for keys, value, owners in _given(file, commands, jobs):
        problems = [_problem(owner, keys[-1], value) for owner in owners]
        if problems and all(problems):  # a key at the top may suit one command and not another
            place = f"[{'.'.join(keys[:-1])}]: " if len(keys) > 1 else ""
            raise file.error(keys, f"{place}{problems[0]}")


def _given(
    file: ConfigFile, commands: Mapping[str, Any], jobs: Iterable[NamedJob]
) -> Iterator[tuple[tuple[str, ...], Any, list[Any]]]:
    """Yield each value with the names that lead to it and the commands that it is for."""
    for name, value in file.values.items():
        if not isinstance(value, dict):
            yield (name,), value, [command for command in commands.values() if _parameter(command, name)]
    for command_name, command in commands.items():
        keys = tuple(command_name.split())
        for name, value in _table(file.values, keys).items():
            if not isinstance(value, dict):
                yield (*keys, name), value, [command]
    for job in jobs:
        yield from (((JOBS, job.name, name), value, [commands[job.command]]) for name, value in job.flags.items())


def _problem(command: Any, name: str, value: Any) -> str | None:
    """Return what is wrong with the value of a flag, None if nothing is."""
    parameter = _parameter(command, name)
    takes_no_value = getattr(parameter, "is_flag", False) or getattr(parameter, "count", False)
    for each in value if isinstance(value, list) else [value]:
        if isinstance(each, bool) and not takes_no_value:
            return f"{name} takes a value, not {str(each).lower()}"
        if not isinstance(each, str | int | float):
            return f"{name} is a text, a number, true or false, or a list of texts"
    if isinstance(value, list) is not bool(parameter.multiple):
        return f"{name} takes one value, not a list" if isinstance(value, list) else f"{name} takes a list of texts"
    try:
        parameter.process_value(command.context_class(command, info_name=command.name), value)
    except typer.BadParameter as error:
        return f"{name}: {error.message}"
    return None


def _parameter(command: Any, flag: str) -> Any:
    return next((each for each in command.params if f"--{flag}" in each.opts), None)


def _table(tables: Mapping[str, Any], keys: Sequence[str]) -> Mapping[str, Any]:
    value: Any = tables
    for part in keys:
        value = value.get(part, {}) if isinstance(value, dict) else {}
    return value if isinstance(value, dict) else {}


def _subcommands(command: str, commands: Iterable[str]) -> set[str]:
    return {name.split()[1] for name in commands if name.startswith(command + " ")}


def _insert(defaults: dict[str, Any], parts: Sequence[str], values: dict[str, Any]) -> None:
    for part in parts:
        defaults = defaults.setdefault(part, {})
    defaults.update(values)


def _refuse_unknown(
    file: ConfigFile, keys: tuple[str, ...], values: Iterable[str], known: set[str], kind: str = "key"
) -> None:
    for name in values:
        if name not in known:
            place = f"[{'.'.join(keys)}] has an " if keys else ""
            raise file.error((*keys, name), f"{place}{_unknown(kind, name, known)}")


def _unknown(kind: str, name: str, known: Iterable[str]) -> str:
    return f"unknown {kind} {name!r}; known are {nearest_of(name, known)}"
