"""What the corrections of one source are worth so far: measured by the code of `adapt`, weighted to the catalog."""

from dataclasses import replace
from typing import Any

import numpy as np
from sqlalchemy import func, select

from cataloger.adaptation import LabelProgress, SourceCalibration, Standing, measure_labels, weigh
from cataloger.corrections.for_adapting import band_of, count_by_kind
from cataloger.corrections.labelled_images import ShopLabels, SourceScores, corrected_label, read_labelled
from cataloger.db import AnyRow, Database
from cataloger.ledger import bundle_of, known_calibration, known_model
from cataloger.model import Calibration
from cataloger.schema import CorrectionRow, CurrentCorrectionRow, ItemRow

TARGET = 0.95


def count_labelled(database: Database, source: AnyRow) -> int:
    """Count the images of a source that people have named a category of. source: its row."""
    query = (
        select(func.count())
        .select_from(CurrentCorrectionRow)
        .join(CorrectionRow, CorrectionRow.id == CurrentCorrectionRow.correction_id)
        .join(ItemRow, ItemRow.id == CurrentCorrectionRow.item_id)
        .where(ItemRow.source_id == source.id, CorrectionRow.verdict == "label")
    )
    return int(database.scalar(query) or 0)


def measure_label_worth(database: Database, source: AnyRow) -> LabelProgress:
    """Measure the answers of a source by its corrections, and what adapting to them would make of it.

    source: row of a tagged source. Raises TrainingError while there are too few corrections.
    """
    labels = read_labelled(SourceScores.of(database, source), corrected_label, only_corrected=True)
    shipped = _shipped(database, source, labels.labelled.labels)
    target = shipped.target_precision or TARGET
    return measure_labels(labels.labelled, _standing(database, source, labels), shipped, target=target)


def _shipped(database: Database, source: AnyRow, labels: tuple[str, ...]) -> Calibration:
    """Return the calibration of a source without an adaptation, for the labels that it sells."""
    base, selection = known_calibration(database, source.calibration_id, source.weights_id)
    if base is None:
        bundle = bundle_of(known_model(database, source.weights_id))
        base = Calibration() if bundle is None else bundle.calibration
    return SourceCalibration(replace(base, adaptation=None, allowed=None), labels, selection).of(None)


def _standing(database: Database, source: AnyRow, labels: ShopLabels) -> Standing:
    answers, known = labels.answers, labels.labelled.labels
    kinds: list[list[Any]] = [[each.label for each in answers], [band_of(each.margin) for each in answers]]
    return Standing(
        np.array([known.index(each.label) for each in answers]),
        np.array([each.decision == "accept" for each in answers]),
        weigh(kinds, count_by_kind(database, source)),
    )
