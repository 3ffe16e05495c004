"""The frames of the charts that pages draw as SVG: ticks, their labels and the titles of the axes."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 400, 150  # in units of the chart
LEFT, TOP, RIGHT, BOTTOM = 46, 26, 22, 44

Ticks = Sequence[tuple[float, str]]


@dataclass(frozen=True, slots=True)
class Chart:
    """The frame around the data of a chart. x_ticks, y_ticks: place and label of each; y grows downwards."""

    x_title: str
    y_title: str
    x_ticks: Ticks
    y_ticks: Ticks
    width: int = WIDTH
    height: int = HEIGHT

    @property
    def view_box(self) -> str:
        """Return what the chart needs with its labels."""
        return f"{-LEFT} {-TOP} {self.width + LEFT + RIGHT} {self.height + TOP + BOTTOM}"


def share_ticks(length: float, *, rising: bool = False) -> list[tuple[float, str]]:
    """Return ticks of 0, 25, ... 100% over a length. rising: from below, as on a vertical axis."""
    return [(length * (1 - part / 4 if rising else part / 4), f"{25 * part}%") for part in range(5)]


def count_ticks(highest: int, length: float = HEIGHT) -> tuple[int, list[tuple[float, str]]]:
    """Return where an axis of counts ends, and its ticks from below: round numbers, at most five of them."""
    steps = (10**digits * each for digits in itertools.count() for each in (1, 2, 5))
    step = next(step for step in steps if 4 * step >= highest)
    top = max(1, -(-highest // step)) * step
    return top, [(round(length * (1 - count / top), 1), f"{count:,}") for count in range(0, top + 1, step)]
