"""CSV files as they are written: no cell is a formula, and the reader gives back what was there."""

import random
import re
from pathlib import Path

import pytest

from cataloger.tabular import escape_formula, open_csv, unescape_formula, write_csv

ROOT = Path(__file__).parents[2]
FORMULAS = ["=1+1", "\n=1", "＝1", "+49", "-2", "-2.5", "@SUM(A1)", "\tx", "\rx", "'=x", "''=x", "'-2", "--", "＠x"]
HARMLESS = ["it's", "'x", "", "Été =1", "2", "x-2", "'", "''", ' "quoted"', "a;=1", "a,b", "a\rb", "a\r\nb", "a\nb"]


@pytest.mark.parametrize("cell", FORMULAS)
def test_no_cell_is_a_formula_and_each_comes_back(cell):
    assert escape_formula(cell) == f"'{cell}"
    assert unescape_formula(escape_formula(cell)) == cell


@pytest.mark.parametrize("cell", HARMLESS)
def test_other_cells_are_left_alone_both_ways(cell):
    assert escape_formula(cell) == unescape_formula(cell) == cell


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_what_is_written_is_read_cell_by_cell(tmp_path, line_end):
    draw = random.Random(7)
    rows = [tuple(draw.choice(FORMULAS + HARMLESS) for _ in range(4)) for _ in range(400)]
    rows = [row for row in rows if any(cell.strip() for cell in row)]
    with (tmp_path / "x.csv").open("w", encoding="utf-8", newline="") as file:
        assert write_csv(file, ("a", "b", "c", "d"), rows, line_end=line_end) == len(rows)
    with open_csv(tmp_path / "x.csv") as table:
        assert table.names == ("a", "b", "c", "d")
        assert [row.cells for row in table.rows()] == rows
    assert (tmp_path / "x.csv").read_bytes().startswith(f"a,b,c,d{line_end}".encode())


def test_numbers_are_numbers_and_nothing_is_empty(tmp_path):
    with (tmp_path / "x.csv").open("w", newline="") as file:
        write_csv(file, ("a", "b", "c"), [(-2, -0.5, None)])
    assert (tmp_path / "x.csv").read_bytes() == b"a,b,c\n-2,-0.5,\n"


def test_every_csv_file_is_written_here():
    paths = [path for folder in ("cataloger", "training") for path in (ROOT / folder).rglob("*.py")]
    own = re.compile(r"csv\.(?:writer|DictWriter)\(|\.to_csv\(")
    found = [path.relative_to(ROOT) for path in paths if own.search(path.read_text(encoding="utf-8"))]
    assert found == [Path("cataloger/tabular/csv_writer.py")]
