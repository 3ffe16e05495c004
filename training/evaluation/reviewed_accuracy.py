"""Accuracy of the results in a database, measured by people's corrections: by category, decision and confidence.

Everything is counted by the database. Images that have changed since their correction do not count.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Select, case, func, literal

from cataloger.contracts import TOP_K
from cataloger.db import AnyRow, Database
from cataloger.errors import TrainingError
from cataloger.schema import (
    IS_UNCHANGED,
    CorrectionRow,
    ItemRow,
    ResultRow,
    select_current,
    with_corrections,
    with_seen,
)
from cataloger.training.evaluation.stored_results import pinned_sources
from cataloger.training.metrics import UNKNOWN, Z95, Share, wilson

BANDS = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95)
APART = 0.02
FEW = 5


@dataclass(slots=True)
class Tally:
    """Counts of a group. images: in the catalog. reviewed: with a correction. right: where it is the best label."""

    images: int = 0
    reviewed: int = 0
    right: int = 0

    @property
    def share(self) -> Share:
        """The right ones among the reviewed."""
        return wilson(self.right, self.reviewed)

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        numbers = {"images": self.images, "reviewed": self.reviewed, "right": self.right}
        return {**numbers, "accuracy": _plain(self.share)}


@dataclass(slots=True)
class ReviewedCategory:
    """Counts of a category. said: images corrected to it. named: images predicted as it. found: both."""

    said: int = 0
    named: int = 0
    found: int = 0

    @property
    def recall(self) -> Share:
        """Share of the images corrected to this category that the model predicts as it."""
        return wilson(self.found, self.said)

    @property
    def precision(self) -> Share:
        """Share of the reviewed images predicted as this category whose correction agrees."""
        return wilson(self.found, self.named)

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        counts = {"said": self.said, "named": self.named, "found": self.found}
        return {**counts, "recall": _plain(self.recall), "precision": _plain(self.precision)}


@dataclass(slots=True)
class ReviewedAccuracy:
    """How the results of one model compare with the corrections.

    An image that shows no product is never right: no_product counts these, abstained those that the model does not
    answer. top5: reviewed images whose correction is among the model's five labels. changed: corrections of
    earlier bytes, left out. confidence_*: means of the reviewed and of all.
    """

    model: str
    sources: tuple[str, ...]
    total: Tally = field(default_factory=Tally)
    top5: int = 0
    no_product: int = 0
    abstained: int = 0
    changed: int = 0
    bands: dict[float, Tally] = field(default_factory=lambda: {band: Tally() for band in BANDS})
    decisions: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    categories: dict[str, ReviewedCategory] = field(default_factory=lambda: defaultdict(ReviewedCategory))
    confidence_all: float = math.nan
    confidence_reviewed: float = math.nan

    @property
    def top5_share(self) -> Share:
        """Share of the reviewed whose correction is among the model's five labels."""
        return wilson(self.top5, self.total.reviewed)

    @property
    def differs(self) -> bool:
        """True when the answers for reviewed images are less, or more, confident than those of the catalog."""
        return abs(self.confidence_all - self.confidence_reviewed) > APART

    @property
    def weighted(self) -> Share:
        """Accuracy over the catalog, each band by its share of it, as if within a band any image may be reviewed.

        The interval adds the variances of the bands (stratified sampling), each with two right and two wrong images
        more (Agresti and Coull, 1998). Unknown where a band with images has fewer than FEW reviewed.
        """
        used = [band for band in self.bands.values() if band.images]
        if not used or min(band.reviewed for band in used) < FEW:
            return UNKNOWN
        value = variance = 0.0
        for band in used:
            weight, seen = band.images / self.total.images, band.reviewed + 4
            smoothed = (band.right + 2) / seen
            value += weight * band.right / band.reviewed
            variance += weight**2 * smoothed * (1 - smoothed) / seen
        margin = Z95 * math.sqrt(variance)
        return Share(value, max(0.0, value - margin), min(1.0, value + margin))

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "model": self.model,
            "sources": list(self.sources),
            **self.total.as_json(),
            "weighted_accuracy": _plain(self.weighted),
            "top5": _plain(self.top5_share),
            "no_product": self.no_product,
            "no_product_abstained": self.abstained,
            "changed": self.changed,
            "mean_confidence": _number(self.confidence_all),
            "mean_confidence_reviewed": _number(self.confidence_reviewed),
            "differs_from_catalog": self.differs,
            "bands": [{"from": band, **tally.as_json()} for band, tally in self.bands.items()],
            "decisions": {name: tally.as_json() for name, tally in self.decisions.items()},
            "categories": {name: each.as_json() for name, each in sorted(self.categories.items())},
        }


def read_reviewed(database: Database, *, source: str | None = None) -> ReviewedAccuracy:
    """Compare results with corrections, for the pinned model of one source, or of all sources if they share it.

    Raises UsageError when it is not clear which source is meant, TrainingError where there is no correction.
    """
    with database.read() as connection:
        model, sources = pinned_sources(connection, source, database.name)
        accuracy = ReviewedAccuracy(f"{model.name} {model.version}", tuple(sources.values()))
        _add_images(accuracy, connection.execute(_images(list(sources))))
        _add_corrections(accuracy, connection.execute(_corrections(list(sources))))
        accuracy.changed = _changed(connection, list(sources))
    if not accuracy.total.reviewed:
        raise TrainingError(
            f"{database.name}: no current image has a correction; "
            "run `cataloger corrections import` or `cataloger review` first"
        )
    return accuracy


def _results(sources: Sequence[int], *columns: Any) -> Select[Any]:
    """Select from the current good results of images that are not missing."""
    return select_current(*columns).where(ItemRow.source_id.in_(sources), ResultRow.status == "ok")


def _images(sources: Sequence[int]) -> Select[Any]:
    band = _band().label("band")
    sums = (func.count().label("images"), func.sum(ResultRow.confidence_1).label("confidence"))
    return _results(sources, ResultRow.decision, band, *sums).group_by(ResultRow.decision, band)


def _corrections(sources: Sequence[int]) -> Select[Any]:
    """Count corrections of unchanged images by everything that is reported."""
    band = _band().label("band")
    labels = [getattr(ResultRow, f"label_{rank}") for rank in range(1, TOP_K + 1)]
    in_top5 = case((CorrectionRow.label.in_(labels), 1), else_=0)
    by = (ResultRow.decision, band, ResultRow.label_1, CorrectionRow.verdict, CorrectionRow.label)
    sums = (
        func.count().label("images"),
        func.sum(in_top5).label("top5"),
        func.sum(ResultRow.confidence_1).label("confidence"),
    )
    return _with_corrections(_results(sources, *by, *sums)).where(IS_UNCHANGED).group_by(*by)


def _changed(connection: Connection, sources: Sequence[int]) -> int:
    return connection.scalar(_with_corrections(_results(sources, func.count())).where(~IS_UNCHANGED)) or 0


def _with_corrections(results: Select[Any]) -> Select[Any]:
    return with_seen(with_corrections(results, only=True))


def _band() -> Any:
    """Return the position of a confidence's band."""
    ordered = sorted(range(1, len(BANDS)), reverse=True)
    return case(*((ResultRow.confidence_1 >= BANDS[position], literal(position)) for position in ordered), else_=0)


def _add_images(accuracy: ReviewedAccuracy, rows: Iterable[AnyRow]) -> None:
    confidence = 0.0
    for row in rows:
        for tally in _tallies(accuracy, row):
            tally.images += row.images
        confidence += row.confidence or 0.0
    if accuracy.total.images:
        accuracy.confidence_all = confidence / accuracy.total.images


def _add_corrections(accuracy: ReviewedAccuracy, rows: Iterable[AnyRow]) -> None:
    confidence = 0.0
    for row in rows:
        is_right = row.verdict == "label" and row.label == row.label_1
        for tally in _tallies(accuracy, row):
            tally.reviewed += row.images
            tally.right += row.images if is_right else 0
        accuracy.categories[row.label_1].named += row.images
        if row.verdict == "label":
            accuracy.categories[row.label].said += row.images
            accuracy.categories[row.label].found += row.images if is_right else 0
        else:
            accuracy.no_product += row.images
            accuracy.abstained += row.images if row.decision == "abstain" else 0
        accuracy.top5 += int(row.top5)
        confidence += row.confidence or 0.0
    if accuracy.total.reviewed:
        accuracy.confidence_reviewed = confidence / accuracy.total.reviewed


def _tallies(accuracy: ReviewedAccuracy, row: AnyRow) -> tuple[Tally, Tally, Tally]:
    return accuracy.total, accuracy.bands[BANDS[int(row.band)]], accuracy.decisions[row.decision or "none"]


def _plain(share: Share) -> dict[str, float | None]:
    return {"value": _number(share.value), "low": _number(share.low), "high": _number(share.high)}


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
