"""The charts of an evaluation, with matplotlib: PNG files, and SVG that takes its colours from the page around it."""

import io
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cataloger.records import Floats
from cataloger.training.evaluation.findings import SURE, Findings
from cataloger.training.metrics import Ints, Share

DPI = 160
MATRIX_CLASSES = 60
BAR_CLASSES = 60
RARE = 20  # images; a bin of fewer says little
LEAST_IMAGES = 100
"""Images below which a curve would show chance."""
LONGEST_NAME = 28
ACCENT = "#2563c9"


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours. ink: text and axes. muted: what is less important. accent: the data."""

    ink: str = "#1c2430"
    muted: str = "#8a94a3"
    accent: str = ACCENT


# Stand-ins for colours of the page, which can be dark: they are replaced in the SVG by its variables.
_STAND_INS = {"#010203": "var(--ink)", "#010204": "var(--muted)", "#010205": "var(--accent)"}
_OF_PAGE = Palette(*_STAND_INS)

Draw = Callable[[Findings, Palette], Figure]


def confusion_chart(findings: Findings, palette: Palette) -> Figure:
    """Draw the confusion matrix: rows add up to the images of a class, darker is a larger share of these."""
    chosen = _most_frequent(findings.matrix)
    matrix = findings.matrix[np.ix_(chosen, chosen)]
    names = [_short(findings.labels[index]) for index in chosen]
    side = max(4.0, 0.24 * len(names) + 1.8)
    figure, axes = _figure(palette, side, side)
    shares = _shares(findings.matrix, chosen)
    pixels = np.zeros((*matrix.shape, 4))
    pixels[..., :3] = to_rgb(ACCENT)
    pixels[..., 3] = np.sqrt(shares)
    if names:  # none where every image has several labels
        axes.imshow(pixels, interpolation="nearest")
    for row, column in np.argwhere(matrix):
        colour = "#ffffff" if shares[row, column] > 0.4 else palette.ink
        axes.text(column, row, str(matrix[row, column]), ha="center", va="center", fontsize=5.5, color=colour)
    ticks = range(len(names))
    axes.set_xticks(ticks, names, rotation=90, fontsize=7)
    axes.set_yticks(ticks, names, fontsize=7)
    axes.tick_params(length=0)
    axes.set_xlabel("predicted")
    axes.set_ylabel("label")
    return figure


def reliability_chart(findings: Findings, palette: Palette) -> Figure:
    """Draw accuracy against confidence, and below it how many images have which confidence.

    Bins of fewer than RARE images are grey.
    """
    figure, (upper, lower) = _figures(palette, 4.6, 4.6, heights=(4, 1))
    bins = findings.reliability
    confidence = np.array([each.confidence for each in bins])
    accuracy = np.array([each.accuracy.value for each in bins])
    upper.plot([0, 1], [0, 1], color=palette.muted, linestyle="--", linewidth=1)
    is_rare = np.array([each.images < RARE for each in bins], dtype=bool)
    for chosen, colour in ((is_rare, palette.muted), (~is_rare, palette.accent)):
        margins = _margins([each.accuracy for each, keep in zip(bins, chosen, strict=True) if keep])
        style: dict[str, Any] = {"color": colour, "fmt": "o", "markersize": 4, "elinewidth": 1, "capsize": 2}
        upper.errorbar(confidence[chosen], accuracy[chosen], margins, **style)
    _as_shares(upper)
    upper.set_ylabel("right")
    lower.bar(
        [(each.low + each.high) / 2 for each in bins],
        [each.images for each in bins],
        width=0.055,
        color=palette.accent,
    )
    lower.set_xlim(0, 1)
    lower.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f}%")
    lower.set_xlabel("confidence")
    lower.set_ylabel("images")
    return figure


def coverage_chart(findings: Findings, palette: Palette) -> Figure:
    """Draw how much is right of what remains when the least confident images are left out, down to RARE images."""
    figure, axes = _figure(palette, 4.6, 4.2)
    points = [point for point in findings.coverage if point.images >= RARE]
    coverage = [point.coverage for point in points]
    axes.fill_between(
        coverage,
        [point.accuracy.low for point in points],
        [point.accuracy.high for point in points],
        color=palette.accent,
        alpha=0.18,
        linewidth=0,
    )
    axes.plot(coverage, [point.accuracy.value for point in points], color=palette.accent)
    sure = findings.sure
    if sure.images >= RARE:
        axes.plot([sure.coverage] * 2, [0, sure.accuracy.value], color=palette.muted, linestyle=":", linewidth=1)
        axes.plot([sure.coverage], [sure.accuracy.value], color=palette.ink, marker="o")
        beside = (-6, "right") if sure.coverage > 0.5 else (6, "left")
        style: dict[str, Any] = {"textcoords": "offset points", "ha": beside[1], "color": palette.ink, "fontsize": 8}
        style["xycoords"] = ("data", "axes fraction")  # at the bottom, where no curve is
        axes.annotate(f"confidence {SURE:.0%} or more", (sure.coverage, 0.0), xytext=(beside[0], 6), **style)
    _as_shares(axes)
    lowest = min((point.accuracy.low for point in points if point.coverage > 0.1), default=0.0)
    axes.set_ylim(max(0.0, np.floor(lowest * 20) / 20), 1.005)
    axes.set_xlabel("images that are taken, most confident first")
    axes.set_ylabel("right of these")
    return figure


def class_chart(findings: Findings, palette: Palette) -> Figure:
    """Draw the F1 of each class with its interval, worst at the top."""
    worst = findings.worst_classes()[:BAR_CLASSES]
    figure, axes = _figure(palette, 5.6, max(1.6, 0.2 * len(worst) + 0.9))
    values = np.array([each.f1.value for each in worst])
    style: dict[str, Any] = {"color": palette.accent, "ecolor": palette.muted, "height": 0.7}
    axes.barh(range(len(worst)), values, xerr=_margins([each.f1 for each in worst]), **style)
    axes.set_yticks(range(len(worst)), [f"{_short(each.label)} ({each.support:,})" for each in worst], fontsize=7)
    axes.invert_yaxis()
    axes.margins(y=0.01)
    axes.set_xlim(0, 1)
    axes.set_xlabel("F1; in brackets: images")
    return figure


CHARTS: dict[str, Draw] = {
    "confusion": confusion_chart,
    "reliability": reliability_chart,
    "coverage": coverage_chart,
    "classes": class_chart,
}


def charts_of(findings: Findings) -> set[str]:
    """Return which of CHARTS the images are enough for."""
    images, single = findings.overall.images, sum(each.images for each in findings.reliability)
    counts = {"coverage": images, "reliability": min(images, single)}
    return {name for name in CHARTS if counts.get(name, LEAST_IMAGES) >= LEAST_IMAGES}


@dataclass(frozen=True, slots=True)
class FrequentMatrix:
    """The confusions of the most frequent classes. rows: (images, share of all with this label), row by row."""

    labels: tuple[str, ...]
    rows: list[list[tuple[int, float]]]


def frequent_matrix(findings: Findings) -> FrequentMatrix:
    """Return the matrix that a page shows as a table."""
    chosen = _most_frequent(findings.matrix)
    counts = findings.matrix[np.ix_(chosen, chosen)]
    shares = _shares(findings.matrix, chosen)
    rows = [list(zip(*row, strict=True)) for row in zip(counts.tolist(), shares.tolist(), strict=True)]
    return FrequentMatrix(tuple(findings.labels[index] for index in chosen), rows)


def _shares(matrix: Ints, chosen: Sequence[int]) -> Floats:
    """Return each count as a share of the images with its label, also of those in classes that are left out."""
    shares: Floats = matrix[np.ix_(chosen, chosen)] / np.maximum(matrix[chosen].sum(axis=1, keepdims=True), 1)
    return shares


def write_png(name: str, findings: Findings, path: Path) -> None:
    """Write one of CHARTS as PNG."""
    with _drawing(name):
        CHARTS[name](findings, Palette()).savefig(path, format="png", dpi=DPI)


def svg(name: str, findings: Findings, *, alt: str) -> str:
    """Return one of CHARTS as an SVG element for a page that defines --ink, --muted and --accent."""
    buffer = io.StringIO()
    with _drawing(name):
        figure = CHARTS[name](findings, _OF_PAGE)
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    for stand_in, variable in _STAND_INS.items():
        text = text.replace(stand_in, variable)
    return text.replace("<svg ", f'<svg role="img" aria-label="{escape(alt)}" ', 1)


@contextmanager
def _drawing(name: str) -> Iterator[None]:
    # Text stays text, with the fonts of the reader; a "$" in a label is no formula; ids differ from chart to chart.
    settings: Any = {"svg.fonttype": "none", "svg.hashsalt": name, "text.parse_math": False}
    with rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def _figure(palette: Palette, width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    _style(axes, palette)
    return figure, axes


def _figures(
    palette: Palette, width: float, height: float, *, heights: tuple[float, float]
) -> tuple[Figure, tuple[Axes, Axes]]:
    figure = Figure(figsize=(width, height), layout="constrained")
    upper, lower = figure.subplots(2, 1, height_ratios=heights, sharex=True)
    for axes in (upper, lower):
        _style(axes, palette)
    return figure, (upper, lower)


def _style(axes: Axes, palette: Palette) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(palette.muted)
    axes.tick_params(colors=palette.ink, labelsize=8)
    axes.xaxis.label.set_color(palette.ink)
    axes.yaxis.label.set_color(palette.ink)


def _margins(shares: Sequence[Share]) -> Floats:
    """Return how far the intervals reach below and above: 2 x N. A bootstrap's may not contain its value."""
    reach = [(share.value - share.low, share.high - share.value) for share in shares]
    margins: Floats = np.clip(np.array(reach).reshape(-1, 2), 0.0, 1.0).T
    return margins


def _as_shares(axes: Axes) -> None:
    axes.set_xlim(0, 1.005)
    axes.set_ylim(0, 1.005)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 5, 10], min_n_ticks=3))
        axis.set_major_formatter(lambda value, _: f"{100 * value:.0f}%")


def _most_frequent(matrix: Ints) -> list[int]:
    """Return the classes to show, in their order: a matrix of more would be unreadable."""
    weight = matrix.sum(axis=0) + matrix.sum(axis=1)
    return sorted(np.argsort(-weight, kind="stable")[:MATRIX_CLASSES].tolist())


def _short(name: str) -> str:
    name = "".join(c if c.isprintable() else "?" for c in name)
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"
