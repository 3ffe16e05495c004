"""What a value of an image column means: a path, a URL, several of them, or nothing that can be used."""

import datetime
import decimal
import os
import unicodedata
import uuid

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cataloger.sources import change_tokens
from cataloger.sources.image_references import (
    Location,
    ReferenceProblem,
    clean_values,
    join_keys,
    locate,
    split_list,
    text_of,
)

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
    assert locate(value, ROOT) == ReferenceProblem("source.outside_root", "the path leads out of --image-root")


@pytest.mark.parametrize("value", ["/srv/photos/../other/a.jpg", "/etc/passwd"])
def test_a_whole_path_elsewhere_is_looked_for_in_the_root(value):
    assert locate(value, ROOT).path.startswith(ROOT + b"/")


@given(st.text(st.sampled_from("./\\a\x7f é"), max_size=20), st.sampled_from([ROOT, b"/", b"/srv/photos/", b"/a/.."]))
def test_no_path_leaves_the_root(value, root):
    root = os.path.normpath(root)
    found = locate(value, root)
    if isinstance(found, Location):
        assert os.path.normpath(found.path) == found.path
        assert found.path.startswith(root.rstrip(b"/") + b"/")
    else:
        assert found.code == "source.outside_root"


def test_a_folder_beside_the_root_is_not_in_it():
    assert locate("/srv/photos2/a.jpg", ROOT).path == b"/srv/photos/srv/photos2/a.jpg"
    assert locate("../photos2/a.jpg", ROOT).code == "source.outside_root"


def test_a_name_that_is_not_utf8_is_the_bytes_that_it_stands_for():
    found = locate("\udcff.jpg", ROOT)
    assert (found.path, found.uri) == (ROOT + b"/\xff.jpg", "/srv/photos/%FF.jpg")


def test_without_a_root_only_whole_paths_are_known():
    assert locate("/p/a.jpg", None).path == b"/p/a.jpg"
    assert locate("a.jpg", None).code == "source.relative_path"


def test_the_version_of_a_file_is_that_of_the_file(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"12345")
    found = locate("a.jpg", os.fsencode(tmp_path))
    assert found.version == change_tokens.of_file((tmp_path / "a.jpg").stat())
    assert found.version.startswith("5-")
    assert locate("b.jpg", os.fsencode(tmp_path)).version == ""


@pytest.mark.parametrize(
    ("value", "uri"),
    [
        ("https://shop.test/a.jpg", "https://shop.test/a.jpg"),
        ("HTTP://shop.test/a.jpg", "HTTP://shop.test/a.jpg"),
        ("https://ann:pw@shop.test:8443/a.jpg?sig=1#top", "https://shop.test:8443/a.jpg"),
        ("https://shop.test?sig=1", "https://shop.test"),
        ("https://ann:p%40w@shop.test/a@b.jpg", "https://shop.test/a@b.jpg"),
        ("https://[::1]:8443/a.jpg", "https://[::1]:8443/a.jpg"),
    ],
)
def test_an_address_is_shown_without_its_secrets(value, uri):
    assert locate(value, ROOT) == Location(uri=uri, version=f"url:{uri}", url=value)


@pytest.mark.parametrize("space", [" ", "\n", "\t", "\r\n", "\u00a0", "\ufeff", "\u200b"])
def test_blanks_around_an_address_do_not_make_it_a_path_that_shows_its_secrets(space):
    found = locate(f"{space}https://ann:pw@shop.test/a.jpg?sig=1{space}", ROOT)
    assert found.url == "https://ann:pw@shop.test/a.jpg?sig=1"
    assert found.uri == "https://shop.test/a.jpg"


@pytest.mark.parametrize("before", ['"', "a.jpg ", "/in/", "url(", "//"])
def test_an_address_behind_something_else_is_a_problem_and_no_path(before):
    found = locate(f"{before}https://ann:pw@shop.test/a.jpg?sig=1", ROOT)
    assert found == ReferenceProblem("source.bad_value", "the value contains a URL, but does not start with it")


@pytest.mark.parametrize("url", ["https://ann:p/w@shop.test/a.jpg", "https://ann:p?w@shop.test/a.jpg", "http://a b/"])
def test_an_address_that_is_none_is_not_shown(url):
    assert locate(url, ROOT).uri == "(not a URL)"


def test_blanks_belong_to_the_name_of_a_file():
    assert locate(" a b .jpg ", ROOT).path == ROOT + b"/ a b .jpg "


SECRETS = st.text(st.sampled_from("pw/?#@:%\\ &=[]é"), min_size=1).map(lambda text: f"s3cret{text}s3cret")


@example(secret="s3cret@/s3cret", at="https://ann:{}@x.test/a")
@example(secret="s3cret@w/s3cret", at="https://ann:{}@x.test/a")
@given(secret=SECRETS, at=st.sampled_from(["https://ann:{}@x.test/a", "http://x.test/a?{}", " HTTPS://x.test/a#{}"]))
def test_no_secret_in_an_address_is_shown_whatever_its_characters(secret, at):
    found = locate(at.format(secret), None)
    assert "s3cret" not in f"{found.uri} {found.version} {found.path}"


@pytest.mark.parametrize("value", ["data:image/png;base64,iVBORw0KGgo=", "DATA:,x", " ftp://ann:pw@shop.test/a.jpg"])
def test_a_scheme_is_named_and_nothing_else_of_the_value(value):
    found = locate(value, ROOT)
    assert found.code == "source.scheme"
    assert found.message == (
        f"images are read from paths and from http, https, s3, gs, az, not from {value.strip().partition(':')[0]}"
    )


def test_a_name_of_a_file_may_look_like_a_scheme():
    assert locate("img:1.jpg", ROOT).path == ROOT + b"/img:1.jpg"
    assert locate("c://a.jpg", ROOT).path == ROOT + b"/c:/a.jpg"
    assert locate("data/a.jpg", ROOT).path == ROOT + b"/data/a.jpg"


@pytest.mark.parametrize("value", ["ftp://shop.test/a.jpg", "s3a://bucket/a.jpg", "file:///etc/passwd", "data://x"])
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
        (("a.jpg", "b.jpg"), "json", ["a.jpg", "b.jpg"]),
        ("null", "json", []),
        (' ["a.jpg", null, ""] ', "json", ["a.jpg"]),
        ('["a.jpg", "a.jpg"]', "json", ["a.jpg", "a.jpg"]),
        ("a.jpg, ,  ,b.jpg", ",", ["a.jpg", "b.jpg"]),
        ("a, b.jpg", ", ", ["a", "b.jpg"]),
        ("https://x.test/a,b.jpg https://x.test/c.jpg", " ", ["https://x.test/a,b.jpg", "https://x.test/c.jpg"]),
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
    assert text_of(uuid.UUID(int=1)) == "00000000-0000-0000-0000-000000000001"


def test_a_moment_is_the_same_in_every_time_zone():
    """PostgreSQL gives it in that of the session, which differs from one host to the next."""
    moment = datetime.datetime(2024, 1, 2, 3, 4, 5, 6, tzinfo=datetime.UTC)
    abroad = moment.astimezone(datetime.timezone(datetime.timedelta(hours=9)))
    assert text_of(moment) == text_of(abroad) == "2024-01-02T03:04:05.000006+00:00"
    assert text_of(moment.replace(tzinfo=None)) == "2024-01-02T03:04:05.000006"


def test_keys_of_several_columns_cannot_be_taken_for_others():
    assert join_keys(["a", "b, c"]) != join_keys(["a, b", "c"])


KEYS = st.lists(st.text() | st.integers() | st.binary(max_size=3), min_size=2, max_size=3)


@given(one=KEYS, other=KEYS)
def test_different_keys_of_several_columns_have_different_texts(one, other):
    same = [text_of(value) for value in one] == [text_of(value) for value in other]
    assert (join_keys(one) == join_keys(other)) == same


@pytest.fixture
def photos(tmp_path):
    """A folder with files whose names people get wrong; NFD as macOS writes it."""
    for name in ("sub/x.png", "a b.png", "Mütze.png", unicodedata.normalize("NFD", "Größe/Hüte.png"), "odd .png "):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("sub/x.png ", "sub/x.png"),
        (" sub/x.png", "sub/x.png"),
        ("sub/x.png\r\n", "sub/x.png"),
        ("\u00a0sub/x.png\ufeff", "sub/x.png"),
        ("sub/x.png" + " " * 60, "sub/x.png"),
        (r"sub\x.png", "sub/x.png"),
        (r"\sub\x.png", "sub/x.png"),
        (r".\sub\x.png", "sub/x.png"),
        ("sub/x.png?v=3", "sub/x.png"),
        ("/sub/x.png#top", "sub/x.png"),
        ("a%20b.png", "a b.png"),
        ("M%C3%BCtze.png?v=1", "Mütze.png"),
        (unicodedata.normalize("NFD", "Mütze.png"), "Mütze.png"),
        ("Größe/Hüte.png", unicodedata.normalize("NFD", "Größe/Hüte.png")),
        (unicodedata.normalize("NFD", "Grö") + "ße/Hüte.png", unicodedata.normalize("NFD", "Größe/Hüte.png")),
        ("odd .png ", "odd .png "),
    ],
)
def test_a_path_that_is_no_file_is_cleaned(photos, written, found):
    root = os.fsencode(photos)
    place = locate(written, root)
    assert place.path == root + b"/" + found.encode()
    assert place.version == change_tokens.of_file(os.stat(place.path))
    assert locate(f"{photos}/{written}", None).version in (place.version, "")


def test_a_file_comes_as_it_is_written_first(photos):
    (photos / "sub" / "x.png ").write_bytes(b"other")
    assert locate("sub/x.png ", os.fsencode(photos)).path.endswith(b"x.png ")
    assert locate("sub/x.png\n", os.fsencode(photos)).path.endswith(b"x.png")


@pytest.mark.parametrize(
    "written", [r"..\secret.png", "%2e%2e/secret.png", r"sub\..\..\secret.png", "..%2Fsecret.png"]
)
def test_no_cleaned_path_leaves_the_root(photos, written):
    (photos.parent / "secret.png").write_bytes(b"1")
    place = locate(written, os.fsencode(photos))
    assert place.path.startswith(os.fsencode(photos) + b"/")
    assert place.version == ""


def test_what_is_nowhere_stays_as_it_is_written(photos):
    place = locate(r"sub\y.png ", os.fsencode(photos))
    assert (place.path, place.version) == (os.fsencode(photos) + rb"/sub\y.png ", "")


def test_the_key_of_a_row_has_no_padding():
    assert clean_values(["A-1      ", 5, b"\0 "]) == ("A-1", 5, b"\0 ")
