"""The models that are recorded in the ledger, which of them a source's views show, and where their bundles are."""

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, select

from cataloger.db import Database, upsert_rows, utc_now
from cataloger.errors import CatalogerError
from cataloger.ledger.effective_results import pin
from cataloger.ledger.source_registry import SourceRef
from cataloger.model import Bundle, default_bundle_path, read_bundle
from cataloger.schema import ModelRow


@dataclass(frozen=True, slots=True)
class ModelRef:
    """The model that results are recorded under. precision: of the arithmetic, e.g. "fp32"."""

    weights_id: str
    calibration_id: str
    name: str
    version: str
    location: str
    labels: tuple[str, ...]
    precision: str = "fp32"


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

    recalibrates: its calibration becomes that of all results. is_trial: a source keeps the model that it has. Returns
    True when the older results are of another calibration.
    """
    updated = ["location", "calibration_id"] if recalibrates else ["location"]

    def store(connection: Connection) -> bool:
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
        pin(connection, source.id, run_id, model.weights_id, is_trial=is_trial)
        known = select(ModelRow.calibration_id).where(ModelRow.weights_id == model.weights_id)
        return connection.scalar(known) != model.calibration_id

    return database.run(store)


def known_model(database: Database, weights_id: str) -> ModelRef:
    """Return a model that is recorded in the database."""
    query = select(ModelRow.__table__).where(ModelRow.weights_id == weights_id)
    (row,) = database.rows(query)
    return ModelRef(row.weights_id, row.calibration_id, row.name, row.version, row.location, tuple(row.labels))


def bundle_of(model: ModelRef) -> Bundle | None:
    """Return the bundle of a model that is known; None if it is not at its recorded location."""
    try:
        bundle = read_bundle(default_bundle_path() if model.location == "default" else Path(model.location))
    except CatalogerError:
        return None
    return bundle if bundle.weights_id == model.weights_id else None


def model_ref(bundle: Bundle) -> ModelRef:
    """Return how results are recorded under a bundle."""
    location = "default" if bundle.path == default_bundle_path() else str(bundle.path.absolute())
    return ModelRef(
        bundle.weights_id,
        bundle.calibration_id,
        bundle.name,
        bundle.version,
        location,
        bundle.labels,
        bundle.precision,
    )
