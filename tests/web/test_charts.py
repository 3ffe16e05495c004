"""Ticks of charts: round numbers that hold all there is, and few of them."""

import pytest

from cataloger.web import HEIGHT, count_ticks, share_ticks


@pytest.mark.parametrize(
    ("highest", "labels"),
    [
        (0, ["0", "1"]),
        (3, ["0", "1", "2", "3"]),
        (5, ["0", "2", "4", "6"]),
        (42, ["0", "20", "40", "60"]),
        (319, ["0", "100", "200", "300", "400"]),
        (123_456, ["0", "50,000", "100,000", "150,000"]),
    ],
)
def test_counts_are_round_and_hold_the_highest(highest, labels):
    top, ticks = count_ticks(highest)
    assert [label for _, label in ticks] == labels
    assert top >= highest
    assert (ticks[0][0], ticks[-1][0]) == (HEIGHT, 0)


def test_shares_run_from_none_to_all_in_both_directions():
    assert share_ticks(400) == [(0, "0%"), (100, "25%"), (200, "50%"), (300, "75%"), (400, "100%")]
    assert share_ticks(150, rising=True)[0] == (150, "0%")
    assert share_ticks(150, rising=True)[-1] == (0, "100%")
