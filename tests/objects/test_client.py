"""What the client takes over of a store's answers."""

from datetime import UTC, datetime

import pytest

from cataloger.objects import Listed

WHEN = datetime(2026, 11, 28, tzinfo=UTC)


@pytest.mark.parametrize(
    ("given", "etag"),
    [('"0x8D"', '"0x8D"'), ("0x8D", '"0x8D"'), ('W/"0x8D"', 'W/"0x8D"'), ("", ""), (None, "")],
)
def test_an_etag_is_the_same_in_an_answer_and_in_a_listing(given, etag):
    found = Listed.of({"path": "a.png", "size": 3, "e_tag": given, "last_modified": WHEN})
    assert found == Listed("a.png", 3, etag, WHEN)
