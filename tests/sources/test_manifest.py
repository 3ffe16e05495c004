"""Manifests as sources."""

import json
import os

import pytest

from cataloger.errors import SourceError
from cataloger.records import Failure, Item
from cataloger.sources.manifest import ManifestSource, named_in_manifest


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


def test_a_picture_of_several_products_is_an_item_of_each(scan):
    text = "sku,image\n1,a.jpg\n2,b.jpg\n2,a.jpg\n,a.jpg\n1,a.jpg\n,b.jpg\n3,c.jpg\n"
    items = scan(text, product_column="sku")
    assert [(item.key, item.product_key) for item in items] == [
        ('["1", "a.jpg"]', "1"),
        ('["2", "b.jpg"]', "2"),
        ('["2", "a.jpg"]', "2"),
        ("a.jpg", None),
        ('["1", "a.jpg"]', "1"),
        ("b.jpg", None),
        ("c.jpg", "3"),
    ]
    # What was recorded while nobody else named the picture, or somebody did, goes on.
    assert [item.former_key for item in items] == ["a.jpg", "b.jpg", "a.jpg", None, "a.jpg", None, '["3", "c.jpg"]']
    assert [named_in_manifest(item.key, item.product_key) for item in items][:2] == ["a.jpg", "b.jpg"]
    assert [item.key for item in scan(text)] == ["a.jpg", "b.jpg", "a.jpg", "a.jpg", "a.jpg", "b.jpg", "c.jpg"]


@pytest.mark.parametrize("product", ["[1]", '{"a": 1}', "[" * 900 + "]" * 900])
def test_a_product_is_a_text_or_a_number(scan, product):
    first, second = scan(
        f'{{"path": "a.jpg", "id": {product}}}\n{{"path": "b.jpg", "id": 5}}\n', "l.jsonl", product_column="id"
    )
    assert (first.code, second.product_key) == ("source.bad_row", "5")


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


@pytest.mark.parametrize("name", ["list.csv", "list.jsonl"])
def test_web_addresses_are_items_without_their_secrets(scan, name):
    addresses = [
        "HTTPS://me:secret@shop.example/a.jpg?X-Amz-Signature=secret",
        " https://shop.example/b.jpg?v=3\n",
        "http://shop.example/image.php?id=7",
        "http://shop.example/image.php?id=8",
        "c.jpg",
    ]
    if name.endswith("csv"):
        text = "path\n" + "".join(f'"{address}"\n' for address in addresses)
    else:
        text = "".join(json.dumps({"Path": address}).replace("/", "\\/") + "\n" for address in addresses)
    first, second, third, fourth, file = scan(text, name)
    assert (first.key, first.uri, first.url) == (
        "HTTPS://shop.example/a.jpg",
        "HTTPS://shop.example/a.jpg",
        addresses[0],
    )
    assert second.key == "https://shop.example/b.jpg"
    assert third.uri == fourth.uri == "http://shop.example/image.php"
    assert len({third.key, fourth.key, third.uri}) == 3
    assert (file.url, file.key) == (None, "c.jpg")
    assert "secret" not in repr([first, second])


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("s3://bucket/a.jpg", "source.outside_root"),
        ("s3://me:secret@bucket/a.jpg", "source.bad_value"),
        ("data:image/png;base64,AAAA", "source.scheme"),
        ("see http://shop.example/a.jpg?secret", "source.bad_value"),
        ("https://me:pa/ss@shop.example/a.jpg", "source.bad_value"),
    ],
)
def test_an_address_that_cannot_be_used_is_a_failure_named_after_its_line(scan, value, code):
    (subject,) = scan(f'path\n"{value}"\n')
    assert (subject.item.key, subject.code) == ("line 2", code)
    assert "secret" not in repr(subject)


@pytest.mark.parametrize(
    ("value", "uri"),
    [
        ("shop.com/a.jpg", "https://shop.com/a.jpg"),
        ("cdn.shop.example:8080/a.jpg", "http://cdn.shop.example:8080/a.jpg"),
        ("//cdn.shop.museum/a.jpg", "https://cdn.shop.museum/a.jpg"),
        ("127.0.0.1:81/a.jpg", "http://127.0.0.1:81/a.jpg"),
        ("localhost:81/a.jpg", "http://localhost:81/a.jpg"),
        ("[::1]:81/a.jpg", "http://[::1]:81/a.jpg"),
    ],
)
@pytest.mark.parametrize("name", ["list.csv", "list.jsonl"])
def test_an_address_without_its_scheme_is_one_unless_there_is_a_file_or_folder_of_its_name(
    scan, tmp_path, value, uri, name
):
    text = f"path\n{value}\n" if name == "list.csv" else json.dumps({"path": value}).replace("/", "\\/")
    (subject,) = scan(text, name)
    assert (subject.uri, subject.path) == (uri, None)
    assert ManifestSource(tmp_path / name).has_addresses()
    if not value.startswith("//"):
        (tmp_path / value.partition("/")[0]).mkdir()
        (subject,) = scan(text, name)
        assert (subject.url, subject.key) == (None, value)


@pytest.mark.parametrize("value", ["photos.old/a.jpg", "a.jpg", "2024.11/shop.com/a.jpg", "../pictures/a.jpg"])
def test_a_path_that_is_not_there_is_no_address(scan, value):
    (subject,) = scan(f"path\n{value}\n")
    assert (subject.url, subject.key) == (None, value)


def test_whether_there_are_web_addresses_is_found_without_reading_rows(tmp_path):
    path = tmp_path / "list.jsonl"
    for text, expected in (
        ('{"path": "a.jpg"}', False),
        ('{"path": "../photos/a.jpg", "price": 1.5}', False),
        (" " * (1 << 20) + r'{"path": "HTTP:\/\/x/a.jpg"}', True),
    ):
        path.write_text(text)
        assert ManifestSource(path).has_addresses() is expected


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


@pytest.mark.parametrize(
    ("closing", "bad"),
    [("", ["line 11"]), ('x".jpg', ["line 11"]), ('"x".jpg', ["line 11", "line 15001"])],
)
def test_a_stray_quotation_mark_costs_no_row_but_those_it_stands_in(scan, closing, bad):
    lines = ["path,title", *(f"{number}.jpg,{number}" for number in range(30_000))]
    lines[10] = '"oops.jpg,9'
    lines[15_000] = f"{closing},x" if closing else lines[15_000]
    subjects = scan("\n".join(lines))
    assert [subject.item.key for subject in subjects if isinstance(subject, Failure)] == bad
    assert len(subjects) == 30_000
    assert (subjects[0].key, subjects[-1].key) == ("0.jpg", "29999.jpg")


def test_rows_that_cannot_be_read_may_name_any_image_and_those_without_one_do_not(tmp_path):
    path = tmp_path / "list.csv"
    source = ManifestSource(path)
    for text, may in (("path,t\na.jpg,1\n,2\n", True), ('path,t\na.jpg,1\n"b.jpg,2\n', False)):
        path.write_text(text)
        list(source.scan())
        assert source.can_be_missing("b.jpg") is may
        assert source.can_be_missing("line 9")
        assert bool(source.problems) is not may
    assert "1 row of the manifest" in source.problems[0]
    assert "line 3" in source.problems[0]


def test_short_rows_are_read_and_long_ones_named_and_blank_ones_left_out(scan):
    subjects = scan("sku,path\n1\n\n,\n2,a.jpg,\n3,b,c.jpg\n")
    assert [subject.item.key if isinstance(subject, Failure) else subject.key for subject in subjects] == [
        "line 2",
        "a.jpg",
        "line 6",
    ]


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("sep=;\r\nImage;label\r\na.jpg;Jewellery, gold\r\n", {}),
        ("Title,Image\nx,a.jpg\n", {}),
        ('"a, b, c";image\nx;a.jpg\n', {}),
        ("a, b, c;image\nx;a.jpg\n", {}),
        ("image src\tSKU\na.jpg\t1, 2, 3\n", {"path_column": "Image Src", "product_column": "sku"}),
        ("Image,image\nwrong.jpg,a.jpg\n", {}),
        ('\n"Image"\n"a.jpg"\n', {}),
    ],
)
def test_what_windows_tools_write_is_read(scan, text, options):
    (item,) = scan(text, **options)
    assert item.key == "a.jpg"


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
        ("path," + "x" * 200_000 + "\n", {}, "a first line that cannot be used: it has a cell of more than 131,072"),
        ("path,title,path\na,b,c\n", {}, "has the column 'path' twice"),
        ("PATH,Path\na,b\n", {}, "has two columns that 'path' could mean, 'PATH' and 'Path'"),
        ("", {}, "it has none"),
    ],
)
def test_a_manifest_that_cannot_be_used_is_an_error(scan, text, options, message):
    with pytest.raises(SourceError, match=message):
        scan(text, **options)
