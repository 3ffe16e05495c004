"""The queries of a report: current answers, or those of one run, counted and sampled in the database.

Every query scans the answers at most once and returns few rows, so that a million images cost time, not memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    String,
    Subquery,
    and_,
    case,
    func,
    literal_column,
    null,
    or_,
    select,
    type_coerce,
)

from cataloger.contracts import TOP_K
from cataloger.db import AnyRow, Database, slices
from cataloger.schema import (
    ANSWER,
    IMAGE_TOP5,
    CorrectionRow,
    ItemRow,
    ResultRow,
    SourceRow,
    key_hash,
    select_current,
    with_corrections,
)

BINS = 20
"""Number of bins of the histogram of confidences, from 0 to 1."""
FROM_VIEW = ("source", "key", "uri", "product_key", "status", "error_code", "decision", *ANSWER, "corrected_by")
"""Columns that a report reads from the view; `RunAnswers` reads the same from the tables."""
LOOKED_UP = 500


@dataclass(frozen=True, slots=True)
class Origin:
    """A source, and the model whose answers are reported. weights_id: of the model; model: its name and version."""

    id: int
    kind: str
    name: str
    weights_id: str
    model: str


@dataclass(frozen=True, slots=True)
class CorrectionRef:
    """Author and label of the current correction of an image. label: None if the image shows no product."""

    by: str
    label: str | None


@dataclass(frozen=True, slots=True)
class ReportImage:
    """One image with its answer. answers: label and confidence, best first; empty where it failed.

    item_id, content_hash: None if they are no longer in the ledger. said: its current correction, first in `answers`
    if these are the current ones. found: the model's answer.
    """

    source: str
    key: str
    uri: str
    product_key: str | None = None
    decision: str | None = None
    answers: tuple[tuple[str, float], ...] = ()
    error_code: str | None = None
    error_text: str | None = None
    item_id: int | None = None
    content_hash: str | None = None
    said: CorrectionRef | None = None
    found: tuple[str, float] | None = None


class AnswerQueries:
    """The answers of some sources; `CurrentAnswers` and `RunAnswers` select them."""

    def __init__(self, database: Database, origins: Sequence[Origin]) -> None:
        self.origins = tuple(origins)
        self.database = database
        self._table = self._answers()

    def _answers(self) -> Subquery:
        """Return the answers, with the columns FROM_VIEW."""
        raise NotImplementedError

    def results(self, *columns: Any) -> Select[Any]:
        """Select from the items, their sources and the reported results."""
        raise NotImplementedError

    def overview(self) -> Sequence[AnyRow]:
        """Count the images by status, error_code, decision, label, is_said and bin of the confidence, 0 to BINS - 1.

        is_said: 1 if the answer is a correction, which has no confidence.
        """
        answers = self._table.c
        names = ("status", "error_code", "decision", "label_1")
        is_said = case((answers.corrected_by.is_not(None), 1), else_=0)
        binned = select(
            *(answers[name] for name in names), is_said.label("is_said"), _bin(answers.confidence_1).label("bin")
        ).subquery("binned")
        columns = [*(binned.c[name] for name in names), binned.c.is_said, binned.c.bin]
        return self.database.rows(select(*columns, func.count().label("images")).group_by(*columns))

    def least_confident(self, count: int) -> list[ReportImage]:
        """Return the images with the least confident answers, in this order, without corrected ones."""
        answers = self._table.c
        of_model = (answers.status == "ok", answers.label_1.is_not(None), answers.corrected_by.is_(None))
        query = select(self._table).where(*of_model).order_by(answers.confidence_1, answers.key)
        return self._shown(self.database.rows(query.limit(count)))

    def at_places(self, places: dict[str, Sequence[int]]) -> dict[str, list[ReportImage]]:
        """Return the images at some places of each category, which is sorted by confidence, the least one first.

        places: for each label, counted from 1.
        """
        answers = self._table.c
        place = func.row_number().over(partition_by=answers.label_1, order_by=(answers.confidence_1, answers.key))
        ranked = select(self._table, place.label("place")).where(answers.status == "ok").subquery("ranked")
        wanted = [
            and_(ranked.c.label_1 == label, ranked.c.place.in_(numbers))
            for label, numbers in places.items()
            if numbers
        ]
        found: dict[str, list[ReportImage]] = {label: [] for label in places}
        if not wanted:
            return found
        # MariaDB counts "cap" and "Cap", which people may have said, as one category.
        counted = {label.casefold().rstrip(): label for label in places}
        highest = max(max(numbers, default=0) for numbers in places.values())
        query = (
            select(ranked).where(ranked.c.place <= highest, or_(*wanted)).order_by(ranked.c.label_1, ranked.c.place)
        )
        for shown in self._shown(self.database.rows(query)):
            label = shown.answers[0][0]
            found[label if label in found else counted[label.casefold().rstrip()]].append(shown)
        return found

    def failures(self, count: int) -> list[ReportImage]:
        """Return at most `count` images of each error code, in the order of code and key."""
        answers = self._table.c
        place = func.row_number().over(partition_by=answers.error_code, order_by=answers.key)
        ranked = select(self._table, place.label("place")).where(answers.status == "failed").subquery("ranked")
        query = select(ranked).where(ranked.c.place <= count).order_by(ranked.c.error_code, ranked.c.place)
        return self._shown(self.database.rows(query))

    def _shown(self, rows: Sequence[AnyRow]) -> list[ReportImage]:
        details = self._details([(row.source, row.key) for row in rows])
        return [_with_details(shown_of(row), details.get((row.source, row.key))) for row in rows]

    def _details(self, names: Sequence[tuple[str, str]]) -> dict[tuple[str, str], AnyRow]:
        """Look images up by the hashes of their keys, which are indexed; keys themselves are not."""
        columns = (
            ItemRow.id,
            ItemRow.key,
            ResultRow.content_hash,
            ResultRow.error_text,
            ResultRow.label_1,
            ResultRow.confidence_1,
        )
        query = with_corrections(self.results(*columns, CorrectionRow.author, CorrectionRow.label))
        found: dict[tuple[str, str], AnyRow] = {}
        for origin in self.origins:
            keys = [key for source, key in names if source == origin.name]
            mine = query.where(ItemRow.source_id == origin.id)
            for some in slices(keys, LOOKED_UP):
                hashes = list(map(key_hash, some))
                rows = self.database.rows(mine.where(ItemRow.key_hash.in_(hashes)))
                found |= {(origin.name, row.key): row for row in rows}
        return found


class CurrentAnswers(AnswerQueries):
    """The current answers: corrections, and for the other images those of the pinned models."""

    def _answers(self) -> Subquery:
        columns = [IMAGE_TOP5.c[name] for name in FROM_VIEW]
        names = [origin.name for origin in self.origins]
        return select(*columns).where(IMAGE_TOP5.c.source.in_(names)).subquery("answers")

    def results(self, *columns: Any) -> Select[Any]:
        """Select from the present items, their sources and the current results, as the view does."""
        return select_current(*columns).where(ItemRow.source_id.in_([origin.id for origin in self.origins]))


class RunAnswers(AnswerQueries):
    """The answers that one run recorded, which may not be current."""

    def __init__(self, database: Database, origins: Sequence[Origin], run_id: int) -> None:
        self._run_id = run_id
        super().__init__(database, origins)

    def _answers(self) -> Subquery:
        pairs = [getattr(ResultRow, name) for name in ANSWER]
        # The results of a run are never corrections.
        nobody = type_coerce(null(), String()).label("corrected_by")
        of_item = (SourceRow.name.label("source"), ItemRow.key, ItemRow.uri, ItemRow.product_key)
        query = self.results(*of_item, ResultRow.status, ResultRow.error_code, ResultRow.decision, *pairs, nobody)
        return query.subquery("answers")

    def results(self, *columns: Any) -> Select[Any]:
        """Select from the results of the run, their items and sources."""
        query = select(*columns).select_from(ResultRow).join(ItemRow, ItemRow.id == ResultRow.item_id)
        query = query.join(SourceRow, SourceRow.id == ItemRow.source_id)
        return query.where(
            ResultRow.run_id == self._run_id, ItemRow.source_id.in_([origin.id for origin in self.origins])
        )


def shown_of(row: AnyRow) -> ReportImage:
    """Return an image from a row with the columns of `cataloger_image_top5`."""
    pairs = [(getattr(row, f"label_{rank}"), getattr(row, f"confidence_{rank}")) for rank in range(1, TOP_K + 1)]
    answers = tuple((label, confidence) for label, confidence in pairs if label is not None)
    return ReportImage(row.source, row.key, row.uri, row.product_key, row.decision, answers, row.error_code)


def _with_details(shown: ReportImage, row: AnyRow | None) -> ReportImage:
    if row is None:
        return shown
    return replace(
        shown,
        item_id=row.id,
        content_hash=row.content_hash,
        error_text=row.error_text,
        said=None if row.author is None else CorrectionRef(row.author, row.label),
        found=None if row.label_1 is None else (row.label_1, row.confidence_1),
    )


def _bin(confidence: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return the number of the bin of a confidence; engines do not agree on how a number becomes an integer."""
    # Literal numbers, since PostgreSQL takes two parameters for two expressions.
    edges: list[tuple[ColumnElement[bool], ColumnElement[Any]]] = [
        (confidence < literal_column(str((number + 1) / BINS)), literal_column(str(number)))
        for number in range(BINS - 1)
    ]
    return case((confidence.is_(None), null()), *edges, else_=literal_column(str(BINS - 1)))
