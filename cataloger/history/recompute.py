"""Answers recomputed from stored scores, where they are of another calibration than their source has.

No image is read or classified: every result keeps all scores of its image. The new results belong to the run that
recomputes, so that they can be compared and reverted like any other.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, case, func, literal, select

from cataloger.contracts import TOP_K
from cataloger.db import AnyRow, Database, is_among, row_pages
from cataloger.inference import STORED, Ranked, Scores, rank_by
from cataloger.ledger import ModelRef, SourceRef
from cataloger.records import Item as ItemRecord
from cataloger.records import Prediction, Renewal
from cataloger.schema import CurrentRow, ItemRow, ResultRow, paged_source_id

PAGE = 500


class MovedResults:
    """Counts how many more results are outdated when items are in other departments than it is recorded.

    outdated: of the source. It is called with what is to be renewed of known items, of each once.
    """

    def __init__(self, outdated: "OutdatedResults") -> None:
        self.count = 0
        self._outdated = outdated

    def __call__(self, renewals: Sequence[Renewal]) -> None:
        """Count those whose department is another one."""
        moved = {each.item_id: each.item.department for each in renewals if each.is_department}
        expected = self._outdated.model.calibration_id_of
        for row in self._outdated.of_items(list(moved)) if moved else ():
            self.count += row.calibration_id != expected(moved[row.id])
            self.count -= row.calibration_id != expected(row.department)


@dataclass(frozen=True, slots=True)
class OutdatedResults:
    """The current results of one source, and which of them are of another calibration than it has.

    model: with the calibration of the source. top_k: labels of an answer.
    """

    database: Database
    source: SourceRef
    model: ModelRef
    top_k: int = TOP_K

    def pages(self) -> Iterator[list[Prediction]]:
        """Yield what becomes of them, in pages by item."""
        columns = (
            ItemRow.id, ItemRow.key, ItemRow.uri, ItemRow.product_key, ItemRow.department, ResultRow.version_token,
            ResultRow.content_hash, ResultRow.width, ResultRow.height, ResultRow.log_sum_exp, ResultRow.scores,
            ResultRow.familiarity, ResultRow.decoder,
        )  # fmt: skip
        outdated = self._mine() & self._is_recomputable() & ~self._is_current()
        for page in row_pages(self.database, _joined(select(*columns)).where(outdated), ItemRow.id, PAGE):
            yield self._recomputed(page)

    def count_current(self) -> int:
        """Count the results that are of the calibration of the source already."""
        return self._count(self._is_current())

    def count_outdated(self) -> int:
        """Count those that `pages` would yield."""
        return self._count(self._is_recomputable() & ~self._is_current())

    def of_items(self, ids: Sequence[int]) -> Sequence[AnyRow]:
        """Return the results of items that can be recomputed: id and department of the item, and calibration_id."""
        known = _joined(select(ItemRow.id, ItemRow.department, ResultRow.calibration_id))
        mine = is_among(self.database.engine.dialect.name, ItemRow.id, ids)
        return self.database.rows(known.where(self._mine(), self._is_recomputable(), mine))

    def count_left(self) -> int:
        """Count those that are of another one and cannot be recomputed."""
        return self._count(~self._is_current() & ~self._is_recomputable())

    def _count(self, condition: ColumnElement[bool]) -> int:
        query = _joined(select(func.count())).where(self._mine(), condition)
        return int(self.database.scalar(query) or 0)

    def _mine(self) -> ColumnElement[bool]:
        shown = (paged_source_id(self.database) == self.source.id) & ItemRow.gone_run_id.is_(None)
        return shown & (CurrentRow.weights_id == self.model.weights_id) & (ResultRow.status == "ok")

    def _is_current(self) -> ColumnElement[bool]:
        plain = literal(self.model.calibration_id_of(None))
        calibration = self.model.calibration
        narrowed = {} if calibration is None else calibration.ids_by_department
        expected = case(narrowed, value=ItemRow.department, else_=plain) if narrowed else plain
        return ResultRow.calibration_id == expected

    def _is_recomputable(self) -> ColumnElement[bool]:
        """A result whose image has failed since stays: recomputing it would hide that failure from the next run."""
        size = len(self.model.labels) * STORED.itemsize
        kept = func.coalesce(func.length(ResultRow.scores), 0) == size
        return kept & (CurrentRow.latest_id == CurrentRow.result_id)

    def _recomputed(self, page: Sequence[AnyRow]) -> list[Prediction]:
        assert self.model.calibration is not None
        logits = np.stack([np.frombuffer(row.scores, STORED) for row in page])
        # One number for all, or none: a model measures how familiar an image is, or it does not.
        familiarity = [row.familiarity for row in page]
        known = None if None in familiarity else np.array(familiarity)
        calibrations = [self.model.calibration.of(row.department) for row in page]
        answers = rank_by(calibrations, Scores(logits, known), self.model.labels, self.top_k)
        return [_prediction(row, answer) for row, answer in zip(page, answers, strict=True)]


def _prediction(row: AnyRow, answer: Ranked) -> Prediction:
    item = ItemRecord(row.key, row.uri, row.version_token, product_key=row.product_key, department=row.department)
    return Prediction(
        item=item,
        content_hash=row.content_hash,
        width=row.width,
        height=row.height,
        labels=answer.labels,
        confidences=answer.confidences,
        logits=answer.logits,
        log_sum_exp=row.log_sum_exp,
        scores=row.scores,
        familiarity=row.familiarity,
        decision=answer.decision,
        decoder=row.decoder or "",
    )


def _joined(query: Any) -> Any:
    return (
        query.select_from(ItemRow)
        .join(CurrentRow, CurrentRow.item_id == ItemRow.id)
        .join(ResultRow, ResultRow.id == CurrentRow.result_id)
    )
