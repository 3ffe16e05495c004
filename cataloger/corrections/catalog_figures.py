"""How many images of a source have an answer, and how many of these a person should look at."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import case, func, select

from cataloger.contracts import DECISIONS
from cataloger.db import AnyRow, Database
from cataloger.schema import CorrectionRow, ResultRow, SourceRow, select_current, with_corrections

ACCEPT, REVIEW = DECISIONS[0], DECISIONS[1]


@dataclass(slots=True)
class CatalogFigures:
    """The images of a source that are in the views.

    images: with an answer, of the model or of people. failed: without one. decisions: of the model -> number, without
    those that people have corrected. corrected: whose current answer people have given.
    """

    source: str
    images: int = 0
    failed: int = 0
    decisions: Counter[str] = field(default_factory=Counter)
    corrected: int = 0

    @property
    def accepted_share(self) -> float | None:
        """Share of all images whose answer is accepted or given by people; None without images."""
        total = self.images + self.failed
        return (self.decisions[ACCEPT] + self.corrected) / total if total else None

    def as_json(self) -> dict[str, Any]:
        """Return the figures as plain JSON values."""
        share = self.accepted_share
        return {
            "source": self.source,
            "images": self.images,
            "failed": self.failed,
            "decisions": {name: self.decisions[name] for name in DECISIONS},
            "corrected": self.corrected,
            "review_queue": self.decisions[REVIEW],
            "accepted_share": None if share is None else round(share, 6),
        }


def count_catalog(database: Database, sources: Sequence[int]) -> list[CatalogFigures]:
    """Count the images of some sources, in one query that reads all of their current results."""
    is_corrected = case((CorrectionRow.id.is_not(None), 1), else_=0).label("is_corrected")
    current = select_current(SourceRow.id, ResultRow.status, ResultRow.decision, is_corrected)
    groups = with_corrections(current).where(SourceRow.id.in_(sources)).subquery()
    columns = (groups.c.id, groups.c.status, groups.c.decision, groups.c.is_corrected)
    query = select(*columns, func.count().label("images")).group_by(*columns)
    sought = select(SourceRow.id, SourceRow.name).where(SourceRow.id.in_(sources))
    names: dict[int, str] = {row.id: row.name for row in database.rows(sought)}
    figures = {number: CatalogFigures(names[number]) for number in sources if number in names}
    for row in database.rows(query):
        _add(figures[row.id], row)
    return list(figures.values())


def _add(figures: CatalogFigures, row: AnyRow) -> None:
    if row.is_corrected:
        figures.images += row.images
        figures.corrected += row.images
    elif row.status == "ok":
        figures.images += row.images
        if row.decision is not None:
            figures.decisions[row.decision] += row.images
    else:
        figures.failed += row.images
