"""The page of a report: HTML with everything inside, which loads nothing, runs nothing and prints."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from cataloger.contracts import DECISIONS
from cataloger.db import Database
from cataloger.report.gather import CatalogReport
from cataloger.report.images import Picture, Progress, open_maps, pictures_of
from cataloger.report.queries import BINS
from cataloger.report.stored_images import Pictures
from cataloger.sources import name_of
from cataloger.utils import printable, replacing, shown_key
from cataloger.web import Filters, template_environment

TEMPLATE = "report.html.j2"
LONGEST = 100  # characters of a name
THRESHOLDS = (0.5, 0.7, 0.8, 0.9, 0.95)
WIDTH, HEIGHT = 400, 150  # of a chart, in units of its own
MAPS = "Beside each: which areas speak for its category, the brighter the more."
NO_MODEL = "Activation maps are left out: the model's directory was not found; give it with --model."
EXPLANATIONS = {
    "accept": "can be used as it is",
    "review": "a person should look at it",
    "abstain": "unlike all categories of the model",
}


@dataclass(frozen=True, slots=True)
class PageOptions:
    """How a page is made. model: directory of the bundle that gave the answers, if it was moved.

    allow_private: download pictures from private addresses, too.
    """

    path: Path
    maps: bool = True
    model: str | None = None
    allow_private: bool = False


def write_page(
    database: Database, report: CatalogReport, options: PageOptions, progress: Progress = lambda _done, _total: None
) -> None:
    """Read the pictures and write the page. Raises OutputError, and UsageError for a model that is another one."""
    maps = open_maps(database, report, options.model) if options.maps else None
    with Pictures(database, allow_private=options.allow_private) as pictures:
        found = pictures_of(pictures, report, maps, progress)
    about_maps = (MAPS if maps else NO_MODEL) if options.maps else ""
    page = render_page(report, found, about_maps=about_maps)
    with replacing(options.path) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="backslashreplace", newline="\n")


def render_page(report: CatalogReport, pictures: Mapping[int, Picture], *, about_maps: str = "") -> str:
    """Return the page as HTML. pictures: by item."""
    coverage = report.coverage()
    filters: Filters = {
        "percent": percent,
        "shortened": shortened,
        "link": link,
        "as_key": shown_key,
    }
    template = template_environment(__file__, filters).get_template(TEMPLATE)
    return template.render(
        report=report,
        pictures=pictures,
        about_maps=about_maps,
        nothing=Picture(why="the image is no longer in the ledger"),
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
        decisions=[name for name in DECISIONS if name in report.decisions],
        explanations=EXPLANATIONS,
        bars=_bars(report.histogram),
        curve=_curve(coverage),
        thresholds=[(threshold, coverage[round(threshold * BINS)]) for threshold in THRESHOLDS],
        width=WIDTH,
        height=HEIGHT,
    )


def _bars(histogram: tuple[int, ...]) -> list[tuple[float, float, float, float, str]]:
    """Return x, y, width, height and title of each bar."""
    highest, step = max(histogram, default=0) or 1, WIDTH / BINS
    return [
        (
            number * step + 1,
            HEIGHT * (1 - count / highest),
            step - 2,
            HEIGHT * count / highest,
            f"{percent(number / BINS)} to {percent((number + 1) / BINS)}: {count:,}",
        )
        for number, count in enumerate(histogram)
    ]


def _curve(coverage: tuple[float, ...]) -> str:
    """Return the points of the curve."""
    return " ".join(f"{WIDTH * n / BINS:.0f},{HEIGHT * (1 - share):.1f}" for n, share in enumerate(coverage))


def percent(value: float | None) -> str:
    """Return a share in percent; one that is neither none nor all never reads 0% or 100%."""
    if value is None:
        return "–"
    number = round(100 * value)
    if number == 100 and value < 1:
        return "over 99%"
    return "under 1%" if number == 0 and value > 0 else f"{number}%"


def shortened(text: str) -> str:
    """Return a text that can be shown, its middle left out if it is very long."""
    text = printable(text)
    half = LONGEST // 2
    return text if len(text) <= LONGEST else f"{text[:half]}…{text[-half:]}"


def link(uri: str) -> str | None:
    """Return where an image can be opened: its address, or its file; None for bytes in a table."""
    if re.match(r"https?://", uri, re.IGNORECASE):
        return uri
    return f"file://{quote(name_of(uri))}" if uri.startswith("/") else None
