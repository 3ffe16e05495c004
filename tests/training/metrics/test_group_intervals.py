"""Intervals over groups of images: as wide as groups differ, paired, and none where nothing belongs together."""

import math

import numpy as np
import pytest

from cataloger.training.metrics.group_intervals import ImageGroups
from cataloger.utils import wilson

TEN = [f"shop {number // 10}" for number in range(100)]


def test_groups_that_differ_make_the_interval_wide():
    # Five of ten shops are always right: a standard deviation of sqrt(0.25 / 10) = 0.158, over images 0.05.
    right = np.arange(100) < 50
    share = ImageGroups.of(TEN).share(right)
    assert share.value == 0.5
    assert share.low == pytest.approx(0.5 - 1.96 * 0.158, abs=0.05)
    assert share.high == pytest.approx(0.5 + 1.96 * 0.158, abs=0.05)
    assert share.low < wilson(50, 100).low - 0.1


def test_groups_that_are_all_the_same_leave_no_doubt():
    share = ImageGroups.of(TEN).share(np.arange(100) % 10 < 7)
    assert (share.low, share.value, share.high) == (0.7, 0.7, 0.7)


def test_the_difference_is_paired():
    groups, right = ImageGroups.of(TEN), np.arange(100) < 50
    better = right | (np.arange(100) % 10 == 9)
    same, gain = groups.difference(right, right), groups.difference(right, better)
    assert (same.low, same.value, same.high) == (0.0, 0.0, 0.0)
    assert gain.value == pytest.approx(0.05)
    assert 0 < gain.low < 0.05 < gain.high < 0.1


def test_a_share_of_some_images_has_no_interval_where_there_are_none():
    groups, none, one = ImageGroups.of(TEN), np.zeros(100, bool), np.arange(100) == 0
    assert math.isnan(groups.share(none, none).value)
    # Of one accepted image in one shop: the draws that hold that shop decide.
    assert (groups.share(one, one).low, groups.share(one, one).high) == (1.0, 1.0)


@pytest.mark.parametrize("names", [["a", "b", "c"], ["a"] * 3, ["", "", ""], []])
def test_without_groups_there_is_no_such_interval(names):
    assert ImageGroups.of(names) is None


def test_an_image_without_a_group_is_one_of_its_own():
    assert ImageGroups.of(["a", "a", "", ""]).count == 3
