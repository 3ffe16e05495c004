"""Manifests as sources."""

import os

import pytest

from cataloger.errors import SourceError
from cataloger.records import Failure, Item
from cataloger.sources.manifest import ManifestSource


@pytest.fixture
def scan(tmp_path):
    def run(text, name="list.csv", **options):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return list(ManifestSource(path, **options).scan())

    return run


def test_relative_paths_start_at_the_manifest(scan, tmp_path):
    (tmp_path / "img").mkdir()
    (tmp_path / "img" / "a.jpg").write_bytes(b"12")
    (item,) = scan("sku,image\n7,img/a.jpg\n", product_column="sku")
    assert (item.key, item.product_key) == ("img/a.jpg", "7")
    assert item.path == os.fsencode(tmp_path / "img" / "a.jpg")
    assert item.version.startswith("2-")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_delimiters_are_recognised(scan, delimiter):
    (item,) = scan(f"sku{delimiter}path\n1{delimiter}a.jpg\n")
    assert item.key == "a.jpg"


def test_a_byte_order_mark_and_quotes_are_read(scan):
    (item,) = scan(b'\xef\xbb\xbfpath\r\n"a, b.jpg"\r\n')
    assert item.key == "a, b.jpg"


def test_jsonl_is_read(scan):
    items = scan('{"file": "a.jpg", "id": 5}\n\n{"file": "b.jpg"}\n', "list.jsonl", product_column="id")
    assert [(item.key, item.product_key) for item in items] == [("a.jpg", "5"), ("b.jpg", None)]


def test_a_missing_file_is_still_an_item(scan):
    (item,) = scan("path\nnowhere.jpg\n")
    assert isinstance(item, Item)
    assert item.version == ""


def test_rows_that_cannot_be_used_become_failures_named_after_their_line(scan):
    first, second, third, fourth = scan('{"path": "a.jpg"}\n{"path": ""}\n{oops\n[1]\n', "list.jsonl")
    assert first.key == "a.jpg"
    for subject, line in ((second, "line 2"), (third, "line 3"), (fourth, "line 4")):
        assert isinstance(subject, Failure)
        assert (subject.item.key, subject.code) == (line, "source.bad_row")


def test_a_web_address_is_a_failure_that_names_the_command_for_it_and_no_password(scan):
    (subject,) = scan("path\nHTTPS://me:secret@shop.example/a.jpg?signature=x\n")
    assert (subject.item.key, subject.code) == ("line 2", "source.bad_row")
    assert "`cataloger sync` downloads" in subject.message
    assert "secret" not in repr(subject)


@pytest.mark.parametrize(
    ("bad", "name"),
    [
        (b"b.jpg,caf\xe9", "list.csv"),
        (b"caf\xe9.jpg,b", "list.csv"),
        (b"b.jpg," + b"x" * 200_000, "list.csv"),
        (b"b.jpg," + b"x" * 200_000, "list.tsv"),
        (b'{"path": "caf\xe9.jpg"}', "list.jsonl"),
    ],
)
def test_a_row_that_cannot_be_read_fails_alone(scan, bad, name):
    if name.endswith("jsonl"):
        lines = b'{"path": "a.jpg"}', bad, b'{"path": "c.jpg"}'
    else:
        lines = b"path,title", b"a.jpg,a", bad, b"c.jpg,c"
    first, failure, last = scan(b"\n".join(lines) + b"\n", name)
    assert (first.key, last.key) == ("a.jpg", "c.jpg")
    assert isinstance(failure, Failure)
    assert (failure.item.key, failure.code) == (f"line {lines.index(bad) + 1}", "source.bad_row")


def test_a_quote_that_is_never_closed_does_not_swallow_the_rows_far_behind_it(scan):
    lines = ["path", *(f"{number}.jpg" for number in range(30_000))]
    lines[10] = '"oops.jpg'
    subjects = scan("\n".join(lines))
    (failure,) = [subject for subject in subjects if isinstance(subject, Failure)]
    assert failure.code == "source.bad_row"
    assert subjects[0].key == "0.jpg"
    assert subjects[-1].key == "29999.jpg"


def test_short_and_long_rows_are_read_by_their_column_and_blank_ones_left_out(scan):
    subjects = scan("sku,path\n1\n\n2,a.jpg,more\n")
    assert [subject.item.key if isinstance(subject, Failure) else subject.key for subject in subjects] == [
        "line 2",
        "a.jpg",
    ]


def test_a_named_column_is_used(scan):
    (item,) = scan("path,photo\nwrong.jpg,right.jpg\n", path_column="photo")
    assert item.key == "right.jpg"


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("sku,url\n1,a\n", {}, "no column 'path' or .*; it has sku, url"),
        ("path\na\n", {"path_column": "photo"}, "no column 'photo'"),
        ("path\na\n", {"product_column": "sku"}, "no column 'sku'"),
        (b"path,gr\xf6\xdfe\na.jpg,M\n", {}, "is not UTF-8"),
        ("path,size\n".encode("utf-16"), {}, "is not UTF-8"),
        ("path," + "x" * 200_000 + "\n", {}, "larger than field limit"),
        ("", {}, "it has none"),
    ],
)
def test_a_manifest_that_cannot_be_used_is_an_error(scan, text, options, message):
    with pytest.raises(SourceError, match=message):
        scan(text, **options)
