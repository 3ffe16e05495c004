"""Values in columns of the shop that we write: how they are read, kept, compared and restored, on each engine.

A value that was read is kept as JSON in `cataloger_write` and must come back as it was, so that undoing a run leaves
the shop's table byte for byte as it had been.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any, Final, Literal

from sqlalchemy import ColumnElement, Float, Integer, Numeric, String, Text, cast, literal
from sqlalchemy import types as sqltypes
from sqlalchemy.dialects import mysql
from sqlalchemy.types import NullType

from cataloger.utils import clean_label

Kind = Literal["text", "integer", "decimal", "float", "json", "any", "other"]

DECIMALS = 4


class _Absent:
    """The value of a cell whose row is not there."""

    def __repr__(self) -> str:
        return "no row"


ABSENT: Final = _Absent()
ANY_ROW: Final = {"row": dict[str, Any]()}
"""A row of which only matters that it is there."""


class UnwritableError(ValueError):
    """A value that a column cannot store, or that could not be restored."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A column of the shop. kind: of its values; "any" in SQLite, where a column without a type takes everything."""

    name: str
    type: Any
    dialect: str

    @property
    def kind(self) -> Kind:
        """The kind of its values."""
        kinds: tuple[tuple[Any, Kind], ...] = (
            (sqltypes.JSON, "json"),
            (sqltypes.Boolean, "other"),
            (Integer, "integer"),
            (Float, "float"),
            (Numeric, "decimal"),
            (mysql.SET, "other"),
            (String, "text"),
        )
        for cls, kind in kinds:
            if isinstance(self.type, cls):
                return "text" if kind == "json" and self.dialect == "sqlite" else kind
        if isinstance(self.type, NullType):  # of an extension, such as citext, where it is not SQLite
            return "any" if self.dialect == "sqlite" else "text"
        return "other"

    def read(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        """Return what to select, so that nothing of the value is lost."""
        if self.dialect == "postgresql" and self.kind == "json":
            return cast(column, Text)
        if self.dialect in ("mysql", "mariadb") and isinstance(self.type, mysql.FLOAT):
            return column + literal(0.0)  # alone, it is rounded to six digits for display
        return column

    def bind(self, value: ColumnElement[Any]) -> ColumnElement[Any]:
        """Return what to set the column to, given a parameter."""
        return cast(value, self.type) if self.dialect == "postgresql" and self.kind == "json" else value

    def still(self, column: ColumnElement[Any], value: ColumnElement[Any]) -> ColumnElement[bool]:
        """Return the condition that a column of MySQL has the very value that was read."""
        if self.kind in ("text", "json"):
            column = cast(column, mysql.CHAR(charset="utf8mb4")).collate("utf8mb4_bin")
        return self.read(column).op("<=>", is_comparison=True)(value)

    def wanted(self, value: Any) -> Any:
        """Return an answer as the column will store it. Raises UnwritableError if it cannot."""
        if value is None or value is ABSENT:
            return value
        if self.kind == "integer":
            try:
                return int(str(value))
            except ValueError as error:
                raise UnwritableError(f"{value!r} is not a whole number") from error
        if isinstance(value, float):
            return self._number(round(value, DECIMALS))
        return value

    def _number(self, value: float) -> Any:
        if self.kind == "decimal" and self.dialect != "sqlite":  # which has no decimals
            scale = getattr(self.type, "scale", None)
            exact = Decimal(str(value))
            return exact if scale is None else exact.quantize(Decimal(1).scaleb(-scale), ROUND_HALF_UP)
        if self.kind == "float" and self.dialect != "sqlite" and isinstance(self.type, sqltypes.REAL | mysql.FLOAT):
            (single,) = struct.unpack("f", struct.pack("f", value))
            return float(f"{single:.7g}") if self.dialect == "postgresql" else single
        return value

    def means(self, value: Any, text: str) -> bool:
        """True when a value that was read is the one that a person wrote as text.

        2.50 is 2.5; blanks that a cell has around its text, and whether its letters are NFC or NFD, cannot be seen.
        So a cell of blanks alone is an empty one.
        """
        if value is None or value is ABSENT:
            return False
        if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
            return clean_label(str(value)) == clean_label(text)
        try:
            return Decimal(str(value)) == Decimal(text)
        except InvalidOperation:
            return False

    def is_same(self, one: Any, other: Any) -> bool:
        """True when two values mean the same to the shop; both as they are read."""
        if self.kind == "json" and isinstance(one, str) and isinstance(other, str):
            return bool(_parsed(one) == _parsed(other))
        if isinstance(self.type, sqltypes.CHAR) and isinstance(one, str) and isinstance(other, str):
            return one.rstrip(" ") == other.rstrip(" ")  # filled up with blanks to its length
        return bool(one == other)

    def is_restored(self, written: Any, target: Any) -> bool:
        """True when what was written needs no change to become what is to be restored."""
        return self.is_same(written, target)


class RowCell(Cell):
    """Stands for a row that may be there or not. Its value is ABSENT, or what is in columns that we do not set."""

    __slots__ = ()

    def is_same(self, one: Any, other: Any) -> bool:
        """True when both are not there, or both have the same in the columns that both name."""
        if one is ABSENT or other is ABSENT:
            return one is other
        if one.keys() != {"row"} or other.keys() != {"row"}:  # a person has added the same row once more
            return ANY_ROW in (one, other)
        return all(other["row"].get(name, value) == value for name, value in one["row"].items())

    def is_restored(self, written: Any, target: Any) -> bool:
        """True when both are there or both are not."""
        return (written is ABSENT) == (target is ABSENT)


def shown_row(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return columns of a row by name, so that a change of any is recognized; values of any type."""
    return {"row": {name: _shown(value) for name, value in values.items()}}


def _shown(value: Any) -> Any:
    try:
        return keep(value)
    except UnwritableError:
        return {"text": str(value)}


def keep(value: Any) -> Any:
    """Return a value that was read as JSON for `cataloger_write`. Raises UnwritableError."""
    if value is ABSENT:
        return {"row": None}
    if isinstance(value, dict):
        return value
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise UnwritableError("the current value is in no encoding that could be restored") from error
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Decimal):
        return {"decimal": str(value)}
    if isinstance(value, bytes | bytearray | memoryview):
        return {"bytes": bytes(value).hex()}
    raise UnwritableError(f"a value of the type {type(value).__name__} could not be restored")


def restore(kept: Any) -> Any:
    """Return the value that was kept, as it was read."""
    if isinstance(kept, dict):
        ((kind, text),) = kept.items()
        if kind in ("row", "rows"):
            return ABSENT if text is None else kept
        return Decimal(text) if kind == "decimal" else bytes.fromhex(text)
    return kept


def _parsed(text: str) -> Any:
    try:
        return json.loads(text, parse_float=Decimal)
    except (ValueError, InvalidOperation, RecursionError):
        return text
