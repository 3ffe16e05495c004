"""What a file of rows gives: rows, and what is wrong with those that cannot be read."""

import re
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["quotes", "encoding", "cells", "size", "json"]

SAVE_AS_UTF8 = "save the file as `CSV UTF-8`"
UTF16_MARKS = ("\udcff\udcfe", "\udcfe\udcff")
"""What the byte order marks of UTF-16 become when they are read as UTF-8 with surrogateescape."""

_NOT_UTF8 = re.compile("[\udc80-\udcff]")


class TableFormatError(ValueError):
    """A file cannot be read as a table at all. The message is a sentence without its subject, which is the file."""


@dataclass(frozen=True, slots=True)
class RawRow:
    """A row of a CSV file. line, last: its first and last line, from 1. cells: at most one a column.

    They are as written, without the apostrophe that `write_csv` puts before what looks like a formula. text: all of
    its lines as they stand in the file.
    """

    line: int
    last: int
    cells: tuple[str, ...]
    text: str = field(default="", compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class RowProblem:
    """A row that cannot be read. text: why, as a sentence without its subject. line, last: as those of a row."""

    line: int
    last: int
    kind: Kind
    text: str

    @property
    def place(self) -> str:
        """Its lines, for people."""
        return f"line {self.line}" if self.line == self.last else f"lines {self.line} to {self.last}"


def encoding_problem(text: str) -> str | None:
    """Return what is wrong with the characters of a line that was read with surrogateescape; None if nothing is."""
    if text.isascii():
        return "contains a zero byte" if "\0" in text else None
    if text.startswith(UTF16_MARKS):
        return f"is not UTF-8 but UTF-16; {SAVE_AS_UTF8}"
    if _NOT_UTF8.search(text):
        return f"is not UTF-8, perhaps Windows-1252; {SAVE_AS_UTF8}"
    return "contains a zero byte" if "\0" in text else None
