"""The one reader of CSV files: every line ends as a row or as a named problem, whatever stands in the others."""

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cataloger.tabular import RawRow, RowProblem, TableFormatError, open_csv
from cataloger.tabular.csv_rows import MAX_ROW, Rows


@pytest.fixture
def read(tmp_path):
    def run(text, known=("title", "image")):
        path = tmp_path / "list.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        with open_csv(path, known) as table:
            return table.names, list(table.rows())

    return run


def short(rows):
    """Return the lines and cells of rows, the lines and kinds of problems."""
    return [(row.line, row.cells) if isinstance(row, RawRow) else (row.line, row.kind) for row in rows]


FIRST, LAST = "A,p/a.png", "Z,p/z.png"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        # A mark that is never closed, that another one ends in nonsense, or by chance.
        (['"B,p/b.png', "C,p/c.png"], [(3, "quotes"), (4, ("C", "p/c.png"))]),
        (['"B,p/b.png', "C,p/c.png", '"D" d,p/d.png'], [(3, "quotes"), (4, ("C", "p/c.png")), (5, "quotes")]),
        (['"B,p/b.png', "C,p/c.png", 'D",p/d.png'], [(3, "quotes"), (4, ("C", "p/c.png")), (5, "quotes")]),
        (['"B,p/b.png', 'D",p/d.png'], [(3, "quotes"), (4, "quotes")]),
        (['"B,p/b.png', 'D 6" heel,p/d.png'], [(3, "quotes"), (4, ('D 6" heel', "p/d.png"))]),
        (['B,"p/b.png', "", 'D,p/d.png"'], [(3, "quotes"), (5, "quotes")]),
        (['"B" b,p/b.png'], [(3, "quotes")]),
        (['B 6",p/b.png'], [(3, ('B 6"', "p/b.png"))]),
        # What is in order.
        (['"B, ""b""",p/b.png'], [(3, ('B, "b"', "p/b.png"))]),
        (['"B', 'b",p/b.png'], [(3, ("B\nb", "p/b.png"))]),
        (['"B, b, b', 'b, b, b",p/b.png'], [(3, ("B, b, b\nb, b, b", "p/b.png"))]),
        (["", " , ", "B,p/b.png,"], [(5, ("B", "p/b.png"))]),
        (["B"], [(3, ("B",))]),
        # Cells that are too many, too long, or in another encoding.
        (["B, b,p/b.png"], [(3, "cells")]),
        ([f"B,{'x' * 131_073}"], [(3, "size")]),
        ([f'"B,{"x" * 131_073}', "C,p/c.png"], [(3, "quotes"), (4, ("C", "p/c.png"))]),
        (["B\0,p/b.png"], [(3, "encoding")]),
    ],
)
def test_what_is_wrong_with_a_row_costs_no_other(read, lines, expected):
    names, rows = read("\n".join(["title,image", FIRST, *lines, *[LAST] * 20]))
    assert names == ("title", "image")
    assert short(rows)[0] == (2, ("A", "p/a.png"))
    assert short(rows)[1:-20] == expected
    assert [row.cells for row in rows[-20:]] == [("Z", "p/z.png")] * 20


def test_a_row_in_another_encoding_costs_no_other(read):
    assert short(read(b"title,image\nM\xfctze,a\nB,b\n")[1]) == [(2, "encoding"), (3, ("B", "b"))]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff", "\ufeff\ufeff"])
def test_ends_of_lines_and_byte_order_marks_make_no_difference(read, end, mark):
    names, rows = read(mark + end.join(["title,image", "A,a", '"B",b', ""]))
    assert (names, short(rows)) == (("title", "image"), [(2, ("A", "a")), (3, ("B", "b"))])


@pytest.mark.parametrize(
    ("text", "names", "cells"),
    [
        ("sep=;\r\nimage;title\r\na;b, c\r\n", ("image", "title"), ("a", "b, c")),
        ('"SEP=\t"\r\nimage\ttitle\r\na\tb\r\n', ("image", "title"), ("a", "b")),
        ("sep=|\nimage|title\na;b|c,d\n", ("image", "title"), ("a;b", "c,d")),
        ('"a, b, c";image\nx;y\n', ("a, b, c", "image"), ("x", "y")),
        ("a, b, c;image\nx;y\n", ("a, b, c", "image"), ("x", "y")),
        ("a, b, c;d\nx;y\nx;y, z\n", ("a, b, c", "d"), ("x", "y")),
        ("image\nx, y, z\nx, y, z\n", ("image",), ("x, y, z",)),
        ("a;b\n", ("a", "b"), None),
        ('"image\nor file";title\nx;y\n', ("image\nor file", "title"), ("x", "y")),
        ("", (), None),
    ],
)
def test_the_separator_is_stated_or_the_one_that_header_and_rows_agree_on(read, text, names, cells):
    found, rows = read(text)
    assert found == names
    assert (rows[0].cells if rows else None) == cells


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,title,image\na,b,c\n", "has the column 'image' twice"),
        (b"image,gr\xf6\xdfe\na,b\n", "is not UTF-8, perhaps Windows-1252"),
        ("image,title\n".encode("utf-16"), "is not UTF-8 but UTF-16"),
        ('"image,title\na,b\n', "a first line that cannot be used: it begins a cell"),
        (b"image\0,title\na,b\n", "contains a zero byte"),
    ],
)
def test_a_header_that_cannot_be_used_is_an_error(read, text, message):
    with pytest.raises(TableFormatError, match=message):
        read(text)


def test_a_line_longer_than_any_row_is_a_problem_and_is_not_kept(read):
    _, rows = read(b"title,image\n" + b"x" * 9_000_000 + b"\nB,b\n")
    assert short(rows) == [(2, "size"), (3, ("B", "b"))]


def test_a_file_made_to_be_read_again_for_ever_is_not():
    """Each line seems to end in the next one; what is read again is bounded by the file."""
    lines = [(number, f'a",b,"{"c" * 200}\n', True) for number in range(2, 40_000)]
    met = []
    rows = Rows((met.append(line[0]) or line for line in lines), ",", 3)
    problems = list(rows)
    assert len(met) == len(lines)
    assert all(isinstance(row, RowProblem) for row in problems)
    assert max(row.last - row.line for row in problems) * 200 <= MAX_ROW + 200


CELL = st.text(st.sampled_from('ab ,;\n\r"\t\u2028ü'), max_size=6)


@settings(max_examples=200, deadline=None, database=None)
@given(st.lists(st.tuples(CELL, CELL, CELL, CELL, CELL), max_size=5), st.sampled_from(",;\t"))
def test_what_a_writer_quotes_is_read_or_named(rows, separator):
    """A row of a correct file is read as it was written, or named where its lines look like rows of their own."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerows(rows)
    lines = [(number, line, True) for number, line in enumerate(io.StringIO(text.getvalue(), newline=""), 2)]
    found = list(Rows(lines, separator, 5))
    wanted = [row for row in rows if any(cell.strip() for cell in row)]
    if not any(isinstance(row, RowProblem) for row in found):
        assert [row.cells for row in found] == wanted
    else:
        assert any("\n" in cell or "\r" in cell for row in rows for cell in row)
