"""What a training run is told; every default of training lives here."""

from dataclasses import dataclass
from pathlib import Path

from cataloger.errors import UsageError


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """Options of `cataloger train`.

    labels: CSV with the columns file, labels (several joined by "|") and split (train, val, test).
    images: folder that `file` is relative to. output: directory of the new bundle. work: directory of the
    feature cache and the checkpoints. start: bundle, or safetensors file, whose convolutions are the start.
    views: cached copies of each training image, the first as it is, the others augmented.
    learning_rate: peak, for AdamW. warmup: share of all steps. notes: Markdown file put into the model card.
    report_by: label columns; the test split is reported for each of their combinations.
    """

    labels: Path
    images: Path
    output: Path
    work: Path
    start: Path
    name: str = "catalog"
    version: str = "1"
    epochs: int = 6
    batch_size: int = 64
    learning_rate: float = 6e-4
    weight_decay: float = 0.05
    warmup: float = 0.1
    views: int = 2
    seed: int = 0
    notes: Path | None = None
    report_by: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        checks = {
            "--epochs must be at least 1": self.epochs >= 1,
            "--batch-size must be at least 2": self.batch_size >= 2,
            "--learning-rate must be positive": self.learning_rate > 0,
            "--views must be at least 1": self.views >= 1,
            "--weight-decay must not be negative": self.weight_decay >= 0,
            "--name and --version must not be empty": bool(self.name and self.version),
        }
        for message, holds in checks.items():
            if not holds:
                raise UsageError(message)
