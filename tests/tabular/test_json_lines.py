"""JSON lines: an object a line, or a named problem."""

import pytest

from cataloger.tabular import JsonRow, TableFormatError, find_key, read_json_lines


def test_every_line_is_an_object_or_a_problem(tmp_path):
    path = tmp_path / "x.jsonl"
    lines = [
        b'\xef\xbb\xbf{"a": 1}',
        b"",
        b'{"a": 1, "a": 2}',
        b'{"b": {"a": 1, "a": 2}}',
        b"[1]",
        b"{oops",
        b'{"a": "caf\xe9"}',
        b"[" * 200_000,
        b'{"a": "\0"}',
        b'{"a": 2}',
    ]
    path.write_bytes(b"\n".join(lines))
    found = [(row.line, row.values if isinstance(row, JsonRow) else row.kind) for row in read_json_lines(path)]
    assert found == [
        (1, {"a": 1}),
        (3, "json"),
        (4, "json"),
        (5, "json"),
        (6, "json"),
        (7, "encoding"),
        (8, "json"),
        (9, "encoding"),
        (10, {"a": 2}),
    ]


def test_a_key_is_found_as_written_first_and_then_whatever_its_case():
    assert find_key("image", {"Image": 1, "image": 2}) == "image"
    assert find_key("image", {" IMAGE": 1}) == " IMAGE"
    assert find_key("image", {"file": 1}) is None
    with pytest.raises(TableFormatError, match="two columns that 'image' could mean"):
        find_key("image", {"IMAGE": 1, "Image": 2})
