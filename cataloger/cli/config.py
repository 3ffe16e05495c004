"""cataloger.toml: defaults for the flags of the command line.

Keys are flags without the dashes, e.g. `db` or `batch-size`. At the top level they apply to every command that has
the flag; in a table with the name of a command, e.g. [tag], to that command. Unknown keys are errors.
"""

import os
import tomllib
from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from cataloger.errors import ConfigError
from cataloger.utils import clean_setting

CONFIG_NAME = "cataloger.toml"
PREFIX = "CATALOGER_"


def load_config(path: Path | None) -> dict[str, Any]:
    """Read a configuration file; without a path, cataloger.toml of the working directory if there is one."""
    chosen = path or Path(CONFIG_NAME)
    if path is None and not os.path.lexists(chosen):
        return {}
    try:
        # Editors of Windows begin a file with a byte order mark.
        return {key: _clean(value) for key, value in tomllib.loads(chosen.read_text(encoding="utf-8-sig")).items()}
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


def defaults_for(config: Mapping[str, Any], commands: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """Turn a configuration into nested defaults by command and parameter.

    commands: command ("tag", "db upgrade") -> flag name without dashes -> parameter name.
    Raises ConfigError for a key that no command has.
    """
    defaults: dict[str, Any] = {}
    general = {key: value for key, value in config.items() if not isinstance(value, dict)}
    tables = {key: value for key, value in config.items() if isinstance(value, dict)}
    known = {flag for flags in commands.values() for flag in flags}
    _refuse_unknown(general, known, "cataloger.toml")
    _refuse_unknown(tables, {name.split()[0] for name in commands}, "cataloger.toml", kind="table")
    for command, flags in commands.items():
        own = _table(tables, command)
        _refuse_unknown(own, set(flags) | _subcommands(command, commands), f"[{command}] of cataloger.toml")
        values = {**{k: v for k, v in general.items() if k in flags}, **own}
        for name, value in own.items():
            if isinstance(value, dict) and name in flags:
                raise ConfigError(f"[{command}] of cataloger.toml: {name} takes a value, not a table")
        _insert(defaults, command.split(), {flags[k]: v for k, v in values.items() if k in flags})
    for group in {name.split()[0] for name in commands if " " in name}:
        own = tables.get(group, {})
        _refuse_unknown(own, _subcommands(group, commands), f"[{group}] of cataloger.toml")
        for name, values in own.items():
            if not isinstance(values, dict):
                raise ConfigError(f"[{group}] of cataloger.toml: {name} is a command; write a table [{group}.{name}]")
    return defaults


def check_kinds(config: Mapping[str, Any], switches: Set[str]) -> None:
    """Refuse what no flag can be, in all tables: a table in a list, a date, true for a flag that takes a value.

    switches: the flags without a value. Raises ConfigError; what kind of text or number a flag takes, it says itself.
    """
    for name, value in config.items():
        if isinstance(value, dict):
            check_kinds(value, switches)
            continue
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, bool) and name not in switches:
                raise ConfigError(f"cataloger.toml: {name} takes a value, not {str(each).lower()}")
            if not isinstance(each, str | int | float):
                raise ConfigError(f"cataloger.toml: {name} is a text, a number, true or false, or a list of texts")


def _table(tables: Mapping[str, Any], command: str) -> Mapping[str, Any]:
    value: Any = tables
    for part in command.split():
        value = value.get(part, {}) if isinstance(value, dict) else {}
    return value if isinstance(value, dict) else {}


def _subcommands(command: str, commands: Iterable[str]) -> set[str]:
    return {name.split()[1] for name in commands if name.startswith(command + " ")}


def _insert(defaults: dict[str, Any], parts: list[str], values: dict[str, Any]) -> None:
    for part in parts:
        defaults = defaults.setdefault(part, {})
    defaults.update(values)


def _refuse_unknown(values: Iterable[str], known: set[str], place: str, kind: str = "key") -> None:
    unknown = sorted(set(values) - known)
    if unknown:
        raise ConfigError(f"{place} has the unknown {kind} {unknown[0]!r}; known are {', '.join(sorted(known))}")
