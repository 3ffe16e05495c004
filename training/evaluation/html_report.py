"""The report of an evaluation as files: one page that needs nothing else, its charts as PNG, everything as JSON."""

import importlib.util
import json
import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cataloger.errors import MissingExtraError, OutputError
from cataloger.training.evaluation.evaluate import Evaluation
from cataloger.training.evaluation.findings import Mistake
from cataloger.training.metrics import Share
from cataloger.utils import printable, replacing
from cataloger.web import Filters, template_environment

PAGE = "report.html"
TEMPLATE = "report.html.j2"
THUMBNAILS = 50
CONFUSIONS = 20
FEW = 200
"""Images below which the page warns of how wide the intervals are."""


@dataclass(frozen=True, slots=True)
class PicturedMistake:
    """A mistake with its picture, a data URI; None if there is none to show."""

    mistake: Mistake
    picture: str | None


def require_page_extra() -> None:
    """Raise MissingExtraError unless the page can be made."""
    for module in ("jinja2", "matplotlib"):
        if importlib.util.find_spec(module) is None:
            raise MissingExtraError("train", "the report page of `--output`")


def write_report(evaluation: Evaluation, folder: Path) -> None:
    """Write report.html, report.json and a PNG of each chart into a folder; files of these names are replaced.

    A chart that the images are too few for is deleted where an earlier evaluation has left it. Raises
    MissingExtraError, and OutputError where a file cannot be written; those that are there then stay.
    """
    require_page_extra()
    from cataloger.training.evaluation.charts import CHARTS, charts_of, write_png

    page = render_page(evaluation)
    text = json.dumps(evaluation.as_json(), indent=2, ensure_ascii=False) + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror}") from error
    with ExitStack() as stack:  # all of them are put in place when all are written
        for name in charts_of(evaluation.findings):
            write_png(name, evaluation.findings, stack.enter_context(replacing(folder / f"{name}.png")))
        _write(stack.enter_context(replacing(folder / "report.json")), text)
        _write(stack.enter_context(replacing(folder / PAGE)), page)
    for name in CHARTS.keys() - charts_of(evaluation.findings):
        _delete(folder / f"{name}.png")


def render_page(evaluation: Evaluation) -> str:
    """Return the page as HTML: styles, charts and pictures are inside, and nothing is loaded from anywhere."""
    from cataloger.training.data import draw_thumbnails
    from cataloger.training.evaluation.charts import LEAST_IMAGES, MATRIX_CLASSES, charts_of, frequent_matrix, svg

    findings = evaluation.findings
    shown = findings.mistakes[:THUMBNAILS]
    pictures = draw_thumbnails([evaluation.examples[mistake.index] for mistake in shown])
    filters: Filters = {
        "interval": interval,
        "percent": percent,
        "joined": joined,
        "plain": plain,
        "figure": figure,
        "figures": figures,
    }
    template = template_environment(__file__, filters).get_template(TEMPLATE)
    return template.render(
        of_images=of_images,
        subject=evaluation.subject,
        findings=findings,
        report=findings.overall,
        created=datetime.now(UTC).strftime("%Y-%m-%d"),
        mistakes=[PicturedMistake(mistake, picture) for mistake, picture in zip(shown, pictures, strict=True)],
        confusions=findings.confusions[:CONFUSIONS],
        matrix=frequent_matrix(findings),
        matrix_classes=MATRIX_CLASSES,
        few=FEW,
        least_images=LEAST_IMAGES,
        charts={name: svg(name, findings, alt=alt) for name, alt in ALTS.items() if name in charts_of(findings)},
    )


ALTS = {
    "coverage": "Curve: how much is right of the images that are taken, as more of the unsure ones are taken.",
    "reliability": "Points: share of right answers at each confidence; on the dashed line both are equal.",
}


def of_100(share: float) -> str:
    """Return a share as a text, "91 of 100"; the last bit to all or none is not rounded away."""
    number = round(100 * share)
    if number == 100 and share < 1:
        return "more than 99 of 100"
    return "fewer than 1 of 100" if number == 0 and share > 0 else f"{number} of 100"


def of_images(share: Share, images: int) -> str:
    """Return a share of few images as their number, of many as "91 of 100"."""
    return f"{round(share.value * images)} of {images}" if images < 100 else of_100(share.value)


def interval(share: Share) -> str:
    """Return the interval of a share in percent."""
    return "not known" if math.isnan(share.value) else f"{100 * share.low:.1f} to {100 * share.high:.1f}%"


def percent(value: float | None) -> str:
    """Return a share in percent with one decimal, "-" if there is none."""
    return "–" if value is None or math.isnan(value) else f"{100 * value:.1f}%"


def figure(value: float) -> str:
    """Return a figure with three decimals, "–" if there is none."""
    return "–" if math.isnan(value) else f"{value:.3f}"


def figures(share: Share) -> str:
    """Return a figure that is no share of images, such as an F1, with its interval."""
    reach = "" if math.isnan(share.value) else f" ({share.low:.3f} to {share.high:.3f})"
    return figure(share.value) + reach


def plain(value: float) -> str:
    """Return a figure as a page sorts by it, "" if there is none."""
    return "" if math.isnan(value) else f"{value:.4f}"


def joined(texts: Sequence[str]) -> str:
    """Return accepted labels as one text."""
    return printable(" or ".join(texts))


def _delete(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{path} cannot be deleted: {error.strerror}") from error


def _write(path: Path, text: str) -> None:
    # The name of a file may contain bytes that are not UTF-8.
    path.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
