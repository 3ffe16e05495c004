"""A row of which some cells are changed, and nothing else, as another reader, the csv module, reads it."""

import csv
import io

from hypothesis import given
from hypothesis import strategies as st

from cataloger.tabular import RawRow, cells_as_written, open_csv, row_with_cells, text_of_cell

TEXTS = st.text(alphabet="ab ,;\"\n\rü'=", max_size=6)


def written(cells, quoting, end="\r\n"):
    file = io.StringIO()
    csv.writer(file, quoting=quoting, lineterminator=end).writerow(cells)
    return file.getvalue()


def parsed(text):
    (row,) = csv.reader(io.StringIO(text, newline=""), strict=True)
    return row


@given(
    st.lists(TEXTS, min_size=2, max_size=5),
    st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    st.integers(0, 6),
    TEXTS,
)
def test_only_what_is_changed_differs(cells, quoting, place, new):
    text = written([*cells, "end"], quoting)
    row = RawRow(1, 1, tuple(cells), text)
    before, end = cells_as_written(row, ",")
    assert [text_of_cell(cell) for cell in before] == [*cells, "end"]
    assert ",".join(before) + end == text
    assert row_with_cells(row, ",", {}) == text
    changed = row_with_cells(row, ",", {place: new})
    expected = [*cells, "end", *[""] * (place - len(cells))]
    expected[place] = new
    assert parsed(changed) == expected
    after = cells_as_written(RawRow(1, 1, (), changed), ",")[0]
    assert [cell for at, cell in enumerate(after) if at < len(before) and at != place] == [
        cell for at, cell in enumerate(before) if at != place
    ]


def test_the_reader_keeps_the_lines_of_each_row(tmp_path):
    text = 'a,b\r\n"x\ny",\'=1\n , \n\n1,"q""q",\r2,3'
    (tmp_path / "t.csv").write_bytes(text.encode())
    with open_csv(tmp_path / "t.csv", ("a", "b")) as table:
        rows = list(table.rows(keep_empty=True))
    assert [row.text for row in rows] == ['"x\ny",\'=1\n', " , \n", "\n", '1,"q""q",\r', "2,3"]
    assert table.header.text + "".join(row.text for row in rows) == text
    with open_csv(tmp_path / "t.csv", ("a", "b")) as table:
        assert [row.cells for row in table.rows()] == [("x\ny", "=1"), ("1", 'q"q'), ("2", "3")]
