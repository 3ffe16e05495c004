"""Options of a training run; the defaults are here and in the recipes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cataloger.contracts import MAX_LABEL_LENGTH
from cataloger.db import DatabaseURL
from cataloger.errors import UsageError
from cataloger.model import unprintable
from cataloger.objects import ObjectRoots, checked_roots
from cataloger.options import Attention, Device


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """Options of `cataloger train`.

    data: the labelled images. output: directory of the new bundle. work: directory of the inventory of images, the
    caches, the checkpoints and the curves. start: bundle, or safetensors file of convolutions.
    recipe: "auto" or one of `training.recipes`. changes: fields of the recipe that are set otherwise.
    blend: how far the trained weights are moved back towards the start's; see
    `cataloger.training.fit.weight_interpolation`.
    notes: Markdown file put into the model card. target_precision: share of the accepted answers that should be
    right. balance_by: columns by which the training images are drawn. select_by: the validation images that choose
    the best epoch; None for all. soft_labels: CSV file of what another model says of the training images. attention:
    where the network attends; None for where the start does.
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
    balance_by: tuple["ColumnShares", ...] = ()
    select_by: "ColumnValues | None" = None
    attention: Attention | None = None
    soft_labels: Path | None = None

    def __post_init__(self) -> None:
        if not (self.name and self.version):
            raise UsageError("--name and --version must not be empty")
        for flag, text in (("--name", self.name), ("--version", self.version)):
            if len(text) > MAX_LABEL_LENGTH or unprintable(text) is not None:
                limits = f"at most {MAX_LABEL_LENGTH} characters, none of them a control character"
                raise UsageError(f"{flag} may have {limits}")
        if self.soft_labels is None and "soft_share" in self.changes:
            raise UsageError("--soft-share needs --soft-labels: the file with what another model says")
        if not 0.5 <= self.target_precision < 1.0:
            raise UsageError(
                f"--target-precision must be at least 0.5 and below 1, not {self.target_precision}; 0.95 is usual"
            )


@dataclass(frozen=True, slots=True)
class ColumnShares:
    """A column by which training images are drawn, as `--balance-by` names it.

    shares: of each value, relative to the others; empty: each value in proportion to the square root of its number of
    images, so that a large shop counts for more than a small one, and not for all.
    """

    column: str
    shares: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        shares = ",".join(f"{value}:{share:g}" for value, share in self.shares.items())
        return f"{self.column}={shares}" if shares else self.column

    @classmethod
    def parse(cls, text: str) -> "ColumnShares":
        """Read COLUMN or COLUMN=VALUE:SHARE,VALUE:SHARE. Raises UsageError."""
        column, equals, rest = text.partition("=")
        if not column.strip():
            raise UsageError(f"--balance-by {text}: name a column, or COLUMN=VALUE:SHARE,VALUE:SHARE")
        if not equals:
            return cls(column.strip())
        shares: dict[str, float] = {}
        for part in rest.split(","):
            value, _, share = part.rpartition(":")
            value = value.strip()
            if not value or value in shares:
                raise UsageError(f"--balance-by {text}: write each value once, as VALUE:SHARE")
            shares[value] = _positive(share, text)
        return cls(column.strip(), shares)


def _positive(text: str, given: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (number > 0 and math.isfinite(number)):
        raise UsageError(f"--balance-by {given}: the share {text.strip()!r} must be a number above 0")
    return number


@dataclass(frozen=True, slots=True)
class ColumnValues:
    """Images with one of some values in a column, as `--select-by` names them."""

    column: str
    values: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.column}={','.join(self.values)}"

    @classmethod
    def parse(cls, text: str) -> "ColumnValues":
        """Read COLUMN=VALUE or COLUMN=VALUE,VALUE. Raises UsageError."""
        column, _, rest = text.partition("=")
        values = tuple(dict.fromkeys(value.strip() for value in rest.split(",") if value.strip()))
        if not (column.strip() and values):
            raise UsageError(f"--select-by {text}: write COLUMN=VALUE, or COLUMN=VALUE,VALUE")
        return cls(column.strip(), values)


@dataclass(frozen=True, slots=True)
class DataOptions:
    """Where labelled images come from, and how they are split; see `cataloger.training.data.read`.

    data: root of class folders, manifest, or folder of DeepFashion's category benchmark. images: folder that relative
    paths start at. db, query: database and one SELECT, in place of `data`. *_column: names in a manifest or
    query; None takes the first that is there of the usual names (`cataloger.training.data.columns`), "" none.
    report_by: columns whose values are kept with each image. shares: of train, val and test, where splits are
    made. seed: of these splits. traits: further columns that are kept, for `ColumnShares` and `ColumnValues`.
    corrections: take the corrections in the database `db` (and `schema`), with `data` mixed in if it is given.
    no_product: label of images that show no product, "" for none at all; None where all show one.
    object_roots: addresses in object stores, below which a manifest or query may name images. allow_private: download
    from private addresses, too.
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
    traits: tuple[str, ...] = ()
    no_product: str | None = None
    object_roots: tuple[str, ...] = ()
    allow_private: bool = False

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
        self.roots()

    def roots(self) -> ObjectRoots:
        """Return `object_roots`. Raises UsageError, which shows nothing that may be secret."""
        return checked_roots(self.object_roots)

    @property
    def name(self) -> str:
        """What messages call the source; never a password."""
        given = str(self.data) if self.data else "the query"
        if not self.corrections:
            return given
        return f"the corrections and {self.data}" if self.data else "the corrections"
