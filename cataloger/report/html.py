"""The page of a report: HTML with everything inside, which loads nothing, runs its own script alone and prints."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cataloger.contracts import DECISIONS
from cataloger.db import Database
from cataloger.report.changes import WEEK
from cataloger.report.gather import CatalogReport
from cataloger.report.images import Picture, Progress, open_maps, pictures_of
from cataloger.report.queries import BINS
from cataloger.report.review_links import ReviewLinks
from cataloger.report.sentences import sentences
from cataloger.report.stored_images import Pictures
from cataloger.report.tasks import tasks
from cataloger.sources import name_of
from cataloger.utils import Share, printable, replacing, shown_key
from cataloger.web import HEIGHT, WIDTH, Chart, Filters, count_ticks, share_ticks, template_environment

TEMPLATE = "report.html.j2"
LONGEST = 100  # characters of a name
THRESHOLDS = (0.5, 0.7, 0.8, 0.9, 0.95)
REVIEW_URL = "http://127.0.0.1:8765"
"""Where `cataloger review` serves its page, unless it is told otherwise."""
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

    allow_private: download pictures from private addresses, too. review_url: where the review page is; "": no links.
    """

    path: Path
    maps: bool = True
    model: str | None = None
    allow_private: bool = False
    review_url: str = REVIEW_URL


def write_page(
    database: Database, report: CatalogReport, options: PageOptions, progress: Progress = lambda _done, _total: None
) -> None:
    """Read the pictures and write the page. Raises OutputError, and UsageError for a model that is another one."""
    links = ReviewLinks.of(report, options.review_url)
    maps = open_maps(database, report, options.model) if options.maps else None
    with Pictures(database, allow_private=options.allow_private) as pictures:
        found = pictures_of(pictures, report, maps, progress)
    about_maps = (MAPS if maps else NO_MODEL) if options.maps else ""
    page = render_page(report, found, links, about_maps=about_maps)
    with replacing(options.path) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="backslashreplace", newline="\n")


def render_page(
    report: CatalogReport, pictures: Mapping[int, Picture], links: ReviewLinks, *, about_maps: str = ""
) -> str:
    """Return the page as HTML. pictures: by item."""
    template = template_environment(__file__, filters()).get_template(TEMPLATE)
    return template.render(
        report=report,
        pictures=pictures,
        links=links,
        tasks=tasks(report, links),
        about_maps=about_maps,
        nothing=Picture(why="the image is no longer in the ledger"),
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
        decisions=[name for name in DECISIONS if name in report.decisions],
        explanations=EXPLANATIONS,
        **_of_last_week(report),
        **_charts(report),
    )


def filters() -> Filters:
    """Return what the templates of this package show values with."""
    return {
        "percent": percent,
        "interval": interval,
        "shortened": shortened,
        "link": link,
        "as_key": shown_key,
    }


def _of_last_week(report: CatalogReport) -> dict[str, Any]:
    """Return what changed in a week, and since when: the first run may be younger."""
    if report.week is None:
        return {"sentences": [], "since": ""}
    is_old = report.week.since.started_at <= (report.latest or report.run).started_at - WEEK
    return {"sentences": sentences(report.week), "since": "last week" if is_old else "the first run"}


def _charts(report: CatalogReport) -> dict[str, Any]:
    """Return the data and the frames of the two charts."""
    shares, coverage = share_ticks(WIDTH), report.coverage()
    top, counts = count_ticks(max(report.histogram, default=0))
    return {
        "histogram": Chart("confidence of the best category", "images", shares, counts),
        "bars": _bars(report.histogram, top),
        "coverage": Chart("confidence of at least", "share of the images", shares, share_ticks(HEIGHT, rising=True)),
        "curve": _curve(coverage),
        "thresholds": [(threshold, coverage[round(threshold * BINS)]) for threshold in THRESHOLDS],
    }


def _bars(histogram: tuple[int, ...], top: int) -> list[tuple[float, float, float, float, str]]:
    """Return x, y, width, height and title of each bar. top: count at the upper end."""
    step = WIDTH / BINS
    return [
        (
            number * step + 1,
            HEIGHT * (1 - count / top),
            step - 2,
            HEIGHT * count / top,
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


def interval(share: Share) -> str:
    """Return the interval of a share in percent."""
    return f"{100 * share.low:.0f} to {100 * share.high:.0f}%"


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
