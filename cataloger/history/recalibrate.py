"""Composition root of `cataloger recalibrate`: confidences and decisions of a model's current calibration.

Nothing is read or classified again: every result keeps all scores of its image. The new results are a run of their
own, so that they can be compared (`runs diff`) and reverted (`runs undo`) like any other.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, func, select

from cataloger.contracts import TOP_K
from cataloger.db import AnyRow, Database, row_pages
from cataloger.errors import UsageError
from cataloger.hooks import Hooks
from cataloger.inference import STORED, Ranking
from cataloger.ledger import ModelRef, ProductResults, Run, SourceRef, hold_lease, model_ref, pin_model, recorded_run
from cataloger.model import Bundle
from cataloger.records import Item as ItemRecord
from cataloger.records import Prediction
from cataloger.schema import CurrentRow, ItemRow, ResultRow, SourceRow, paged_source_id
from cataloger.sinks import DatabaseSink

PAGE = 500

RecalibrationHooks = Hooks[[int]]
"""The progress callback receives how many results have been recomputed."""


@dataclass(slots=True)
class RecalibrationReport:
    """What was done. recomputed: results with new confidences. decisions: of these, accept, review, abstain -> count.

    unchanged: results that are of this calibration already. left: results that cannot be recomputed, because an older
    version that did not keep all scores made them, or because the image has failed to be read since.
    """

    run_id: int
    model: str
    sources: int = 0
    recomputed: int = 0
    unchanged: int = 0
    left: int = 0
    interrupted: bool = False
    decisions: Counter[str] = field(default_factory=Counter)

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        return {
            "run_id": self.run_id,
            "model": self.model,
            "sources": self.sources,
            "renewed": self.recomputed,
            "unchanged": self.unchanged,
            "left": self.left,
            "interrupted": self.interrupted,
            "decisions": dict(self.decisions),
        }

    def counts(self) -> dict[str, Any]:
        """Return what is recorded in the run's row."""
        return {"done": self.recomputed, **self.as_json()}


def recalibrate_results(
    database: Database, bundle: Bundle, hooks: RecalibrationHooks | None = None
) -> RecalibrationReport:
    """Bring the results of a model to the calibration of a bundle of the same weights; run again to resume.

    Raises UsageError when no source shows results of these weights.
    """
    sources = _sources(database, bundle)
    options = {"model": bundle.title, "calibration_id": bundle.calibration_id, **bundle.calibration.to_json()}
    with recorded_run(database, "recalibrate", options) as run:
        run.report = report = RecalibrationReport(run.id, bundle.title)
        work = _Work(database, bundle, run, hooks or Hooks(), report)
        for source in sources:
            work.recompute(source)
    return report


def _sources(database: Database, bundle: Bundle) -> list[SourceRef]:
    query = (
        select(SourceRow.id, SourceRow.root).where(SourceRow.weights_id == bundle.weights_id).order_by(SourceRow.id)
    )
    rows = database.rows(query)
    if not rows:
        raise UsageError(
            f"no source here was tagged with the weights of {bundle.title}: a calibration is only valid for its "
            "weights. Name the model of the results with --model, or tag with this one first"
        )
    return [SourceRef(row.id, row.root, weights_id=bundle.weights_id) for row in rows]


@dataclass(frozen=True, slots=True)
class _Work:
    database: Database
    bundle: Bundle
    run: Run
    hooks: RecalibrationHooks
    report: RecalibrationReport

    def recompute(self, source: SourceRef) -> None:
        """Recompute the results of one source."""
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
                predictions = [self._recomputed(row) for row in page]
                sink.write(predictions)
                self._add(predictions)
                self.hooks.progress(self.report.recomputed)
        self.report.sources += 1

    def _pages(self, source: SourceRef, model: ModelRef) -> Iterator[Sequence[AnyRow]]:
        """Yield results that are to be recomputed, in pages by item."""
        columns = (
            ItemRow.id, ItemRow.key, ItemRow.uri, ItemRow.product_key, ResultRow.version_token,
            ResultRow.content_hash, ResultRow.width, ResultRow.height, ResultRow.log_sum_exp, ResultRow.scores,
            ResultRow.familiarity,
        )  # fmt: skip
        mine = self._of(source) & self._is_recomputable() & (ResultRow.calibration_id != model.calibration_id)
        return row_pages(self.database, _joined(select(*columns)).where(mine), ItemRow.id, PAGE)

    def _recomputed(self, row: AnyRow) -> Prediction:
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
        """Count the results that are of this calibration already, and those that cannot be recomputed."""
        old = ResultRow.calibration_id != self.bundle.calibration_id
        for condition, name in ((~old, "unchanged"), (old & ~self._is_recomputable(), "left")):
            query = _joined(select(func.count())).where(self._of(source), condition)
            found = self.database.scalar(query) or 0
            setattr(self.report, name, getattr(self.report, name) + found)

    def _of(self, source: SourceRef) -> ColumnElement[bool]:
        shown = (paged_source_id(self.database) == source.id) & ItemRow.gone_run_id.is_(None)
        return shown & (CurrentRow.weights_id == self.bundle.weights_id) & (ResultRow.status == "ok")

    def _is_recomputable(self) -> ColumnElement[bool]:
        """A result whose image has failed since stays: recomputing it would hide that failure from the next run."""
        size = len(self.bundle.labels) * STORED.itemsize
        kept = func.coalesce(func.length(ResultRow.scores), 0) == size
        return kept & (CurrentRow.latest_id == CurrentRow.result_id)

    def _add(self, predictions: list[Prediction]) -> None:
        self.report.recomputed += len(predictions)
        self.report.decisions.update(each.decision for each in predictions if each.decision is not None)


def _joined(query: Any) -> Any:
    return (
        query.select_from(ItemRow)
        .join(CurrentRow, CurrentRow.item_id == ItemRow.id)
        .join(ResultRow, ResultRow.id == CurrentRow.result_id)
    )
