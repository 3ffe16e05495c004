"""On which line of a TOML document a key stands."""

import pytest

from cataloger.utils import line_of

TEXT = '''# [jobs.shoes]
db = "x"

[sync]
write = [
  "a=b",
  # comment
  "c=d",
]
where = """
[jobs.none]
table = 1
"""
[jobs.shoes]
command = "sync"
"table" = 5   # here
a.b.c = 4
[jobs.x]
y = {q = 1}
[[jobs.list]]
table = 1
'''


@pytest.mark.parametrize("line_break", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ("db", 2),
        ("sync", 4),
        ("sync write", 5),
        ("sync where", 10),
        ("jobs", 14),
        ("jobs none", None),
        ("jobs shoes", 14),
        ("jobs shoes table", 16),
        ("jobs shoes a b c", 17),
        ("jobs x y q", 19),
        ("jobs list table", 20),
        ("db x", 2),
        ("nothing", None),
    ],
)
def test_a_key_is_found_where_it_stands(keys, line, line_break):
    assert line_of(TEXT.replace("\n", line_break), keys.split()) == line


def test_every_key_of_a_long_document_is_found():
    text = "\n".join(f"[t{number}]\na = '''\n\n'''\nb = [\n1,\n]" for number in range(150))
    assert [line_of(text, (f"t{number}", "b")) for number in (0, 77, 149)] == [5, 7 * 77 + 5, 7 * 149 + 5]
