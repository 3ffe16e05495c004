"""Counts of corrections: by author, and how often the model gave the same answer."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, case, func, select

from cataloger.db import Database
from cataloger.schema import CorrectionRow, CurrentCorrectionRow, ItemRow, ResultRow, select_current
from cataloger.utils import sum_by_person


@dataclass(frozen=True, slots=True)
class AuthorSummary:
    """Current corrections of one author. judged: those of a model's answer; agreed: equal to its best label."""

    author: str
    corrections: int
    not_product: int
    judged: int
    agreed: int

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "author": self.author,
            "words": self.corrections,
            "not_product": self.not_product,
            "judged": self.judged,
            "agreed": self.agreed,
        }


@dataclass(frozen=True, slots=True)
class CorrectionSummary:
    """Current corrections by author, most first. ever: all, replaced ones included. images: present ones."""

    authors: tuple[AuthorSummary, ...]
    ever: int
    images: int

    @property
    def total(self) -> AuthorSummary:
        """All authors together."""
        sums = (sum(getattr(each, name) for each in self.authors) for name in AuthorSummary.__slots__[1:])
        return AuthorSummary("all", *sums)

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        authors = [each.as_json() for each in self.authors]
        return {"authors": authors, "all": self.total.as_json(), "ever": self.ever, "images": self.images}


def summarize(database: Database, source_id: int | None = None) -> CorrectionSummary:
    """Count the corrections of images of one source, or of all."""
    return database.fetch(_summarize, source_id)


def _summarize(connection: Connection, source_id: int | None) -> CorrectionSummary:
    mine = [] if source_id is None else [ItemRow.source_id == source_id]
    is_judged = (CorrectionRow.verdict == "label") & ResultRow.label_1.is_not(None)
    counted = (
        select(
            CorrectionRow.author,
            func.count().label("corrections"),
            func.sum(case((CorrectionRow.verdict == "not_product", 1), else_=0)).label("not_product"),
            func.sum(case((is_judged, 1), else_=0)).label("judged"),
            func.sum(case((is_judged & (CorrectionRow.label == ResultRow.label_1), 1), else_=0)).label("agreed"),
        )
        .join(CurrentCorrectionRow, CurrentCorrectionRow.correction_id == CorrectionRow.id)
        .join(ItemRow, ItemRow.id == CorrectionRow.item_id)
        .join(ResultRow, ResultRow.id == CorrectionRow.result_id, isouter=True)
        .where(*mine)
        .group_by(CorrectionRow.author)
    )
    found = {
        row.author: {name: int(row._mapping[name]) for name in AuthorSummary.__slots__[1:]}
        for row in connection.execute(counted)
    }
    authors = [AuthorSummary(name, **counts) for name, counts in sum_by_person(found, "corrections").items()]
    ever = (
        select(func.count())
        .select_from(CorrectionRow)
        .join(ItemRow, ItemRow.id == CorrectionRow.item_id)
        .where(*mine)
    )
    images = select_current(func.count()).where(*mine)
    ordered = sorted(authors, key=lambda each: (-each.corrections, each.author))
    return CorrectionSummary(tuple(ordered), connection.scalar(ever) or 0, connection.scalar(images) or 0)
