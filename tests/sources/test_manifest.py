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


def test_a_named_column_is_used(scan):
    (item,) = scan("path,photo\nwrong.jpg,right.jpg\n", path_column="photo")
    assert item.key == "right.jpg"


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("sku,url\n1,a\n", {}, "no column 'path' or .*; it has sku, url"),
        ("path\na\n", {"path_column": "photo"}, "no column 'photo'"),
        ("path\na\n", {"product_column": "sku"}, "no column 'sku'"),
        (b"path\n\xff\xfe\n", {}, "cannot be read"),
    ],
)
def test_a_manifest_that_cannot_be_used_is_an_error(scan, text, options, message):
    with pytest.raises(SourceError, match=message):
        scan(text, **options)
