"""Addresses as people write them, and what of their queries tells images apart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cataloger.sources.image_references import Location, locate
from cataloger.sources.web_addresses import as_address, query_identity

AWS = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=a%2Fb&X-Amz-Date=2024&X-Amz-Expires=60&X-Amz-Signature=ab"
AZURE = "sv=2022-11-02&se=2024-01-01T00%3A00%3A00Z&sr=b&sp=r&st=2023-01-01&spr=https&sig=ab%2Fcd%3D"


def identity(query):
    return query_identity(f"https://shop.test/a.jpg?{query}")[0]


@pytest.mark.parametrize(
    "query",
    [
        AWS,
        AZURE,
        AWS.lower(),
        "AWSAccessKeyId=A&Expires=1700000000&Signature=x%3D",
        "Expires=1700000000&Signature=x~&Key-Pair-Id=K",
        "Policy=eyJ&Signature=x&Key-Pair-Id=K",
        "X-Goog-Signature=ab&X-Goog-Date=2",
        "GoogleAccessId=a&Expires=1&Signature=b",
        "OSSAccessKeyId=a&Expires=1&Signature=b&security-token=c",
        "x-oss-signature=a&x-oss-date=1",
        "q-sign-algorithm=sha1&q-ak=a&q-sign-time=1;2&q-signature=b",
        "token=abc",
        "token=abc&e=1700000000",
        "hdnts=exp=1~acl=/*~hmac=ab",
        "utm_source=mail&gclid=1",
        "",
    ],
)
def test_signatures_and_trackers_say_nothing_of_an_image(query):
    assert query_identity(f"https://shop.test/a.jpg?{query}") == ("", False)


@pytest.mark.parametrize(
    "query", ["v=3", "ver=1.2", "width=400&height=300", "id=17", "image=a.jpg", "versionId=a1", "3", "sv=2", "t=red"]
)
def test_what_asks_for_another_image_counts(query):
    assert identity(query) not in ("", identity(query.replace("3", "4") + "&x=1"))
    assert not query_identity(f"https://shop.test/a.jpg?{query}")[1]


def test_a_part_of_an_image_counts_beside_a_signature():
    assert identity(f"v=3&{AWS}") == identity(f"{AZURE}&v=3") == identity("v=3") != identity("v=4")
    assert identity("x-oss-process=image/resize,w_100&x-oss-signature=a") == "x-oss-process=image/resize,w_100"


def test_order_and_escapes_mean_nothing():
    assert identity("a=1&b=%C3%BC") == identity("b=ü&a=1") == identity("b=%c3%bc&amp;a=1") == identity("a=1&b=ü#top")
    assert identity("a=1&b=2") != identity("a=12&b=")


@pytest.mark.parametrize(
    ("query", "is_uncertain"),
    [
        ("s=0123456789abcdef0123456789abcdef", True),
        ("t=1700000000", True),
        ("1700000000123", True),
        ("v=1700000000", False),
        ("file=summer-dress-red-0123456789.jpg", False),
        ("season=summer", False),
        ("t=1700000000&token=x", False),
    ],
)
def test_what_may_be_a_signature_counts_and_is_said_to_be_uncertain(query, is_uncertain):
    assert query_identity(f"https://shop.test/a.jpg?{query}")[1] is is_uncertain


@given(st.text())
def test_no_address_is_too_odd(text):
    query_identity(text)
    as_address(text)
    assert locate(text, b"/nowhere") is not None


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("//cdn.shop.example/a.jpg", "https://cdn.shop.example/a.jpg"),
        ("www.shop.example/a.jpg?sig=1", "https://www.shop.example/a.jpg?sig=1"),
        ("www.mütze.museum/a.jpg", "https://www.mütze.museum/a.jpg"),
        ("cdn.shop.de/a.jpg", "https://cdn.shop.de/a.jpg"),
        ("shop.com/a.jpg", "https://shop.com/a.jpg"),
        ("shop.internal:8080/a.jpg", "http://shop.internal:8080/a.jpg"),
        ("127.0.0.1:8080/a.jpg", "http://127.0.0.1:8080/a.jpg"),
        ("shop.example:443/a.jpg", "https://shop.example:443/a.jpg"),
        ("https:/shop.example/a.jpg", "https://shop.example/a.jpg"),
        ("https//shop.example/a.jpg", "https://shop.example/a.jpg"),
        (r"http:\\shop.example\a.jpg", r"http://shop.example\a.jpg"),
        ("a.jpg", None),
        ("sub/a.jpg", None),
        ("photos.old/a.jpg", None),
        ("2024.01/a.jpg", None),
        ("//srv/photos/a.jpg", None),
        (r"\\nas.shop.de\photos\a.jpg", None),
        ("shop.com", None),
        (r"C:\photos\a.jpg", None),
    ],
)
def test_an_address_without_its_scheme_is_known_by_its_host(text, address):
    assert as_address(text) == address


def test_a_file_of_that_name_comes_first_and_then_a_folder(tmp_path):
    root = bytes(tmp_path)
    assert locate("shop.de/a.jpg?sig=1", root) == Location(
        "https://shop.de/a.jpg", "url:https://shop.de/a.jpg", url="https://shop.de/a.jpg?sig=1"
    )
    (tmp_path / "shop.de").mkdir()
    assert locate("shop.de/a.jpg", root).path == root + b"/shop.de/a.jpg"
    (tmp_path / "shop.de" / "a.jpg").write_bytes(b"1")
    assert locate("shop.de/a.jpg", root).version.startswith("1-")


def test_backslashes_of_an_address_are_slashes_where_it_would_be_none():
    found = locate(r"https:\\shop.test\in\a.jpg?f=\x", None)
    assert (found.uri, found.url) == ("https://shop.test/in/a.jpg", r"https://shop.test/in/a.jpg?f=\x")
    assert locate(r"https://shop.test/a\b.jpg", None).url == r"https://shop.test/a\b.jpg"


def test_the_query_is_in_the_token_as_a_digest_alone():
    one, other = (locate(f"https://shop.test/a.jpg?v=s3cret{n}&token={n}", None) for n in (1, 2))
    assert one.uri == other.uri == "https://shop.test/a.jpg"
    assert one.version != other.version
    assert "s3cret" not in one.version
    assert one.version == locate("https://shop.test/a.jpg?v=s3cret1&token=9", None).version
