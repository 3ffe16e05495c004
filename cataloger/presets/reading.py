"""Reading presets: those of the package and files of users. What is wrong names the file and the line."""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from cataloger.errors import ConfigError, UsageError
from cataloger.presets.preset import (
    BOOLEAN_FLAGS,
    FORMS,
    LIST_FLAGS,
    MEANINGS,
    SQL_FLAGS,
    TEXT_FLAGS,
    FlagValue,
    Kind,
    Preset,
    PresetFile,
    PresetSetting,
    PresetTarget,
    placeholders,
)
from cataloger.utils import line_of, nearest_of

SHOPS = Path(__file__).parent / "shops"
SUFFIX = ".toml"
BACKENDS = ("mysql", "postgresql", "sqlite")
OF_DATABASE = ("databases", "settings", "sync", "write", "categories", "privileges")
KEYS = ("title", "versions", "notes", *OF_DATABASE, "file")
FILE_KEYS = ("format", "commands")
SETTING_KEYS = ("help", "kind", "default", "optional", "choices")
TARGET_KEYS = ("link", "table", "key", "where", "adds-rows", "if")


def preset_names() -> tuple[str, ...]:
    """Return the names of the presets that come with the package, without reading them."""
    return tuple(sorted(path.stem for path in SHOPS.glob(f"*{SUFFIX}")))


def read_preset(name: str) -> Preset:
    """Return a preset by its name, or of a file: a name that ends with .toml or has a slash. Raises UsageError."""
    is_file = name.endswith(SUFFIX) or "/" in name
    if not is_file and name not in preset_names():
        raise UsageError(
            f"--preset {name}: there is no such preset; there are {nearest_of(name, preset_names())}; a file of your "
            "own ends with .toml"
        )
    path = Path(name) if is_file else SHOPS / f"{name}{SUFFIX}"
    try:
        text = path.read_text(encoding="utf-8-sig")
        values = tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"the preset {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not in UTF-8: save it in UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error
    return _Reader(str(path) if is_file else name, path.stem, text).preset(values)


def file_format(name: str) -> str:
    """Return whose files the preset called so is for, as `tag` has it. Raises UsageError for one of a database."""
    preset = read_preset(name)
    if preset.file is None:
        raise UsageError(
            f"--preset {name} is for the database of a shop: `cataloger sync --preset {name}`; tag reads files, and "
            f"its presets are {', '.join(_of_files())}"
        )
    return preset.file.format


def _of_files() -> list[str]:
    return [name for name in preset_names() if read_preset(name).file is not None]


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads one file. origin: how messages call it. text: where the lines of keys are found."""

    origin: str
    name: str
    text: str

    def preset(self, values: Mapping[str, Any]) -> Preset:
        """Return what the file holds. Raises ConfigError."""
        self._known((), values, KEYS)
        settings = {name: self._setting(name, each) for name, each in self._table(values, "settings").items()}
        categories = self._table(values, "categories")
        self._known(("categories",), categories, ("query",))
        if "categories" in values and not categories.get("query"):
            raise self.error(("categories",), "[categories] lacks the key 'query': a SELECT of code, name and parent")
        preset = Preset(
            name=self.name,
            origin=self.origin,
            title=self._text(values, ("title",)) or self.name,
            versions=self._text(values, ("versions",)),
            databases=self._backends(values),
            settings=settings,
            flags=self._flags(self._table(values, "sync")),
            targets=tuple(self._targets(values.get("write", []))),
            categories=self._text(categories, ("categories", "query")),
            privileges=self._privileges(self._table(values, "privileges")),
            notes=tuple(self._texts(values, ("notes",))),
            file=self._file(values) if "file" in values else None,
        )
        self._check_placeholders(preset)
        return preset

    def error(self, keys: Sequence[str], message: str) -> ConfigError:
        """Make an error about a key, or the table that lacks one."""
        line = line_of(self.text, keys)
        return ConfigError(f"{self.origin}{'' if line is None else f', line {line}'}: {message}")

    def _setting(self, name: str, values: Any) -> PresetSetting:
        keys = ("settings", name)
        if not isinstance(values, dict):
            raise self.error(keys, f"[settings]: {name} is a setting; write a table [settings.{name}]")
        self._known(keys, values, SETTING_KEYS)
        kind = values.get("kind", "name")
        if kind not in get_args(Kind):
            raise self.error((*keys, "kind"), f"[settings.{name}]: kind is one of {', '.join(get_args(Kind))}")
        default = None if "default" not in values else self._text(values, (*keys, "default"))
        if default is not None and not FORMS[kind].fullmatch(default):
            raise self.error((*keys, "default"), f"[settings.{name}]: default is {MEANINGS[kind]}")
        is_optional = values.get("optional", False)
        if not isinstance(is_optional, bool):
            raise self.error((*keys, "optional"), f"[settings.{name}]: optional is true or false")
        text, choices = self._text(values, (*keys, "help")), self._text(values, (*keys, "choices"))
        if not text:
            raise self.error(keys, f"[settings.{name}] lacks the key 'help': what the value is, for people")
        return PresetSetting(name, text, kind, default, is_optional, choices)

    def _flags(self, values: Mapping[str, Any]) -> dict[str, FlagValue]:
        self._known(("sync",), values, (*TEXT_FLAGS, *LIST_FLAGS, *BOOLEAN_FLAGS))
        found: dict[str, FlagValue] = {}
        for name, value in values.items():
            keys = ("sync", name)
            if name in BOOLEAN_FLAGS:
                if not isinstance(value, bool):
                    raise self.error(keys, f"[sync]: {name} is true or false")
                found[name] = value
            else:
                found[name] = self._texts(values, keys) if name in LIST_FLAGS else self._text(values, keys)
        return found

    def _targets(self, values: Any) -> Iterable[PresetTarget]:
        if not isinstance(values, list) or not all(isinstance(each, dict) for each in values):
            raise self.error(("write",), "write is a list of tables; write [[write]] for each")
        for number, each in enumerate(values, start=1):
            place = f"[[write]] number {number}"
            self._known(("write",), each, TARGET_KEYS, place)
            texts = {key: self._text(each, ("write", key), place) for key in TARGET_KEYS if key != "adds-rows"}
            if bool(texts["link"]) is bool(texts["table"]):
                raise self.error(("write",), f"{place} has either the key 'link' or the key 'table'")
            adds_rows = each.get("adds-rows", True)
            if not isinstance(adds_rows, bool):
                raise self.error(("write",), f"{place}: adds-rows is true or false")
            needs = texts.pop("if")
            yield PresetTarget(**texts, adds_rows=adds_rows, needs=needs)

    def _file(self, values: Mapping[str, Any]) -> PresetFile:
        """Return what [file] says; a file has no database."""
        from cataloger.sources import MANIFEST_PRESETS  # `sync` needs none of that

        if others := [key for key in OF_DATABASE if key in values]:
            raise self.error((others[0],), f"{others[0]} is of a database, and [file] of a file: leave one out")
        found = self._table(values, "file")
        self._known(("file",), found, FILE_KEYS)
        form = self._text(found, ("file", "format"))
        if form not in MANIFEST_PRESETS:
            raise self.error(("file", "format"), f"[file]: format is one of {', '.join(MANIFEST_PRESETS)}")
        return PresetFile(form, tuple(self._texts(found, ("file", "commands"))))

    def _backends(self, values: Mapping[str, Any]) -> tuple[str, ...]:
        found = self._texts(values, ("databases",))
        if wrong := [each for each in found if each not in BACKENDS]:
            raise self.error(("databases",), f"databases: {wrong[0]} is none of {', '.join(BACKENDS)}")
        return tuple(found)

    def _privileges(self, values: Mapping[str, Any]) -> dict[str, str]:
        return {name: self._text(values, ("privileges", name)) for name in values}

    def _check_placeholders(self, preset: Preset) -> None:
        """Refuse a placeholder that is no setting, and a folder in SQL, of which anything may be part."""
        for keys, text in _texts_of(preset):
            for name in placeholders(text):
                if name not in preset.settings:
                    known = nearest_of(name, preset.settings)
                    raise self.error(keys, f"{{{name}}} is no setting; there are {known or 'none'}")
                is_sql = keys[0] != "sync" or keys[-1] in SQL_FLAGS
                if is_sql and preset.settings[name].kind == "folder":
                    raise self.error(keys, f"{{{name}}} is a folder, which cannot be a part of SQL")
        for target in preset.targets:
            if target.needs and target.needs not in preset.settings:
                raise self.error(("write",), f"[[write]]: if: {target.needs} is no setting")

    def _table(self, values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
        found = values.get(name, {})
        if not isinstance(found, dict):
            raise self.error((name,), f"{name} is a table; write [{name}]")
        return found

    def _text(self, values: Mapping[str, Any], keys: Sequence[str], place: str = "") -> str:
        value = values.get(keys[-1], "")
        if not isinstance(value, str):
            raise self.error(keys, f"{place or _place(keys)}{': ' if place else ''}{keys[-1]} is a text")
        return value

    def _texts(self, values: Mapping[str, Any], keys: Sequence[str]) -> list[str]:
        value = values.get(keys[-1], [])
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise self.error(keys, f"{_place(keys)}{keys[-1]} is a list of texts")
        return value

    def _known(self, keys: Sequence[str], values: Iterable[str], known: Sequence[str], place: str = "") -> None:
        for name in values:
            if name not in known:
                where = place or (f"[{'.'.join(keys)}]" if keys else "")
                text = f"{where} has an unknown key" if where else "unknown key"
                raise self.error((*keys, name), f"{text} {name!r}; known are {nearest_of(name, known)}")


def _place(keys: Sequence[str]) -> str:
    return f"[{'.'.join(keys[:-1])}]: " if len(keys) > 1 else ""


def _texts_of(preset: Preset) -> Iterable[tuple[tuple[str, ...], str]]:
    """Yield each text that may hold placeholders, with its keys."""
    for name, value in preset.flags.items():
        texts = value if isinstance(value, list) else [value]
        yield from ((("sync", name), text) for text in texts if isinstance(text, str))
    for target in preset.targets:
        yield from ((("write",), text) for text in (target.link, target.table, target.key, target.where))
    yield ("categories", "query"), preset.categories
    for setting in preset.settings.values():
        yield ("settings", setting.name, "choices"), setting.choices
    for name, text in preset.privileges.items():
        yield from ((("privileges", name), each) for each in (name, text))
