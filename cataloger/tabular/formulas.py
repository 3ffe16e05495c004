"""Cells that a spreadsheet would take for a formula: how they are written, and how they are read again."""

import re

_FORMULA = re.compile(r"'*[=+\-@＝＋－＠\t\r\n]")


def escape_formula(cell: str) -> str:
    """Return a cell that no spreadsheet reads as a formula: with an apostrophe before it if needed.

    So are those that begin with = + - @ (of full width, too), a tab or a line break, -2 included: a program cannot
    know which of them is a number. What has apostrophes before such a character gets another one.
    """
    return f"'{cell}" if _FORMULA.match(cell) else cell


def unescape_formula(cell: str) -> str:
    """Undo `escape_formula`."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
