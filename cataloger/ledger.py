"""What is known of the items of a source: which to do, which to skip, and why."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from sqlalchemy import Connection, Row, exists, select

from cataloger.db.clock import utc_now
from cataloger.db.database import Database
from cataloger.db.models import Current, Model, Source
from cataloger.db.models import Item as ItemRow
from cataloger.db.models import Result as ResultRow
from cataloger.db.upsert import upsert
from cataloger.history import pin
from cataloger.records import TRANSIENT_PREFIXES, Failure, Item, Result
from cataloger.versions import is_same

CHUNK = 500
DIGESTS = 4 * CHUNK
"""Kept at hand: each is asked for seven times between planning and recording."""

Reason = Literal[
    "new", "changed", "model", "forced", "retry", "unchanged", "failed_before", "duplicate",
    "duplicate_for_another_product",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class SourceRef:
    """A known source. prefix: before the keys of a folder inside a known one. weights_id: the pinned model."""

    id: int
    root: str
    prefix: str = ""
    weights_id: str | None = None


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


@dataclass(frozen=True, slots=True)
class Planned:
    """An input and what to do with it. recorded: version token of its latest result, if that decided."""

    subject: Item | Failure
    do: bool
    reason: Reason
    recorded: str = ""


@lru_cache(DIGESTS)
def digest(key: str) -> str:
    """Return the SHA-256 by which a key is looked up, hexadecimal."""
    return hashlib.sha256(key.encode("utf-8", "backslashreplace")).hexdigest()


def find_source(database: Database, *, kind: str, root: str) -> SourceRef | None:
    """Return the known source of a root, or the known folder around it; None when there is neither."""
    with database.read() as connection:
        return _find_source(connection, kind, root)


def register_source(database: Database, *, kind: str, root: str) -> SourceRef:
    """Return the source of a root, made if there is none. A folder inside a known one shares its keys."""

    def register(connection: Connection) -> SourceRef:
        found = _find_source(connection, kind, root)
        if found is not None:
            return found
        row = {"kind": kind, "root": root, "root_hash": digest(root), "name": root, "created_at": utc_now(connection)}
        upsert(connection, Source, [row], keys=["root_hash"], update=[])
        identity = connection.scalar(select(Source.id).where(Source.root_hash == digest(root)))
        assert identity is not None
        return SourceRef(identity, root)

    return database.run(register)


def pin_model(
    database: Database, source: SourceRef, model: ModelRef, run_id: int, *, recalibrates: bool = False
) -> bool:
    """Make a model the one that a source's views show.

    recalibrates: its calibration is from now on the one of all results. Returns True when the older results are of
    another calibration.
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
        upsert(connection, Model, [row], keys=["weights_id"], update=updated)
        pin(connection, source.id, run_id, model.weights_id)
        known = select(Model.calibration_id).where(Model.weights_id == model.weights_id)
        return connection.scalar(known) != model.calibration_id

    return database.run(store)


def known_model(database: Database, weights_id: str) -> ModelRef:
    """Return a model that the database knows."""
    query = select(Model.__table__).where(Model.weights_id == weights_id)
    row = database.run(lambda connection: connection.execute(query).one(), read_only=True)
    return ModelRef(row.weights_id, row.calibration_id, row.name, row.version, row.location, tuple(row.labels))


class Ledger:
    """Decides about the items of one run over one source; memory does not depend on their number.

    on_known: told the id of every item that the scan meets and the ledger knows, and whether it had gone; returns
    whether the scan had met it before.
    """

    def __init__(
        self, database: Database, source: SourceRef, run_id: int | None, *, weights_id: str, force: bool, retry: bool
    ) -> None:
        self.on_known: Callable[[int, bool], bool] = lambda _id, _is_gone: False
        self._database = database
        self._source = source
        self._run_id = run_id
        self._weights_id = weights_id
        self._force = force
        self._retry = retry
        self._in_flight: dict[str, str | None] = {}  # hash of the key -> product

    def plan(self, subjects: Iterable[Item | Failure]) -> Iterator[Planned]:
        """Yield a decision for each input, in order, looking them up in chunks of one short read each."""
        for chunk in _batched(subjects, CHUNK):
            yield from self._plan_chunk(chunk)

    def _plan_chunk(self, chunk: list[Item | Failure]) -> list[Planned]:
        # What is in flight is noted before the look-up, and all is decided before anything is handed out: results
        # are recorded meanwhile, and a key that left `_in_flight` so would not be in what was looked up either.
        hashes = [digest(item_of(subject).key) for subject in chunk]
        taken = {key_hash: self._in_flight[key_hash] for key_hash in hashes if key_hash in self._in_flight}
        known = self._look_up(hashes)
        plan = []
        met = {row.key_hash for row in known.values() if self.on_known(row.id, row.gone_run_id is not None)}
        for subject, key_hash in zip(chunk, hashes, strict=True):
            product, row = _product_hash(subject), known.get(key_hash)
            if key_hash in taken:
                planned = _duplicate(subject, is_same=product == taken[key_hash])
            elif row is not None and (key_hash in met or self._is_recorded(row)):
                planned = _duplicate(subject, is_same=product == row.product_hash)
            else:
                planned = self._decide(subject, row)
            met.add(key_hash)
            if planned.do:
                taken[key_hash] = self._in_flight[key_hash] = product
            plan.append(planned)
        return plan

    def _is_recorded(self, row: Row[*tuple[Any, ...]]) -> bool:
        """True when this very run has recorded a result of an item."""
        return row.run_id is not None and bool(row.run_id == self._run_id)

    def recorded(self, results: Sequence[Result]) -> None:
        """Forget inputs that are in the database now and can be found there."""
        for result in results:
            self._in_flight.pop(digest(result.item.key), None)

    def reconsider(self, planned: Planned) -> Planned:
        """Have an unchanged input done after all: somebody knows better."""
        self._in_flight[digest(item_of(planned.subject).key)] = _product_hash(planned.subject)
        return Planned(planned.subject, True, "changed")

    def _decide(self, subject: Item | Failure, row: Row[*tuple[Any, ...]] | None) -> Planned:
        if row is None or row.status is None:
            return Planned(subject, True, "model" if row is not None and row.is_known_elsewhere else "new")
        if self._force:
            return Planned(subject, True, "forced")
        reason = _judge(subject, row)
        if reason == "failed_before" and self._retry:
            reason = "retry"
        return Planned(subject, reason in ("retry", "changed"), reason, row.version_token)

    def _look_up(self, hashes: list[str]) -> dict[str, Row[*tuple[Any, ...]]]:
        """Return the latest result of each known key, by its hash."""
        elsewhere = exists().where(Current.item_id == ItemRow.id, Current.weights_id != self._weights_id)
        query = (
            select(
                ItemRow.key_hash,
                ItemRow.id,
                ItemRow.gone_run_id,
                ItemRow.product_hash,
                ResultRow.status,
                ResultRow.error_code,
                ResultRow.version_token,
                ResultRow.run_id,
                elsewhere.correlate(ItemRow).label("is_known_elsewhere"),
            )
            .join(Current, (Current.item_id == ItemRow.id) & (Current.weights_id == self._weights_id), isouter=True)
            .join(ResultRow, ResultRow.id == Current.latest_id, isouter=True)
            .where(ItemRow.source_id == self._source.id, ItemRow.key_hash.in_(hashes))
        )
        rows = self._database.rows(query)
        return {row.key_hash: row for row in rows}


def item_of(subject: Item | Failure) -> Item:
    """Return the item of an input, which may have failed already in its source."""
    return subject.item if isinstance(subject, Failure) else subject


def _duplicate(subject: Item | Failure, *, is_same: bool) -> Planned:
    """Decide about a key that the run has met before. is_same: as the image of the same product."""
    return Planned(subject, False, "duplicate" if is_same else "duplicate_for_another_product")


def _product_hash(subject: Item | Failure) -> str | None:
    product = item_of(subject).product_key
    return None if product is None else digest(product)


def _judge(subject: Item | Failure, row: Row[*tuple[Any, ...]]) -> Reason:
    """Compare an input with the latest result of its key."""
    has_failed = row.status == "failed"
    if has_failed and row.error_code.startswith(TRANSIENT_PREFIXES):
        return "retry"
    if not _is_same(subject, row):
        return "changed"
    return "failed_before" if has_failed else "unchanged"


def _is_same(subject: Item | Failure, row: Row[*tuple[Any, ...]]) -> bool:
    if isinstance(subject, Failure):
        return bool(row.error_code == subject.code)
    return is_same(subject.version, row.version_token) and _product_hash(subject) in (None, row.product_hash)


def _batched(subjects: Iterable[Item | Failure], size: int) -> Iterator[list[Item | Failure]]:
    chunk: list[Item | Failure] = []
    for subject in subjects:
        chunk.append(subject)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _find_source(connection: Connection, kind: str, root: str) -> SourceRef | None:
    columns = select(Source.id, Source.root, Source.weights_id).where(Source.kind == kind)
    row = connection.execute(columns.where(Source.root_hash == digest(root))).one_or_none()
    if row is not None:
        return SourceRef(row.id, root, "", row.weights_id)
    if kind != "folder":
        return None
    parents = [root[:end] or "/" for end in range(len(root)) if root[end] == "/"]
    around = columns.where(Source.root_hash.in_([digest(parent) for parent in parents]))
    rows = sorted(connection.execute(around), key=lambda row: len(row.root))
    if not rows:
        return None
    prefix = root.removeprefix(rows[-1].root).lstrip("/") + "/"
    return SourceRef(rows[-1].id, rows[-1].root, prefix, rows[-1].weights_id)
