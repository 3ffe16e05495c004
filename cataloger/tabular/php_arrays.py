"""Arrays as PHP's `serialize` writes them into a cell: a:2:{i:0;s:5:"a.jpg";i:1;s:5:"b.jpg";}.

Only what a list of images is made of is read: null, booleans, numbers, texts and arrays. Objects and references are
refused; nothing is ever made of a name that a cell holds. A cell costs time in proportion to its length.
"""

import re
from typing import Any

DEEPEST = 20
"""Arrays within one another; for more than that nobody lists images."""

_SCALAR = re.compile(rb"N;|b:([01]);|i:([+-]?\d{1,20});|d:([^;]{1,40});")
_TEXT = re.compile(rb's:(\d{1,10}):"')
_ARRAY = re.compile(rb"a:(\d{1,10}):\{")


def read_php_array(text: str) -> dict[int | str, Any]:
    """Return a serialized array as a dict in its order, and so the arrays in it. Raises ValueError for all else.

    The lengths of texts are those of UTF-8, and must be right.
    """
    reader = _Reader(text.encode("utf-8", "surrogateescape"))
    value = reader.value(0)
    if not reader.is_at_end() or not isinstance(value, dict):
        raise ValueError("it is no serialized array")
    return value


class _Reader:
    """Reads one value after another of bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    def is_at_end(self) -> bool:
        return not self._data[self._place :].strip()

    def value(self, depth: int) -> Any:
        if (found := self._taken(_SCALAR)) is not None:
            return _scalar(*found.groups())
        if (found := self._taken(_TEXT)) is not None:
            return self._text(int(found[1]))
        if (found := self._taken(_ARRAY)) is None or depth == DEEPEST:
            raise ValueError(f"nothing that a list of images is made of begins at byte {self._place}")
        return self._array(int(found[1]), depth + 1)

    def _array(self, size: int, depth: int) -> dict[int | str, Any]:
        values: dict[int | str, Any] = {}
        for _ in range(size):  # each takes some bytes, whatever the cell says of their number
            key = self.value(DEEPEST)
            if isinstance(key, bool) or not isinstance(key, int | str):
                raise ValueError(f"the key before byte {self._place} is neither a number nor a text")
            values[key] = self.value(depth)
        if self._data[self._place : self._place + 1] != b"}":
            raise ValueError(f"the array does not end at byte {self._place}")
        self._place += 1
        return values

    def _text(self, size: int) -> str:
        end = self._place + size
        if self._data[end : end + 2] != b'";':
            raise ValueError(f"the text at byte {self._place} is not as long as it says")
        text = self._data[self._place : end]
        self._place = end + 2
        return text.decode("utf-8", "surrogateescape")

    def _taken(self, form: re.Pattern[bytes]) -> re.Match[bytes] | None:
        found = form.match(self._data, self._place)
        if found is not None:
            self._place = found.end()
        return found


def _scalar(boolean: bytes | None, integer: bytes | None, number: bytes | None) -> bool | float | None:
    if boolean is not None:
        return boolean == b"1"
    if integer is not None:
        return int(integer)
    return None if number is None else float(number)
