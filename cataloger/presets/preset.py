"""What a preset consists of."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from cataloger.errors import UsageError

Kind = Literal["name", "number", "folder"]
FlagValue = str | bool | list[str]

PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([^{}]*)\}")
"""{NAME} stands for the value of a setting, {{ and }} for a brace."""
FORMS: Mapping[Kind, re.Pattern[str]] = {
    "name": re.compile(r"\w*", re.ASCII),
    "number": re.compile(r"-?\d{1,18}", re.ASCII),
    "folder": re.compile(r".+", re.DOTALL),
}
"""What the value of a setting may be; names and numbers become part of SQL, a folder must not."""
MEANINGS: Mapping[Kind, str] = {
    "name": "letters, digits and _",
    "number": "a whole number",
    "folder": "a folder",
}

TEXT_FLAGS = (
    *("table", "image", "image-query", "image-list", "image-table", "version-column", "where"),
    *("image-root", "source-name", "department-column"),
)
LIST_FLAGS = ("id", "image-fk", "image-id", "only-if")
BOOLEAN_FLAGS = ("only-null",)
SQL_FLAGS = ("image-query", "where")


@dataclass(frozen=True, slots=True)
class PresetSetting:
    """A value that differs from shop to shop. default: None where the user must give it, or may, if `optional`.

    choices: a SELECT of its possible values and their names; "" for none.
    """

    name: str
    help: str
    kind: Kind = "name"
    default: str | None = None
    optional: bool = False
    choices: str = ""

    def check(self, value: str, flag: str) -> str:
        """Return a value that was given. Raises UsageError for what it cannot be."""
        if not FORMS[self.kind].fullmatch(value):
            raise UsageError(f"{flag} {self.name}={value}: {self.help}: write {MEANINGS[self.kind]}")
        return value


@dataclass(frozen=True, slots=True)
class PresetTarget:
    """A table that results are written to, in the form of the flags: either `link`, or `table` with key and where.

    adds_rows: of a table, also products without a row. needs: setting without which nothing is written there.
    """

    link: str = ""
    table: str = ""
    key: str = ""
    where: str = ""
    adds_rows: bool = True
    needs: str = ""


@dataclass(frozen=True, slots=True)
class PresetFile:
    """The files of a system whose database nobody can reach. format: whose columns they have.

    commands: those that read them and write a copy of them, for people.
    """

    format: str
    commands: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Preset:
    """What `sync` needs to know of a shop system. Texts hold placeholders of its settings.

    origin: its name, or its file. databases: backends that it is for: "mysql", which is MariaDB, too, "postgresql",
    "sqlite". flags: of `sync`, without dashes. categories: SELECT of code, name and parent of the shop's categories;
    "" if there are none to choose from. privileges: object -> what its user may do. notes: what else is to do.
    file: in place of all that, for `tag` and `feed`.
    """

    name: str
    origin: str
    title: str
    versions: str
    databases: tuple[str, ...]
    settings: Mapping[str, PresetSetting]
    flags: Mapping[str, FlagValue]
    targets: tuple[PresetTarget, ...] = ()
    categories: str = ""
    privileges: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    file: PresetFile | None = None


def placeholders(text: str) -> list[str]:
    """Return the names of the settings that a text holds."""
    return [match[1] for match in PLACEHOLDER.finditer(text) if match[1] is not None]
