"""Which folders and hosts are out when images that were there are missing."""

import pytest

from cataloger.engine import losses
from cataloger.engine.losses import Losses


def found(counts):
    """Return place -> (missing, known) of what is out. counts: folder, or (kind, name) -> (known, missing)."""
    each = Losses()
    for name, (known, missing) in counts.items():
        place = name if isinstance(name, tuple) else ("folder", name)
        for number in range(known):
            each.know(place)
            if number < missing:
                each.miss(place)
    each.conclude()
    return each, {outage.place.removeprefix("the folder "): outage.images for outage in each.found()}


@pytest.mark.parametrize(
    ("counts", "out"),
    [
        ({"/p/a": (100, 51)}, {"/p/a": 51}),
        ({"/p/a": (100, 50)}, {}),
        ({"/p/a": (99, 99)}, {}),
        ({"/p/a": (99, 99), "/p/b": (99, 0)}, {}),
        ({"/p/a": (99, 99), "/p/b": (98, 0)}, {"/p": 99}),
        ({"/p/a": (900, 900), "/p/b": (100, 3)}, {"/p/a": 900}),
        ({"/p/a/x": (60, 60), "/p/a/y": (60, 60), "/p/b": (200, 1)}, {"/p/a": 120}),
        ({"/p/a/x": (160, 160), "/p/a/y": (160, 160), "/p/b": (200, 1)}, {"/p/a": 320}),
        ({"/p/a/x": (160, 160), "/p/a/y": (160, 160), "/p/a": (10, 0)}, {"/p/a/x": 160, "/p/a/y": 160}),
        ({"/": (100, 100)}, {"/": 100}),
        ({("host", "h"): (100, 51), ("host", "g"): (100, 50)}, {"the host h": 51}),
    ],
)
def test_a_place_is_out_when_more_than_half_of_at_least_a_hundred_are_missing(counts, out):
    assert found(counts)[1] == out


def test_a_folder_that_is_out_covers_the_folders_in_it_and_no_other():
    each, _ = found({"/p/a/x": (60, 60), "/p/a/y": (60, 60), "/p/b": (200, 1)})
    covered = [each.covers(("folder", name)) for name in ("/p/a", "/p/a/x/z", "/p/a/new", "/p", "/p/ab", "/p/b")]
    assert covered == [True, True, True, False, False, False]
    assert not each.covers(("host", "/p/a"))


def test_of_more_folders_than_are_told_apart_the_lowest_count_for_those_above(monkeypatch):
    monkeypatch.setattr(losses, "PLACES", 10)
    each = Losses()
    for number in range(1000):
        place = ("folder", f"/p/{number % 2}/{number}")
        each.know(place)
        if number % 2:
            each.miss(place)
        assert len(each._known) <= 11
    each.conclude()
    assert [(outage.place, outage.images) for outage in each.found()] == [("the folder /p/1", 500)]
    assert each.covers(("folder", "/p/1/333"))
