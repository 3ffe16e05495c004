"""Composition root of `cataloger recalibrate`: confidences and decisions of a model's present calibration.

Nothing is read or classified again: every result keeps all scores of its image. The new results are a run of their
own, so that they can be compared (`runs diff`) and taken back (`runs undo`) like any other.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, func, select

from cataloger.bundle import Bundle
from cataloger.classify.base import STORED, Ranking
from cataloger.contracts import TOP_K
from cataloger.db.database import Database
from cataloger.db.models import Current, Item, Result, Source
from cataloger.db.paging import paged_source_id, row_pages
from cataloger.db.types import AnyRow
from cataloger.errors import UsageError
from cataloger.hooks import Hooks
from cataloger.lease import hold_lease
from cataloger.ledger import ModelRef, SourceRef, model_ref, pin_model
from cataloger.product_results import ProductResults
from cataloger.records import Item as ItemRecord
from cataloger.records import Prediction
from cataloger.runs import Run, recorded_run
from cataloger.sinks.database import DatabaseSink

PAGE = 500

RecalibrationHooks = Hooks[[int]]
"""Progress is told how many results have been renewed."""


@dataclass(slots=True)
class RecalibrationReport:
    """What was done. renewed: results with new confidences. decisions: of these, accept, review, abstain -> number.

    unchanged: results that are of this calibration already. left: results that cannot follow, since they were made by
    an older version that did not keep all scores, or since the image has failed to be read since.
    """

    run_id: int
    model: str
    sources: int = 0
    renewed: int = 0
    unchanged: int = 0
    left: int = 0
    interrupted: bool = False
    decisions: Counter[str] = field(default_factory=Counter)

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        return {**asdict(replace(self, decisions=Counter())), "decisions": dict(self.decisions)}

    def counts(self) -> dict[str, Any]:
        """Return what the run's row is to hold."""
        return {"done": self.renewed, **self.as_json()}


def recalibrate(database: Database, bundle: Bundle, hooks: RecalibrationHooks | None = None) -> RecalibrationReport:
    """Bring the results of a model to the calibration of a bundle of the same weights; run again to go on.

    Raises UsageError when no source shows results of these weights.
    """
    sources = _sources(database, bundle)
    options = {"model": bundle.title, "calibration_id": bundle.calibration_id, **bundle.calibration.to_json()}
    with recorded_run(database, "recalibrate", options) as run:
        run.report = report = RecalibrationReport(run.id, bundle.title)
        work = _Work(database, bundle, run, hooks or Hooks(), report)
        for source in sources:
            work.renew(source)
    return report


def _sources(database: Database, bundle: Bundle) -> list[SourceRef]:
    query = select(Source.id, Source.root).where(Source.weights_id == bundle.weights_id).order_by(Source.id)
    rows = database.rows(query)
    if not rows:
        raise UsageError(
            f"nothing here was tagged with the weights of {bundle.title}: a calibration belongs to its weights. "
            "Name the model that the results are of with --model, or tag with this one first"
        )
    return [SourceRef(row.id, row.root, weights_id=bundle.weights_id) for row in rows]


@dataclass(frozen=True, slots=True)
class _Work:
    database: Database
    bundle: Bundle
    run: Run
    hooks: RecalibrationHooks
    report: RecalibrationReport

    def renew(self, source: SourceRef) -> None:
        """Renew the results of one source."""
        model = model_ref(self.bundle)
        with hold_lease(self.database, source.id, self.run.id) as lease:
            pin_model(self.database, source, model, self.run.id, recalibrates=True)
            self._count(source)
            products = ProductResults(source, self.run.id, model)
            sink = DatabaseSink(self.database, products, lease)
            for page in self._pages(source, model):
                if self.hooks.stop.is_set():
                    self.report.interrupted = True
                    return
                predictions = [self._renewed(row) for row in page]
                sink.write(predictions)
                self._add(predictions)
                self.hooks.progress(self.report.renewed)
        self.report.sources += 1

    def _pages(self, source: SourceRef, model: ModelRef) -> Iterator[Sequence[AnyRow]]:
        """Return results that are to be renewed, in pages by item."""
        columns = (
            Item.id, Item.key, Item.uri, Item.product_key, Result.version_token, Result.content_hash,
            Result.width, Result.height, Result.log_sum_exp, Result.scores, Result.familiarity,
        )  # fmt: skip
        mine = self._of(source) & self._follows() & (Result.calibration_id != model.calibration_id)
        return row_pages(self.database, _joined(select(*columns)).where(mine), Item.id, PAGE)

    def _renewed(self, row: AnyRow) -> Prediction:
        logits = np.frombuffer(row.scores, STORED)
        answer = Ranking(self.bundle.labels, self.bundle.calibration, TOP_K).of(logits, row.familiarity)
        return Prediction(
            item=ItemRecord(row.key, row.uri, row.version_token, product_key=row.product_key),
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
        )

    def _count(self, source: SourceRef) -> None:
        """Count what is as it should be, and what cannot follow."""
        old = Result.calibration_id != self.bundle.calibration_id
        for condition, name in ((~old, "unchanged"), (old & ~self._follows(), "left")):
            query = _joined(select(func.count())).where(self._of(source), condition)
            found = self.database.scalar(query) or 0
            setattr(self.report, name, getattr(self.report, name) + found)

    def _of(self, source: SourceRef) -> ColumnElement[bool]:
        shown = (paged_source_id(self.database) == source.id) & Item.gone_run_id.is_(None)
        return shown & (Current.weights_id == self.bundle.weights_id) & (Result.status == "ok")

    def _follows(self) -> ColumnElement[bool]:
        """A result whose image has failed since stays: renewing it would hide that failure from the next run."""
        size = len(self.bundle.labels) * STORED.itemsize
        kept = func.coalesce(func.length(Result.scores), 0) == size
        return kept & (Current.latest_id == Current.result_id)

    def _add(self, predictions: list[Prediction]) -> None:
        self.report.renewed += len(predictions)
        self.report.decisions.update(each.decision for each in predictions if each.decision is not None)


def _joined(query: Any) -> Any:
    return (
        query.select_from(Item).join(Current, Current.item_id == Item.id).join(Result, Result.id == Current.result_id)
    )
