"""The models that are recorded in the ledger, which of them a source's views show, and where their bundles are."""

from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import Connection, select, update

from cataloger.adaptation import LabelSelection, SourceCalibration
from cataloger.db import Database, upsert_rows, utc_now
from cataloger.errors import CatalogerError
from cataloger.ledger.effective_results import pin, select_calibration_id
from cataloger.ledger.source_registry import SourceRef
from cataloger.model import Bundle, Calibration, location_of, read_bundle, resolve_bundle_path, shipped_bundle
from cataloger.objects import is_object_address
from cataloger.schema import CalibrationRow, ModelRow, SourceRow


@dataclass(frozen=True, slots=True)
class ModelRef:
    """The model that results are recorded under.

    location: "default", NAME@VERSION, a directory, or an address in an object store. precision: of the arithmetic,
    e.g. "fp32". calibration_id: of the bundle. calibration: of the source, with the labels that it sells; None where
    it has none of its own, or where it is not known.
    """

    weights_id: str
    calibration_id: str
    name: str
    version: str
    location: str
    labels: tuple[str, ...]
    precision: str = "fp32"
    calibration: SourceCalibration | None = None

    def labels_of(self, department: str | None) -> tuple[str, ...]:
        """Return the labels that can be the answer for products of a department, or of none."""
        return self.labels if self.calibration is None else self.calibration.labels_of(department)

    def calibration_id_of(self, department: str | None) -> str:
        """Return the identity of the calibration of products of a department, or of none."""
        return self.calibration_id if self.calibration is None else self.calibration.id_of(department)

    @property
    def source_calibration_id(self) -> str:
        """Identity of the calibration of the source."""
        return self.calibration_id if self.calibration is None else self.calibration.calibration_id

    @property
    def is_of_the_package(self) -> bool:
        """True for one that came with a version of cataloger, this one or another."""
        return self.location in ("default", f"{self.name}@{self.version}")


def pin_model(
    database: Database,
    source: SourceRef,
    model: ModelRef,
    run_id: int,
    *,
    recalibrates: bool = False,
    is_trial: bool = False,
) -> bool:
    """Make a model the one that a source's views show.

    recalibrates: its calibration becomes that of sources without one of their own. is_trial: a source keeps the model
    that it has. Returns True when results of the source may be of another calibration.
    """

    def store(connection: Connection) -> bool:
        before, is_mixed = _calibration_before(connection, source.id, model)
        _store_model(connection, model, recalibrates=recalibrates)
        is_new = before != model.source_calibration_id
        pinned = {"weights_id": model.weights_id}
        if is_new and not is_trial:
            _store_calibration(connection, model)
            pinned["calibration_id"] = model.source_calibration_id
        pin(connection, source.id, run_id, pinned, is_trial=is_trial)
        if is_new and before is not None and not is_mixed:
            connection.execute(update(SourceRow).where(SourceRow.id == source.id).values(is_mixed=True))
        return is_mixed or (is_new and before is not None)

    return database.run(store)


def is_behind(database: Database, source: SourceRef, model: ModelRef) -> bool:
    """Tell whether results of a source may be of another calibration than a run with a model would give it."""
    with database.read() as connection:
        before, is_mixed = _calibration_before(connection, source.id, model)
    return is_mixed or before not in (None, model.source_calibration_id)


def _calibration_before(connection: Connection, source_id: int, model: ModelRef) -> tuple[str | None, bool]:
    """Return what calibration a source's results under a model should be of, None if unknown, and whether some may
    not be."""
    source = connection.execute(select(SourceRow.__table__).where(SourceRow.id == source_id)).one()
    if source.weights_id != model.weights_id:
        return None, bool(source.is_mixed) or source.weights_id is not None
    if source.calibration_id is not None:
        return str(source.calibration_id), bool(source.is_mixed)
    known = select(ModelRow.calibration_id).where(ModelRow.weights_id == model.weights_id)
    return connection.scalar(known), bool(source.is_mixed)


def _store_model(connection: Connection, model: ModelRef, *, recalibrates: bool) -> None:
    updated = ["location", "calibration_id"] if recalibrates else ["location"]
    row = {
        "weights_id": model.weights_id,
        "calibration_id": model.calibration_id,
        "name": model.name,
        "version": model.version,
        "location": model.location,
        "labels": list(model.labels),
        "first_used_at": utc_now(connection),
    }
    upsert_rows(connection, ModelRow, [row], keys=["weights_id"], update=updated)


def _store_calibration(connection: Connection, model: ModelRef) -> None:
    if model.calibration is None:
        return
    row = {
        "calibration_id": model.source_calibration_id,
        "weights_id": model.weights_id,
        "calibration": model.calibration.base.to_json(),
        "selection": model.calibration.selection.to_json() or None,
    }
    upsert_rows(connection, CalibrationRow, [row], keys=["calibration_id", "weights_id"], update=[])


def note_recomputed(connection: Connection, source_id: int) -> None:
    """Note that all results of a source are of its calibration."""
    mine = (SourceRow.id == source_id) & SourceRow.is_mixed
    connection.execute(update(SourceRow).where(mine).values(is_mixed=False))


def known_model(database: Database, weights_id: str) -> ModelRef:
    """Return a model that is recorded in the database."""
    query = select(ModelRow.__table__).where(ModelRow.weights_id == weights_id)
    (row,) = database.rows(query)
    return ModelRef(row.weights_id, row.calibration_id, row.name, row.version, row.location, tuple(row.labels))


def source_model(database: Database, source_id: int, weights_id: str, *, until: int | None = None) -> ModelRef:
    """Return a known model with the calibration that a source has. until: that it had when this run had ended."""
    model = known_model(database, weights_id)
    if until is None:
        calibration_id = database.scalar(select(SourceRow.calibration_id).where(SourceRow.id == source_id))
    else:
        calibration_id = database.scalar(select_calibration_id(source_id, until))
    base, selection = known_calibration(database, calibration_id, weights_id)
    if base is None and not selection:
        return model
    return replace(model, calibration=SourceCalibration(base or Calibration(), model.labels, selection))


def known_calibration(
    database: Database, calibration_id: str | None, weights_id: str
) -> tuple[Calibration | None, LabelSelection]:
    """Return the calibration that a source is pinned to, None if it is of other weights, and the labels it sells.

    calibration_id: of the source; None for one without its own.
    """
    if calibration_id is None:
        return None, LabelSelection()
    query = select(CalibrationRow.__table__).where(CalibrationRow.calibration_id == calibration_id)
    rows = {row.weights_id: row for row in database.rows(query)}
    if not rows:
        return None, LabelSelection()
    row = rows.get(weights_id) or next(iter(rows.values()))
    base = Calibration.from_json(row.calibration) if row.weights_id == weights_id else None
    return base, LabelSelection.from_json(row.selection)


def bundle_of(model: ModelRef) -> Bundle | None:
    """Return the bundle of a model that is known; None if it is not at its recorded location.

    One that came with the package is found by its weights: it may be the default of today, or a former one. Raises
    CatalogerError for one in an object store that cannot be asked: it may be there.
    """
    if is_object_address(model.location):
        stored = read_bundle(resolve_bundle_path(model.location))
        return stored if stored.weights_id == model.weights_id else None
    try:
        if model.is_of_the_package:
            return shipped_bundle(model.weights_id)
        bundle = read_bundle(Path(model.location))
    except CatalogerError:
        return None
    return bundle if bundle.weights_id == model.weights_id else None


def model_ref(bundle: Bundle, selection: LabelSelection | None = None) -> ModelRef:
    """Return how results are recorded under a bundle. selection: the labels that the source sells."""
    return ModelRef(
        bundle.weights_id,
        bundle.calibration_id,
        bundle.name,
        bundle.version,
        location_of(bundle),
        bundle.labels,
        bundle.precision,
        SourceCalibration(bundle.calibration, bundle.labels, selection or LabelSelection()),
    )
