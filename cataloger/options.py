"""Frozen, validated options. Every default of the tool lives here, once."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, Self

from cataloger.contracts import DECISIONS, TOP_K
from cataloger.image_options import Limits as Limits  # noqa: PLC0414 - options have one home for others
from cataloger.image_options import PreprocessSpec as PreprocessSpec  # noqa: PLC0414
from cataloger.option_checks import require as _require
from cataloger.option_checks import require_choices
from cataloger.web_options import WebOptions as WebOptions  # noqa: PLC0414
from cataloger.write_targets import WriteLinkOptions, WriteTableOptions

Attention = Literal["none", "mhsa", "mhsa-early"]
Head = Literal["single", "double"]
Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["fp32", "int8", "fp16"]
PrecisionChoice = Literal["auto", "fp32", "int8"]
EngineChoice = Literal["local", "ray"]

DEFAULT_DB = "sqlite:///cataloger.db"
# What can be written back. name and parent come from the label map.
WRITE_FIELDS = (
    *(f"{kind}_{rank}" for kind in ("label", "confidence", "name", "parent") for rank in range(1, TOP_K + 1)),
    "top5_json",
    "decision",
)
_FIELDS_SHOWN = "there are label_1 to _5, confidence_1 to _5, name_1 to _5, parent_1 to _5, top5_json and decision"


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """Shape of the network; see `cataloger.model.network`.

    classes: number of labels. attention: none, over the last map ("mhsa"), or over the map in front of the last
    convolutions ("mhsa-early"). width: channels of each token in the attention. heads: attention heads.
    hidden: channels of the first fully connected layer. positions: learned position of each token.
    """

    classes: int
    attention: Attention = "mhsa"
    head: Head = "double"
    width: int = 512
    heads: int = 8
    hidden: int = 512
    positions: bool = True
    dropout: float = 0.3

    def __post_init__(self) -> None:
        require_choices(self)
        _require(self.classes >= 2, f"a classifier needs at least two classes, not {self.classes}")
        _require(
            min(self.width, self.heads, self.hidden) >= 1,
            f"width, heads and hidden must be at least 1, not {self.width}, {self.heads} and {self.hidden}",
        )
        _require(self.width % self.heads == 0, f"width {self.width} is not a multiple of {self.heads} heads")
        _require(0.0 <= self.dropout < 1.0, f"dropout must be in [0, 1), not {self.dropout}")
        _require(
            self.attention == "none" or self.head == "double",
            "attention needs the head of two fully connected layers",
        )


@dataclass(frozen=True, slots=True)
class PresetUse:
    """The preset that options come from. name: as it was given. categories: SELECT of the shop's categories, one of
    which each code must be; "" if codes are something else.
    """

    name: str
    categories: str = ""


@dataclass(frozen=True, slots=True)
class SelectionOptions:
    """What a source sells; what is not given stays as the source has it.

    labels: a file, or labels with commas between them; "all" for every label. exclude_labels: likewise, of those that
    are left out; "none" for none. departments: file with the labels of each department; "none" ends them.
    department_column: of the product table, which names a product's department.
    """

    labels: str | None = None
    exclude_labels: str | None = None
    department_column: str | None = None
    departments: Path | None = None


def columns_written(texts: Sequence[str], flag: str) -> tuple[tuple[str, str], ...]:
    """Read `column=field` pairs of an option. flag: as it is named in errors. Raises UsageError."""
    for text in texts:
        _require("=" in text, f"{flag} {text}: write COLUMN=FIELD, e.g. category=label_1")
    parts = (text.rpartition("=") for text in texts)
    pairs = tuple((column.strip(), name.strip()) for column, _, name in parts)
    _check_pairs(pairs, flag)
    return pairs


def _check_pairs(pairs: Sequence[tuple[str, str]], flag: str) -> None:
    for column, name in pairs:
        _require(bool(column), f"{flag} ={name} names no column; write e.g. category=label_1")
        _require(name in WRITE_FIELDS, f"{flag} {column}={name}: no such field; {_FIELDS_SHOWN}")


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """What to write back into columns of the product table, and to other tables.

    columns: pairs of a column and one of WRITE_FIELDS. tables, links: other tables.
    A value of the shop is left as it is, unless the cell is empty
    or has the column's default. only_if: values, as text, that may be replaced, too. overwrite: replace all of them.
    only_null: fill only what is NULL, or has a value of only_if. min_confidence: of the best category, and of each
    further one that a product is linked with.
    only_decision: write only answers so decided; if none is given, all but review and abstain.
    create_columns: add those that are missing. require_measured: write nothing until labelled images of the source
    have measured what is accepted.
    """

    columns: tuple[tuple[str, str], ...] = ()
    only_null: bool = False
    min_confidence: float | None = None
    only_decision: tuple[str, ...] = ()
    create_columns: bool = False
    only_if: tuple[str, ...] = ()
    overwrite: bool = False
    require_measured: bool = False
    tables: tuple[WriteTableOptions, ...] = ()
    links: tuple[WriteLinkOptions, ...] = ()

    def __post_init__(self) -> None:
        names = [column for column, _ in self.columns]
        _require(len(set(names)) == len(names), "--write names a column twice")
        _check_pairs(self.columns, "--write")
        for table in self.tables:
            _check_pairs(table.columns, f"--write-table {table.table}:")
        for decision in self.only_decision:
            known = ", ".join(DECISIONS)
            _require(decision in DECISIONS, f"--only-decision must be one of {known}, not {decision!r}")
        least = self.min_confidence
        _require(least is None or 0.0 <= least <= 1.0, f"--min-confidence must be between 0 and 1, not {least}")
        _require(
            least is not None or not any(link.has_several for link in self.links),
            "--write-link with categories besides the best one needs --min-confidence, so that only likely ones are "
            "linked",
        )
        is_more = self.only_null or least is not None or bool(self.only_decision) or self.create_columns
        _require(
            self.is_wanted or not (is_more or self.only_if or self.overwrite or self.require_measured),
            "--only-null, --only-if, --overwrite, --min-confidence, --only-decision, --create-columns and "
            "--require-measured need --write, --write-table or --write-link",
        )
        _require(
            not (self.overwrite and (self.only_null or self.only_if)),
            "--overwrite replaces every value; it excludes --only-null and --only-if",
        )

    @property
    def is_wanted(self) -> bool:
        """True when anything is to be written back."""
        return bool(self.columns or self.tables or self.links)

    @classmethod
    def parse(cls, texts: Sequence[str], **others: Any) -> "WriteOptions":
        """Read `column=field` pairs. Raises UsageError."""
        return cls(columns_written(texts, "--write"), **others)


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """The Ray cluster that a run uses beside its own process.

    address: "local" starts a private one on this machine, "auto" finds the one that this machine belongs to,
    HOST:PORT names it. workers: how many; 0 means as many as fit. cpus_per_worker, gpus_per_worker: that each takes.
    """

    address: str = "local"
    workers: int = 0
    cpus_per_worker: int = 1
    gpus_per_worker: float = 0.0

    def __post_init__(self) -> None:
        host, mark, port = self.address.rpartition(":")
        is_address = bool(mark and host) and port.isascii() and port.isdigit() and 0 < int(port) < 65536
        _require(
            self.address in ("local", "auto") or (is_address and "/" not in host),
            f"--ray-address is local, auto or HOST:PORT, not {self.address}",
        )
        _require(0 <= self.workers <= 10_000, f"--ray-workers must be between 0 and 10000, not {self.workers}")
        cpus, gpus = self.cpus_per_worker, self.gpus_per_worker
        _require(1 <= cpus <= 256, f"--cpus-per-worker must be between 1 and 256, not {cpus}")
        is_share = 0.0 <= gpus <= 1.0 or gpus in range(2, 17)
        _require(is_share, f"--gpus-per-worker is a share of one GPU or a whole number up to 16, not {gpus:g}")


MOST_SHARDS = 1024


@dataclass(frozen=True, slots=True)
class Shard:
    """One of `count` parts of a source, which are told apart by the hash of a product's key. number: from 1."""

    number: int
    count: int

    def __post_init__(self) -> None:
        _require(
            1 <= self.number <= self.count <= MOST_SHARDS,
            f"--shard {self} is not one of at most {MOST_SHARDS} parts: the first of eight is 1/8, the last 8/8",
        )

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read NUMBER/COUNT. Raises UsageError."""
        number, slash, count = text.strip().partition("/")
        _require(
            bool(slash) and number.isascii() and number.isdigit() and count.isascii() and count.isdigit(),
            f"--shard {text!r} is not NUMBER/COUNT, e.g. 2/8",
        )
        return cls(int(number), int(count))

    def has(self, digest: str) -> bool:
        """True for what this part has. digest: hexadecimal, of a key."""
        return int(digest[:15], 16) % self.count == self.number - 1


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How one run behaves, whatever its source.

    precision: of the model's arithmetic; auto is int8 on a CPU where the bundle has such a model, which has passed
    its gate, else fp32. batch_size: images classified together; 0 means as many as suit the device. workers: decoding
    processes; 0 means as many as processors. max_failure_rate: failed share of the items attempted above which the
    run ends with exit status 3. outage_after: images of one host or folder in a row without any answer after which
    it may be out. forget: delete what was removed from the source and all its records. accept_move: continue although
    the source looks like one that has moved. accept_missing: take missing files as deleted, however many.
    follow_links: read also what links lead to that lies outside of the folder or image root. exclude: patterns of
    files and folders that are left out of folders. count_catalog: count the images of the sources at the end.
    engine: "local", or "ray" for the machines of a cluster. shard: the part of each source to work on, beside other
    runs that have the others; None for all of it.
    """

    top_k: int = TOP_K
    batch_size: int = 0
    workers: int = 0
    device: Device = "auto"
    precision: PrecisionChoice = "auto"
    limit: int | None = None
    dry_run: bool = False
    force: bool = False
    retry_failed: bool = False
    max_failure_rate: float = 0.01
    outage_after: int = 100
    forget: bool = False
    accept_move: bool = False
    accept_missing: bool = False
    follow_links: bool = False
    exclude: tuple[str, ...] = ()
    count_catalog: bool = False
    engine: EngineChoice = "local"
    cluster: ClusterOptions = ClusterOptions()
    shard: Shard | None = None

    def __post_init__(self) -> None:
        require_choices(self)
        _require(
            self.engine == "ray" or self.cluster == ClusterOptions(),
            "--ray-address, --ray-workers, --cpus-per-worker and --gpus-per-worker need --engine ray",
        )
        _require(1 <= self.top_k <= TOP_K, f"--top-k must be between 1 and {TOP_K}, not {self.top_k}")
        _require(0 <= self.batch_size <= 1024, f"--batch-size must be between 0 and 1024, not {self.batch_size}")
        _require(0 <= self.workers <= 256, f"--workers must be between 0 and 256, not {self.workers}")
        _require(self.limit is None or self.limit >= 1, f"--limit must be at least 1, not {self.limit}")
        _require(
            0.0 <= self.max_failure_rate <= 1.0,
            f"--max-failure-rate must be between 0 and 1, not {self.max_failure_rate}",
        )


@dataclass(frozen=True, slots=True)
class DriftLimits:
    """From where on a difference between two runs matters, and how many images on each side it takes to judge it.

    max_category_psi, max_confidence_psi: population stability index. max_confidence_change: of the mean, up or down.
    max_..._increase: of a share of the images.
    """

    max_category_psi: float = 0.2
    max_confidence_psi: float = 0.2
    max_confidence_change: float = 0.05
    max_failure_increase: float = 0.02
    max_abstain_increase: float = 0.05
    max_review_increase: float = 0.1
    min_images: int = 200

    def __post_init__(self) -> None:
        for field in fields(self):
            value, flag = getattr(self, field.name), "--" + field.name.replace("_", "-")
            _require(math.isfinite(value) and value >= 0, f"{flag} must be 0 or more, not {value}")
        _require(self.min_images >= 1, f"--min-images must be at least 1, not {self.min_images}")
