"""The cells of a row of a CSV file as they stand in it, to change some and leave all others byte for byte."""

import re
from collections.abc import Mapping
from functools import cache

from cataloger.tabular.problems import RawRow


def cells_as_written(row: RawRow, separator: str) -> tuple[list[str], str]:
    """Return the cells of a row with their quotation marks, and the end of its line."""
    body = row.text.rstrip("\r\n")
    end = row.text[len(body) :]
    if '"' not in body:
        return body.split(separator), end
    cells, place, pattern = [], 0, _cell(separator)
    while (found := pattern.match(body, place)) is not None:
        cells.append(found[1])
        if not found[2]:
            break
        place = found.end()
    return cells, end


def text_of_cell(written: str) -> str:
    """Return what a cell says that is written so."""
    return written[1:-1].replace('""', '"') if written.startswith('"') else written


def row_with_cells(row: RawRow, separator: str, new: Mapping[int, str]) -> str:
    """Return the lines of a row in which the cells at some positions say something else."""
    cells, end = cells_as_written(row, separator)
    cells += [""] * (max(new, default=-1) + 1 - len(cells))
    for place, text in new.items():
        needs_marks = (
            cells[place].startswith('"') or text != text.strip() or any(c in text for c in f'{separator}"\r\n')
        )
        cells[place] = '"{}"'.format(text.replace('"', '""')) if needs_marks else text
    return separator.join(cells) + end


@cache
def _cell(separator: str) -> re.Pattern[str]:
    other = re.escape(separator)
    return re.compile(rf'("[^"]*(?:""[^"]*)*"|[^{other}]*)({other}|\Z)')
