"""JSON lines: an object a line, no key twice."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cataloger.tabular.lines import open_text, read_lines
from cataloger.tabular.problems import RowProblem, encoding_problem


@dataclass(frozen=True, slots=True)
class JsonRow:
    """An object, and the line that it stands in, from 1."""

    line: int
    values: dict[str, Any]


def read_json_lines(path: Path) -> Iterator[JsonRow | RowProblem]:
    """Yield what each line holds; blank ones are left out. Raises OSError."""
    with open_text(path) as file:
        for number, text, is_whole in read_lines(file):
            if not is_whole:
                yield RowProblem(number, number, "size", f"has more than {len(text):,} characters")
            elif text.strip():
                yield _parse(number, text)


def _parse(number: int, text: str) -> JsonRow | RowProblem:
    if problem := encoding_problem(text):
        return RowProblem(number, number, "encoding", problem)
    try:
        values = json.loads(text, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        return RowProblem(number, number, "json", f"is not valid JSON: {error}")
    if not isinstance(values, dict):
        return RowProblem(number, number, "json", "is not a JSON object")
    return JsonRow(number, values)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"it has the key {twice!r} twice")
    return values
