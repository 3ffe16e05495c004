"""Options of a training run; the defaults are here and in the recipes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cataloger.db import DatabaseURL
from cataloger.errors import UsageError
from cataloger.options import Device


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """Options of `cataloger train`.

    data: the labelled images. output: directory of the new bundle. work: directory of the inventory of images, the
    caches, the checkpoints and the curves. start: bundle, or safetensors file of convolutions.
    recipe: "auto" or one of `training.recipes`. changes: fields of the recipe that are set otherwise.
    blend: how far the trained weights are moved back towards the start's; see
    `cataloger.training.fit.weight_interpolation`.
    notes: Markdown file put into the model card. target_precision: share of the accepted answers that should be
    right.
    """

    data: "DataOptions"
    output: Path
    work: Path
    start: Path
    name: str = "catalog"
    version: str = "1"
    recipe: str = "auto"
    changes: Mapping[str, Any] = field(default_factory=dict)
    device: Device = "auto"
    seed: int = 0
    blend: float = 0.0
    notes: Path | None = None
    target_precision: float = 0.95

    def __post_init__(self) -> None:
        if not (self.name and self.version):
            raise UsageError("--name and --version must not be empty")
        if not 0.5 <= self.target_precision < 1.0:
            raise UsageError(
                f"--target-precision must be at least 0.5 and below 1, not {self.target_precision}; 0.95 is usual"
            )


@dataclass(frozen=True, slots=True)
class DataOptions:
    """Where labelled images come from, and how they are split; see `cataloger.training.data.read`.

    data: root of class folders, manifest, or folder of DeepFashion's category benchmark. images: folder that relative
    paths start at. db, query: database and one SELECT, in place of `data`. *_column: names in a manifest or
    query; None takes the first that is there of the usual names (`cataloger.training.data.columns`), "" none.
    report_by: columns whose values are kept with each image. shares: of train, val and test, where splits are
    made. seed: of these splits. corrections: take the corrections in the database `db`
    (and `schema`), with `data` mixed in if it is given.
    """

    data: Path | None = None
    images: Path | None = None
    db: DatabaseURL | None = None
    query: str | None = None
    image_column: str | None = None
    label_column: str | None = None
    split_column: str | None = None
    product_column: str | None = None
    report_by: tuple[str, ...] = ()
    shares: tuple[float, float, float] = (0.8, 0.1, 0.1)
    seed: int = 0
    corrections: bool = False
    schema: str | None = None

    def __post_init__(self) -> None:
        checks = {
            "name the labelled images: DATA is a folder or a manifest; or give --db and --query": bool(
                self.data or self.query or self.corrections
            ),
            "--from-corrections needs --db: the database with what people have said": (
                self.db is not None or not self.corrections
            ),
            "--from-corrections and --query exclude each other; give the original data as DATA": not (
                self.corrections and self.query
            ),
            "--schema belongs to --from-corrections": self.corrections or not self.schema,
            "DATA and --query exclude each other; give one of them": not (self.data and self.query),
            "--query needs --db: the database that it is for": self.db is not None or not self.query,
            "--shares must be three numbers for train, val and test, none negative, train and val above 0": (
                len(self.shares) == 3 and min(self.shares) >= 0 and min(self.shares[:2]) > 0
            ),
            "--report-by names a column twice": len(set(self.report_by)) == len(self.report_by),
        }
        for message, is_valid in checks.items():
            if not is_valid:
                raise UsageError(message)

    @property
    def name(self) -> str:
        """What messages call the source; never a password."""
        given = str(self.data) if self.data else "the query"
        if not self.corrections:
            return given
        return f"the corrections and {self.data}" if self.data else "the corrections"
