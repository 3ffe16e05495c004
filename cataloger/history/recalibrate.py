"""Composition root of `cataloger recalibrate`: confidences and decisions of a model's current calibration.

Nothing is read or classified again (`cataloger.history.recompute`). The new results are a run of their own, so that
they can be compared (`runs diff`) and reverted (`runs undo`) like any other.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select

from cataloger.adaptation import LabelSelection
from cataloger.db import Database
from cataloger.errors import UsageError
from cataloger.history.recompute import OutdatedResults
from cataloger.hooks import Hooks
from cataloger.ledger import (
    ProductResults,
    Run,
    SourceRef,
    find_source_id,
    hold_lease,
    known_calibration,
    model_ref,
    note_recomputed,
    pin_model,
    recorded_run,
)
from cataloger.model import Bundle
from cataloger.records import Prediction
from cataloger.schema import SourceRow
from cataloger.sinks import DatabaseSink

RecalibrationHooks = Hooks[[int]]
"""The progress callback receives how many results have been recomputed."""


@dataclass(slots=True)
class RecalibrationReport:
    """What was done. recomputed: results with new confidences. decisions: of these, accept, review, abstain -> count.

    unchanged: results that are of this calibration already. left: results that cannot be recomputed, because an older
    version that did not keep all scores made them, or because the image has failed to be read since. kept: sources
    that keep the calibration that was adapted to them.
    """

    run_id: int
    model: str
    sources: int = 0
    recomputed: int = 0
    unchanged: int = 0
    left: int = 0
    kept: list[str] = field(default_factory=list)
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
            "kept": self.kept,
            "interrupted": self.interrupted,
            "decisions": dict(self.decisions),
        }

    def counts(self) -> dict[str, Any]:
        """Return what is recorded in the run's row."""
        return {"done": self.recomputed, **self.as_json()}


def recalibrate_results(
    database: Database, bundle: Bundle, hooks: RecalibrationHooks | None = None, *, source: str | None = None
) -> RecalibrationReport:
    """Bring the results of a model to the calibration of a bundle of the same weights; run again to resume.

    source: name or root of the only one that gets it; without it all do that are not adapted. A source keeps the
    labels that it sells. Raises UsageError when no source shows results of these weights.
    """
    works = _sources(database, bundle, source)
    values = {name: value for name, value in bundle.calibration.to_json().items() if name != "adaptation"}
    options = {"model": bundle.title, "calibration_id": bundle.calibration_id, **values}
    with recorded_run(database, "recalibrate", options | ({"source": source} if source else {})) as run:
        run.report = report = RecalibrationReport(run.id, bundle.title)
        report.kept = [each.ref.root for each in works if each.is_kept]
        work = _Work(database, bundle, run, hooks or Hooks(), report, is_for_all=source is None)
        for each in works:
            if not each.is_kept:
                work.recompute(each)
    return report


def count_to_recompute(database: Database, bundle: Bundle, *, source: str | None = None) -> int:
    """Count the results that `recalibrate_results` would recompute. Raises as it does."""
    works = [each for each in _sources(database, bundle, source) if not each.is_kept]
    return sum(
        OutdatedResults(database, each.ref, model_ref(bundle, each.selection)).count_outdated() for each in works
    )


@dataclass(frozen=True, slots=True)
class _Recalibrated:
    """A source, and the labels that it sells. is_kept: it keeps the calibration that it is adapted by."""

    ref: SourceRef
    selection: LabelSelection
    is_kept: bool


def _sources(database: Database, bundle: Bundle, name: str | None) -> list[_Recalibrated]:
    query = select(SourceRow.__table__).where(SourceRow.weights_id == bundle.weights_id).order_by(SourceRow.id)
    wanted = find_source_id(database, name)
    rows = [row for row in database.rows(query) if wanted in (None, row.id)]
    if not rows:
        where = "no source here" if name is None else f"the source {name}"
        raise UsageError(
            f"{where} was{' not' if name else ''} tagged with the weights of {bundle.title}: a calibration is only "
            "valid for its weights. Name the model of the results with --model, or tag with this one first"
        )
    found = []
    for row in rows:
        base, selection = known_calibration(database, row.calibration_id, bundle.weights_id)
        is_adapted = base is not None and base.is_adapted
        ref = SourceRef(row.id, row.root, weights_id=bundle.weights_id, calibration_id=row.calibration_id)
        found.append(_Recalibrated(ref, selection, is_kept=name is None and is_adapted))
    return found


@dataclass(frozen=True, slots=True)
class _Work:
    database: Database
    bundle: Bundle
    run: Run
    hooks: RecalibrationHooks
    report: RecalibrationReport
    is_for_all: bool

    def recompute(self, each: _Recalibrated) -> None:
        """Recompute the results of one source."""
        source, model = each.ref, model_ref(self.bundle, each.selection)
        with hold_lease(self.database, source.id, self.run.id) as lease:
            pin_model(self.database, source, model, self.run.id, recalibrates=self.is_for_all)
            outdated = OutdatedResults(self.database, source, model)
            self.report.unchanged += outdated.count_current()
            self.report.left += outdated.count_left()
            sink = DatabaseSink(self.database, ProductResults(source, self.run.id, model), lease)
            for predictions in outdated.pages():
                if self.hooks.stop.is_set():
                    self.report.interrupted = True
                    return
                sink.write(predictions)
                self._add(predictions)
                self.hooks.progress(self.report.recomputed)
            self.database.write(note_recomputed, source.id)
        self.report.sources += 1

    def _add(self, predictions: Sequence[Prediction]) -> None:
        self.report.recomputed += len(predictions)
        self.report.decisions.update(each.decision for each in predictions if each.decision is not None)
