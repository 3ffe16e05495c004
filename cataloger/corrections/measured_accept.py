"""How right what is accepted in one source is, by labelled images of its own; and where its thresholds come from.

Thresholds that were learned on other shops promise a precision there. What they hold here, only labelled images of
this source tell: its corrections, or those that `cataloger adapt` has learned from.
"""

from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, case, func, select

from cataloger.db import Database
from cataloger.ledger import ModelRef
from cataloger.model import ShopFigures, shipped_bundle
from cataloger.schema import (
    IS_UNCHANGED,
    CorrectionRow,
    ItemRow,
    ResultRow,
    SourceRow,
    select_current,
    with_corrections,
    with_seen,
)
from cataloger.utils import Share, counted, wilson

LEAST_ACCEPTED = 10
"""Labelled images that are accepted. With fewer, all of them right, 30% of what is accepted may be wrong."""

Origin = Literal["other_shops", "model", "source"]
ORIGINS: dict[Origin, str] = {
    "other_shops": "other shops",
    "model": "the images that the model was validated on",
    "source": "labelled images of this source",
}


@dataclass(frozen=True, slots=True)
class MeasuredAccept:
    """What is known of accept in one source. source: its name. thresholds_from: see ORIGINS.

    labelled: images with a correction of what they show now or, where `adapt` has learned from more, those. accepted:
    of these. right: of the accepted. An image that a correction says shows no product is never right.
    """

    source: str
    thresholds_from: Origin
    labelled: int
    accepted: int
    right: int

    @property
    def is_measured(self) -> bool:
        """True when enough of the accepted images are labelled."""
        return self.accepted >= LEAST_ACCEPTED

    @property
    def precision(self) -> Share:
        """The share of the accepted that is right, with its interval."""
        return wilson(self.right, self.accepted)

    def line(self) -> str:
        """Say it in one line, without the name of the source."""
        if self.is_measured:
            share = self.precision
            return (
                f"right of what is accepted: {share.value:.1%} ({share.low:.1%} to {share.high:.1%}), measured on "
                f"{self.accepted:,} labelled images"
            )
        accepted = f", {self.accepted:,} accepted" if self.labelled else ""
        return (
            f"accept is not measured here, its thresholds are from {ORIGINS[self.thresholds_from]} "
            f"({counted(self.labelled, 'labelled image')}{accepted})"
        )

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "source": self.source,
            "thresholds_from": self.thresholds_from,
            "is_measured": self.is_measured,
            "labelled": self.labelled,
            "accepted": self.accepted,
            "right": self.right,
            "precision": self.precision.as_json(),
        }


def measure_accept(database: Database, source_id: int, model: ModelRef) -> MeasuredAccept:
    """Count the labelled images of a source by whether a model accepts them, and is right.

    model: with the calibration of the source; results of another one are not counted.
    """
    return database.fetch(_measure, source_id, model)


def _measure(connection: Connection, source_id: int, model: ModelRef) -> MeasuredAccept:
    name = str(connection.scalar(select(SourceRow.name).where(SourceRow.id == source_id)))
    learned = model.calibration.base.learned_in if model.calibration else None
    found = MeasuredAccept(name, _origin(name, model, learned), *_counts(connection, source_id, model))
    if learned is not None and learned.source == name and learned.accepted > found.accepted:
        return MeasuredAccept(name, found.thresholds_from, learned.labelled, learned.accepted, learned.right)
    return found


def _origin(source: str, model: ModelRef, learned: ShopFigures | None) -> Origin:
    if learned is not None:
        return "source" if learned.source == source else "other_shops"
    shipped = shipped_bundle(model.weights_id)
    if shipped is None:
        return "model"
    known = model.calibration  # an older ledger has nothing but its identity
    is_same = (
        shipped.calibration.thresholds == known.base.thresholds
        if known
        else shipped.calibration_id == model.calibration_id
    )
    return "other_shops" if is_same else "model"


def _counts(connection: Connection, source_id: int, model: ModelRef) -> tuple[int, int, int]:
    """Return how many images are labelled; of these, accepted; of these, right."""
    departments = model.calibration.ids_by_department.values() if model.calibration else ()
    calibrations = {model.calibration_id_of(None), *departments}
    is_accepted = ResultRow.decision == "accept"
    is_right = (CorrectionRow.verdict == "label") & (CorrectionRow.label == ResultRow.label_1)
    query = select_current(
        func.count(),
        func.coalesce(func.sum(case((is_accepted, 1), else_=0)), 0),
        func.coalesce(func.sum(case((is_accepted & is_right, 1), else_=0)), 0),
    ).where(ItemRow.source_id == source_id, ResultRow.status == "ok", ResultRow.weights_id == model.weights_id)
    mine = query.where(ResultRow.calibration_id.in_(calibrations), IS_UNCHANGED)
    labelled, accepted, right = connection.execute(with_seen(with_corrections(mine, only=True))).one()
    return int(labelled), int(accepted), int(right)
