"""What a training run is told; its defaults live here and in the recipes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cataloger.errors import UsageError
from cataloger.options import Device


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """Options of `cataloger train`.

    labels: CSV with the columns file, labels (several joined by "|") and split (train, val, test).
    images: folder that `file` is relative to. output: directory of the new bundle. work: directory of the
    caches, the checkpoints and the curves. start: bundle, or safetensors file of convolutions.
    recipe: "auto" or one of `training.recipes`. changes: fields of the recipe that are set otherwise.
    notes: Markdown file put into the model card. report_by: label columns; the test split is reported for each of
    their combinations. target_precision: share of the accepted answers that shall be right.
    """

    labels: Path
    images: Path
    output: Path
    work: Path
    start: Path
    name: str = "catalog"
    version: str = "1"
    recipe: str = "auto"
    changes: Mapping[str, Any] = field(default_factory=dict)
    device: Device = "auto"
    seed: int = 0
    notes: Path | None = None
    report_by: tuple[str, ...] = ()
    target_precision: float = 0.95

    def __post_init__(self) -> None:
        if not (self.name and self.version):
            raise UsageError("--name and --version must not be empty")
        if not 0.5 <= self.target_precision < 1.0:
            raise UsageError(
                f"--target-precision must be at least 0.5 and below 1, not {self.target_precision}; 0.95 is usual"
            )
