"""What of a URL may be shown."""

import pytest

from cataloger.utils.urls import without_query


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://ann:pw@shop.test:8443/a/b@2x.jpg?sig=1#top", "https://shop.test:8443/a/b@2x.jpg"),
        ("https://shop.test?sig=1", "https://shop.test"),
        ("https://shop.test#sig", "https://shop.test"),
        ("http://[2001:db8::1]:80/a", "http://[2001:db8::1]:80/a"),
        ("http://a@b:c@shop.test/x", "http://shop.test/x"),
        ("http://ann:p/w@shop.test/x", "(not a URL)"),
        ("http://ann:p?w@shop.test/x", "(not a URL)"),
        ("http://ann:p#w@shop.test/x", "(not a URL)"),
        ("ann:pw@shop.test/x", "(not a URL)"),
        ("ann:pw@http://shop.test/x", "(not a URL)"),
        ("http:/ann:pw@shop.test/x", "(not a URL)"),
        ("http://[::1/x", "(not a URL)"),
        ("", "(not a URL)"),
    ],
)
def test_a_url_without_its_query_has_no_secrets(url, expected):
    assert without_query(url) == expected
