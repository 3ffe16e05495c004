"""The page of `explain`: each image with its answers, and the places that speak for the best of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cataloger.imaging import as_jpeg, data_uri
from cataloger.inference import Explanation, overlaid
from cataloger.records import Failure, Pixels
from cataloger.report.html import EXPLANATIONS, filters
from cataloger.web import template_environment
from cataloger.writeback import WrittenAnswer

TEMPLATE = "explanation.html.j2"
SIDE = 320  # pixels


@dataclass(frozen=True, slots=True)
class Explained:
    """What `explain` has found out. written: where answers stand in the shop, by product; None: it was not asked."""

    images: Sequence[Explanation]
    failures: Sequence[Failure]
    written: Mapping[str, Sequence[WrittenAnswer]] | None = None


@dataclass(frozen=True, slots=True)
class _Answer:
    """A category of an image. map: data URI of the places that speak for it; "" for one that is only named."""

    label: str
    confidence: float
    map: str


@dataclass(frozen=True, slots=True)
class _Shown:
    """An image on the page. picture: data URI."""

    uri: str
    name: str
    decision: str | None
    picture: str
    answers: list[_Answer]


def render_explanation(explained: Explained, categories: int) -> str:
    """Return the page as HTML that loads nothing. categories: how many of each image's categories get a map."""
    template = template_environment(__file__, filters()).get_template(TEMPLATE)
    return template.render(
        shown=[_shown(each, categories) for each in explained.images],
        failures=explained.failures,
        written=explained.written,
        explanations=EXPLANATIONS,
        scale=_scale(),
    )


def _scale() -> str:
    """Return the colours of a map on grey, from nothing to most, as a data URI."""
    heat = np.tile(np.linspace(0.0, 1.0, SIDE), (SIDE, 1))
    return data_uri(as_jpeg(overlaid(np.full((SIDE, SIDE, 3), 128, np.uint8), heat), SIDE, 12, SIDE))


def _shown(explanation: Explanation, categories: int) -> _Shown:
    def drawn(pixels: Pixels) -> str:
        return data_uri(as_jpeg(pixels, explanation.width, explanation.height, SIDE, enlarges=True))

    return _Shown(
        uri=explanation.item.uri,
        name=Path(explanation.item.uri).name,
        decision=explanation.decision,
        picture=drawn(explanation.pixels),
        answers=_answers(explanation, categories, drawn),
    )


def _answers(explanation: Explanation, categories: int, drawn: Callable[[Pixels], str]) -> list[_Answer]:
    answers = zip(explanation.labels, explanation.confidences, explanation.maps, strict=True)
    return [
        _Answer(label, share, drawn(overlaid(explanation.pixels, heat)) if number < categories else "")
        for number, (label, share, heat) in enumerate(answers)
    ]
