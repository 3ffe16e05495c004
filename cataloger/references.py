"""Values that are kept elsewhere than in a flag: `env:NAME` in a variable, `file:PATH` in a file, alone."""

import os
import re
from pathlib import Path

from cataloger.errors import ConfigError

REFERENCES = {"env": "variable", "file": "file"}
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
LONGEST = 65536  # characters


def is_reference(text: str) -> bool:
    """Tell whether a value is kept elsewhere."""
    return text.partition(":")[0] in REFERENCES and ":" in text


def dereferenced(text: str, flag: str, what: str) -> str:
    """Return the value that a reference leads to; any other text as it is. Raises ConfigError.

    flag: that has the text. what: the value is, for messages. None of them holds the value, nor a name that may be a
    URL with a password.
    """
    if not is_reference(text):
        return text
    kind, _, name = text.partition(":")
    name = name.removeprefix("//") if kind == "file" else name
    if "://" in name or not name or (kind == "env" and not VARIABLE.fullmatch(name)):
        raise ConfigError(f"{flag}: after {kind}: stands the name of a {REFERENCES[kind]}")
    found = _content(Path(name), flag) if kind == "file" else os.environ.get(name, "")
    if not found.strip():
        raise ConfigError(f"{flag}: {text} is empty or not set; it must hold {what}")
    if len(found.strip().splitlines()) > 1:
        raise ConfigError(f"{flag}: {text} has several lines; it must hold {what}, and nothing else")
    return found


def _content(path: Path, flag: str) -> str:
    try:
        with path.open(encoding="utf-8-sig") as file:
            return file.read(LONGEST)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not in UTF-8"
        raise ConfigError(f"{flag}: the file {path} cannot be read: {why}") from None
