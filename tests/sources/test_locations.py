"""What a value of an image column means: a path, a URL, several of them, or nothing that can be used."""

import datetime
import decimal
import os

import pytest

from cataloger import versions
from cataloger.sources.locations import Location, Problem, join_keys, locate, split_list, text_of

ROOT = b"/srv/photos"


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("a.jpg", b"/srv/photos/a.jpg"),
        ("in/a.jpg", b"/srv/photos/in/a.jpg"),
        ("/in/a.jpg", b"/srv/photos/in/a.jpg"),
        ("/srv/photos/a.jpg", b"/srv/photos/a.jpg"),
        ("in/../a.jpg", b"/srv/photos/a.jpg"),
        (r"C:\photos\a.jpg", rb"/srv/photos/C:\photos\a.jpg"),
        ("Größe 40.jpg", "/srv/photos/Größe 40.jpg".encode()),
    ],
)
def test_a_path_starts_at_the_root(value, path):
    assert locate(value, ROOT).path == path


@pytest.mark.parametrize("value", ["../a.jpg", "in/../../a.jpg", "/../etc/passwd", ".."])
def test_a_path_cannot_leave_the_root(value):
    assert locate(value, ROOT) == Problem("source.outside_root", "the path leads out of --image-root")


@pytest.mark.parametrize("value", ["/srv/photos/../other/a.jpg", "/etc/passwd"])
def test_a_whole_path_elsewhere_is_looked_for_in_the_root(value):
    assert locate(value, ROOT).path.startswith(ROOT + b"/")


def test_without_a_root_only_whole_paths_are_known():
    assert locate("/p/a.jpg", None).path == b"/p/a.jpg"
    assert locate("a.jpg", None).code == "source.relative_path"


def test_the_version_of_a_file_is_that_of_the_file(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"12345")
    found = locate("a.jpg", os.fsencode(tmp_path))
    assert found.version == versions.of_file((tmp_path / "a.jpg").stat())
    assert found.version.startswith("5-")
    assert locate("b.jpg", os.fsencode(tmp_path)).version == ""


@pytest.mark.parametrize(
    ("value", "uri"),
    [
        ("https://shop.test/a.jpg", "https://shop.test/a.jpg"),
        ("HTTP://shop.test/a.jpg", "HTTP://shop.test/a.jpg"),
        ("https://ann:pw@shop.test:8443/a.jpg?sig=1#top", "https://shop.test:8443/a.jpg"),
    ],
)
def test_an_address_is_shown_without_its_secrets(value, uri):
    assert locate(value, ROOT) == Location(uri=uri, version=f"url:{uri}", url=value)


@pytest.mark.parametrize("value", ["ftp://shop.test/a.jpg", "s3://bucket/a.jpg", "file:///etc/passwd", "data://x"])
def test_other_schemes_are_refused(value):
    assert locate(value, ROOT).code == "source.scheme"


@pytest.mark.parametrize("value", [5, 1.5, True, b"a.jpg", "a\0b.jpg", "\ud800.jpg", ["a.jpg"]])
def test_what_is_no_text_that_names_an_image_is_a_problem(value):
    assert locate(value, ROOT).code == "source.bad_value"


@pytest.mark.parametrize(
    ("value", "separator", "images"),
    [
        ('["a.jpg", "b.jpg"]', "json", ["a.jpg", "b.jpg"]),
        (["a.jpg", None, ""], "json", ["a.jpg"]),
        ("[]", "json", []),
        ("a.jpg, b.jpg", ",", ["a.jpg", "b.jpg"]),
        ("a.jpg||b.jpg|", "|", ["a.jpg", "b.jpg"]),
        ("a.jpg", "|", ["a.jpg"]),
        (["a.jpg"], "|", ["a.jpg"]),
        ("a.jpg\nb.jpg", "\n", ["a.jpg", "b.jpg"]),
    ],
)
def test_a_cell_holds_several_images(value, separator, images):
    assert split_list(value, separator) == images


@pytest.mark.parametrize("value", ["a.jpg", '{"a": 1}', '"a.jpg"', "5", "[", "[" * 100_000, 5, b"[]"])
def test_what_is_no_list_is_a_problem(value):
    assert split_list(value, "json").code == "source.bad_list"


def test_keys_are_the_same_for_every_driver():
    assert join_keys([5]) == "5"
    assert join_keys(["a b"]) == "a b"
    assert join_keys(["a", 5]) == '["a", "5"]'
    assert text_of(b"\0\xff") == text_of(memoryview(b"\0\xff")) == text_of(bytearray(b"\0\xff")) == "00ff"
    assert text_of(datetime.date(2024, 1, 2)) == "2024-01-02"
    assert text_of(decimal.Decimal("1.10")) == "1.10"


def test_keys_of_several_columns_cannot_be_taken_for_others():
    assert join_keys(["a", "b, c"]) != join_keys(["a, b", "c"])
