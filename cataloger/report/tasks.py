"""What a report leaves people to do, with the place to do it."""

from collections.abc import Iterator
from dataclasses import dataclass

from cataloger.report.gather import CatalogReport
from cataloger.report.queries import BINS
from cataloger.report.review_links import ReviewLinks

UNSURE = 0.5
"""Confidence below which a person should look, where a model has no thresholds of its own."""


@dataclass(frozen=True, slots=True)
class Task:
    """Something to do. count: of what. href: where; None where there is no page for it."""

    count: int
    what: str
    why: str
    action: str
    href: str | None


def tasks(report: CatalogReport, links: ReviewLinks) -> list[Task]:
    """Return what there is to do, without what is done."""
    return [task for task in _tasks(report, links) if task.count]


def _tasks(report: CatalogReport, links: ReviewLinks) -> Iterator[Task]:
    if report.decisions:
        review, abstain = (report.decisions.get(name, 0) for name in ("review", "abstain"))
        yield Task(review, "to review", "the model is not sure enough", "Review", links.filtered(decision="review"))
        yield Task(
            abstain, "unlike all categories", "often not a product", "Review", links.filtered(decision="abstain")
        )
    else:
        unsure = sum(report.histogram[: round(UNSURE * BINS)])
        yield Task(unsure, "unsure", f"confidence below {UNSURE:.0%}", "Review", links.filtered(below=f"{UNSURE:g}"))
    yield Task(report.disagreeing, "products disagree", "their images have different categories", "Show", "#products")
    yield Task(report.failed, "failed", "the image could not be read", "Show", "#failures")
    if unmeasured := [each.source for each in report.measured if not each.is_measured]:
        # The numbers by decision are those of all sources together, and so is this one.
        only = {"source": unmeasured[0]} if len(unmeasured) == 1 else {}
        more = report.decisions.get("accept", 0) - sum(each.accepted for each in report.measured)
        href = links.filtered(decision="accept", **only)
        yield Task(max(0, more), "accepted, unchecked", "check some to know how many are right", "Check", href)
