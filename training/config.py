"""What a training run is told; every default of training lives here."""

from dataclasses import dataclass
from pathlib import Path

from cataloger.errors import UsageError


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """Options of `cataloger train`.

    data: the labelled images. output: directory of the new bundle. work: directory of the inventory of images, the
    feature cache and the checkpoints. start: bundle, or safetensors file, whose convolutions are the start.
    views: cached copies of each training image, the first as it is, the others augmented.
    learning_rate: peak, for AdamW. warmup: share of all steps. notes: Markdown file put into the model card.
    """

    data: "DataOptions"
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


@dataclass(frozen=True, slots=True)
class DataOptions:
    """Where labelled images come from, and how they are split; see `cataloger.training.dataset`.

    data: root of class folders, manifest, or folder of DeepFashion's category benchmark. images: folder that relative
    paths start at. db, query: SQLAlchemy URL and one SELECT, in place of `data`. *_column: names in a manifest or
    query; None takes the first that is there of the usual names (`cataloger.training.rows`), "" none. report_by:
    columns whose values are kept with each image. shares: of train, val and test, where splits are
    made. seed: of these splits.
    """

    data: Path | None = None
    images: Path | None = None
    db: str | None = None
    query: str | None = None
    image_column: str | None = None
    label_column: str | None = None
    split_column: str | None = None
    product_column: str | None = None
    report_by: tuple[str, ...] = ()
    shares: tuple[float, float, float] = (0.8, 0.1, 0.1)
    seed: int = 0

    def __post_init__(self) -> None:
        checks = {
            "name the labelled images: DATA is a folder or a manifest; or give --db and --query": bool(
                self.data or self.query
            ),
            "DATA and --query exclude each other; give one of them": not (self.data and self.query),
            "--query needs --db: the database that it is for": bool(self.db) or not self.query,
            "--shares must be three numbers for train, val and test, none negative, train and val above 0": (
                len(self.shares) == 3 and min(self.shares) >= 0 and min(self.shares[:2]) > 0
            ),
            "--report-by names a column twice": len(set(self.report_by)) == len(self.report_by),
        }
        for message, holds in checks.items():
            if not holds:
                raise UsageError(message)

    @property
    def name(self) -> str:
        """What messages call the source; never a password."""
        return str(self.data) if self.data else "the query"
