"""Corrections of the images of a report: authors, counts, and how often the model was right."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, case, func, select

from cataloger.report.queries import AnswerQueries, CorrectionRef
from cataloger.schema import (
    IS_UNCHANGED,
    CorrectionRow,
    CurrentCorrectionRow,
    ItemRow,
    ResultRow,
    with_corrections,
    with_seen,
)
from cataloger.utils import Share, sum_by_person, wilson


@dataclass(frozen=True, slots=True)
class Author:
    """Current corrections of one person. no_product: of these, how many mark the image as no product.

    judged: those that name the category of an image that has an answer and has not changed since. agreed: of these,
    how many name the model's best label.
    """

    name: str
    corrections: int
    no_product: int
    judged: int
    agreed: int

    @property
    def share(self) -> Share:
        """How often the model was right, with its interval."""
        return wilson(self.agreed, self.judged)

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        counts = {"no_product": self.no_product, "judged": self.judged, "agreed": self.agreed}
        return {"name": self.name, "words": self.corrections, **counts}


def authors(answers: AnswerQueries) -> tuple[Author, ...]:
    """Count the current corrections of the images of a report against its answers; most corrections first."""
    is_judged = and_(CorrectionRow.verdict == "label", ResultRow.status == "ok", IS_UNCHANGED)
    counted = {
        "no_product": CorrectionRow.verdict == "not_product",
        "judged": is_judged,
        "agreed": and_(is_judged, CorrectionRow.label == ResultRow.label_1),
    }
    sums = [func.sum(case((condition, 1), else_=0)).label(name) for name, condition in counted.items()]
    said = with_corrections(
        answers.results(CorrectionRow.author, func.count().label("corrections"), *sums), only=True
    )
    query = with_seen(said).group_by(CorrectionRow.author)
    found = {
        row.author: {name: int(row._mapping[name]) for name in ("corrections", *counted)}
        for row in answers.database.rows(query)
    }
    people = [Author(name, **counts) for name, counts in sum_by_person(found, "corrections").items()]
    return tuple(sorted(people, key=lambda each: (-each.corrections, each.name)))


@dataclass(frozen=True, slots=True)
class CategoryAccuracy:
    """Images that the model put into a category and people have judged since. agreed: of these, it was right."""

    judged: int
    agreed: int

    @property
    def share(self) -> Share:
        """How often the model was right, with its interval."""
        return wilson(self.agreed, self.judged)


def accuracy_by_category(answers: AnswerQueries) -> dict[str, CategoryAccuracy]:
    """Measure each category of the model by corrections. An image that shows no product is a mistake."""
    is_right = and_(CorrectionRow.verdict == "label", CorrectionRow.label == ResultRow.label_1)
    sums = (func.count().label("judged"), func.sum(case((is_right, 1), else_=0)).label("agreed"))
    said = with_corrections(answers.results(ResultRow.label_1, *sums), only=True)
    query = with_seen(said).where(ResultRow.status == "ok", IS_UNCHANGED).group_by(ResultRow.label_1)
    rows = answers.database.rows(query)
    return {row.label_1: CategoryAccuracy(int(row.judged), int(row.agreed)) for row in rows}


def corrections_since(connection: Connection, sources: Sequence[int], then: datetime) -> int:
    """Count the images of some sources that people have corrected or confirmed after a time."""
    query = select(func.count(CorrectionRow.item_id.distinct())).join(ItemRow, ItemRow.id == CorrectionRow.item_id)
    query = query.where(ItemRow.source_id.in_(sources), CorrectionRow.corrected_at > then)
    return connection.scalar(query.where(CorrectionRow.verdict != "withdrawn")) or 0


def corrections_of(connection: Connection, item_ids: Sequence[int]) -> dict[int, CorrectionRef]:
    """Return the current corrections of some images, by item."""
    query = select(CorrectionRow.item_id, CorrectionRow.author, CorrectionRow.label)
    query = query.join(CurrentCorrectionRow, CurrentCorrectionRow.correction_id == CorrectionRow.id).where(
        CurrentCorrectionRow.item_id.in_(item_ids)
    )
    return {row.item_id: CorrectionRef(row.author, row.label) for row in connection.execute(query)}
