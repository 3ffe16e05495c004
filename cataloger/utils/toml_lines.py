"""Where in a TOML document a key stands, for messages: tomllib itself keeps no lines."""

import tomllib
from collections.abc import Sequence
from typing import Any


def line_of(text: str, keys: Sequence[str]) -> int | None:
    """Return the line, counted from 1, where a key gets its value or a table begins; None if there is no such key.

    keys: the names from the top, e.g. ("jobs", "shoes", "table"). text: a valid document. It is read up to line after
    line until the key is there, by bisection: a part that ends within a value is no valid document and is shortened.
    """
    lines = text.replace("\r\n", "\n").split("\n")
    without, end = 0, len(lines)
    if not _has(_beginning(lines, end)[1], keys):
        return None
    while end - without > 1:
        middle = (without + end) // 2
        complete, values = _beginning(lines, middle)
        if complete > without and _has(values, keys):
            end = complete
        else:
            without = middle
    return _beginning(lines, end - 1)[0] + 1


def _beginning(lines: list[str], number: int) -> tuple[int, dict[str, Any]]:
    """Return how many of the first lines, at most `number`, are a document, and what it holds."""
    while number:
        try:
            return number, tomllib.loads("\n".join(lines[:number]))
        except tomllib.TOMLDecodeError:
            number -= 1
    return 0, {}


def _has(values: Any, keys: Sequence[str]) -> bool:
    for key in keys:
        if not isinstance(values, dict):
            return True  # of a list of tables, which is where something else is expected
        if key not in values:
            return False
        values = values[key]
    return True
