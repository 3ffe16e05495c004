"""The plan for the items of a source: which to process, which to skip, and why."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from sqlalchemy import select

from cataloger.db import Database, is_among
from cataloger.ledger.source_registry import SourceRef
from cataloger.records import TRANSIENT_PREFIXES, Failure, Item, Planned, Reason, Renewal, Result, item_of
from cataloger.schema import CHUNK, CurrentRow, ItemRow, ResultRow, key_hash
from cataloger.sources import change_tokens, is_same, with_query


class Ledger:
    """Decides about the items of one run over one source; memory does not depend on their number.

    on_known: receives the id of every recorded item that the scan meets, and whether it was missing; returns whether
    the scan had met it before. on_former: receives, chunk by chunk and before they are planned, the known items whose
    names or tokens are recorded in a form of earlier versions; they count as what they are now.
    """

    def __init__(
        self, database: Database, source: SourceRef, run_id: int | None, *, weights_id: str, force: bool, retry: bool
    ) -> None:
        self.on_known: Callable[[int, bool], bool] = lambda _id, _is_missing: False
        self.on_former: Callable[[list[Renewal]], None] = lambda _renewals: None
        self._database = database
        self._dialect = database.engine.dialect.name
        self._source = source
        self._run_id = run_id
        self._weights_id = weights_id
        self._force = force
        self._retry = retry
        self._in_flight: dict[str, str | None] = {}  # hash of the key -> product

    def plan(self, subjects: Iterable[Item | Failure], *, again: bool = False) -> Iterator[Planned]:
        """Yield a decision for each input, in order, looking them up in chunks of one short read each.

        again: a second scan of the same run: what it has recorded is a duplicate, and `on_known` is not called.
        """
        for chunk in _batched(subjects, CHUNK):
            yield from self._plan_chunk(chunk, again=again)

    def _plan_chunk(self, chunk: list[Item | Failure], *, again: bool) -> list[Planned]:
        # What is in flight is noted before the look-up, and all is decided before anything is yielded: results
        # are recorded meanwhile, and a key that leaves `_in_flight` in between would not be in the look-up either.
        hashes = [key_hash(item_of(subject).key) for subject in chunk]
        taken = {each: self._in_flight[each] for each in hashes if each in self._in_flight}
        known = self._known(chunk, hashes, taken)
        elsewhere = self._elsewhere(known.values())
        plan = []
        met = set()
        if not again:
            met = {hashed for hashed, row in known.items() if self.on_known(row.id, row.is_missing)}
        self._renew(chunk, hashes, known, met)
        for subject, hashed in zip(chunk, hashes, strict=True):
            product, row = _product_hash(subject), known.get(hashed)
            if hashed in taken:
                planned = _duplicate(subject, is_same=product == taken[hashed])
            elif row is not None and (hashed in met or self._is_recorded(row)):
                planned = _duplicate(subject, is_same=product == row.product_hash)
            else:
                planned = self._decide(subject, row, elsewhere)
            met.add(hashed)
            if planned.do:
                taken[hashed] = self._in_flight[hashed] = product
            plan.append(planned)
        return plan

    def _known(
        self, chunk: Sequence[Item | Failure], hashes: Sequence[str], taken: Collection[str]
    ) -> dict[str, "_Known"]:
        """Return what is recorded of inputs, also under a former key, by the hash of their present key."""
        known = self._look_up(hashes)
        claims: dict[str, list[tuple[str, Item]]] = {}
        for item, hashed in zip(map(item_of, chunk), hashes, strict=True):
            if item.former_key is not None and hashed not in known and hashed not in taken:
                claims.setdefault(key_hash(item.former_key), []).append((hashed, item))
        found = self._look_up([each for each in claims if each not in hashes]) if claims else {}
        for former, row in found.items():
            # A picture of several products was one item, of one of them.
            heir = next((hashed for hashed, item in claims[former] if _may_have_been(item, row)), None)
            if heir is not None:
                known[heir] = row
        return known

    def _renew(
        self,
        chunk: Sequence[Item | Failure],
        hashes: Sequence[str],
        known: dict[str, "_Known"],
        met: Collection[str],
    ) -> None:
        """Have former names and tokens renewed, and let `known` hold the present ones."""
        renewals: dict[str, Renewal] = {}
        for subject, hashed in zip(chunk, hashes, strict=True):
            item, row = item_of(subject), known.get(hashed)
            if row is None or hashed in met or hashed in renewals:
                continue
            renewal, known[hashed] = self._renewal(item, hashed, row)
            if renewal is not None:
                renewals[hashed] = renewal
        if renewals:
            self.on_former(list(renewals.values()))

    def _renewal(self, item: Item, hashed: str, row: "_Known") -> tuple[Renewal | None, "_Known"]:
        """Return what to renew of a known item, and what is recorded of it then."""
        limit = self._source.no_query_run_id
        is_as_ever = limit is None and hashed == row.key_hash and item.former_product is None
        if is_as_ever and item.department == row.department:
            return None, row  # nearly all items
        product = row.product_hash if _is_former_product(item, row) else None
        is_old = limit is not None and row.run_id is not None and row.run_id <= limit
        token = with_query(item.version, row.version_token or "") if is_old else None
        is_moved = item.department != row.department
        renewal = Renewal(item, row.id, product, hashed != row.key_hash, token is not None, is_moved)
        if not (renewal.is_key or renewal.is_token or product or is_moved):
            return None, row
        now = row._replace(key_hash=hashed, version_token=token or row.version_token)
        return renewal, now._replace(product_hash=key_hash(str(item.product_key))) if product else now

    def _is_recorded(self, row: "_Known") -> bool:
        """True when this very run has recorded a result of an item."""
        return row.run_id is not None and bool(row.run_id == self._run_id)

    def recorded(self, results: Sequence[Result]) -> None:
        """Stop tracking inputs as in flight: they are recorded in the database now."""
        for result in results:
            self._in_flight.pop(key_hash(result.item.key), None)

    def release(self, subject: Item | Failure) -> None:
        """Stop tracking an input that was planned and will not be recorded, so that it can be planned again."""
        self._in_flight.pop(key_hash(item_of(subject).key), None)

    def reconsider(self, planned: Planned) -> Planned:
        """Plan an unchanged input after all, because a later check found a change."""
        self._in_flight[key_hash(item_of(planned.subject).key)] = _product_hash(planned.subject)
        return replace(planned, do=True, reason="changed", is_asked=True)

    def _decide(self, subject: Item | Failure, row: "_Known | None", elsewhere: Mapping[int, bool]) -> Planned:
        if row is None or row.status is None:
            was_there = None if row is None else elsewhere.get(row.id)
            other: Reason = "new" if was_there is None else "model"
            return Planned(subject, True, other, was_there=bool(was_there), is_asked=True)
        reason: Reason = "forced" if self._force else _judge(subject, row)
        if reason == "failed_before" and self._retry:
            reason = "retry"
        do = reason in ("retry", "changed", "forced")
        return Planned(
            subject,
            do,
            reason,
            row.version_token or "",
            was_there=row.content_hash is not None,
            is_asked=do or change_tokens.file_size(item_of(subject).version) is not None,
            is_late=reason == "retry" or (reason == "forced" and row.status == "failed"),
        )

    def _elsewhere(self, rows: Iterable["_Known"]) -> dict[int, bool]:
        """Return the items that have a result of another model only: whether their bytes were read for it."""
        ids = [row.id for row in rows if row.status is None]
        if not ids:
            return {}
        query = select(CurrentRow.item_id, ResultRow.content_hash)
        query = query.join(ResultRow, ResultRow.id == CurrentRow.latest_id)
        found: dict[int, bool] = {}
        for row in self._database.rows(query.where(is_among(self._dialect, CurrentRow.item_id, ids))):
            found[row.item_id] = found.get(row.item_id, False) or row.content_hash is not None
        return found

    def _look_up(self, hashes: Collection[str]) -> dict[str, "_Known"]:
        """Return the latest result of each known key, by its hash."""
        mine = (CurrentRow.item_id == ItemRow.id) & (CurrentRow.weights_id == self._weights_id)
        query = (
            select(
                ItemRow.key_hash,
                ItemRow.id,
                ItemRow.gone_run_id,
                ItemRow.product_hash,
                ItemRow.department,
                ResultRow.status,
                ResultRow.error_code,
                ResultRow.version_token,
                ResultRow.run_id,
                ResultRow.content_hash,
            )
            .join(CurrentRow, mine, isouter=True)
            .join(ResultRow, ResultRow.id == CurrentRow.latest_id, isouter=True)
            .where(ItemRow.source_id == self._source.id, is_among(self._dialect, ItemRow.key_hash, hashes))
        )
        return {row[0]: _Known._make(row) for row in self._database.rows(query)}


class _Known(NamedTuple):
    """A recorded item and its latest result; without one its columns are None. A tuple, which is made the fastest."""

    key_hash: str
    id: int
    gone_run_id: int | None
    product_hash: str | None
    department: str | None
    status: str | None
    error_code: str | None
    version_token: str | None
    run_id: int | None
    content_hash: str | None

    @property
    def is_missing(self) -> bool:
        """True when it is not in the views."""
        return self.gone_run_id is not None


def _may_have_been(item: Item, row: _Known) -> bool:
    """True unless a recorded item is one of another product."""
    products = (key_hash(each) for each in (item.product_key, item.former_product) if each is not None)
    return item.product_key is None or row.product_hash is None or row.product_hash in products


def _is_former_product(item: Item, row: _Known) -> bool:
    """True when an item is recorded under the former key of its product."""
    return item.former_product is not None and row.product_hash == key_hash(item.former_product)


def _duplicate(subject: Item | Failure, *, is_same: bool) -> Planned:
    """Decide about a key that the run has met before. is_same: as the image of the same product."""
    return Planned(subject, False, "duplicate" if is_same else "duplicate_for_another_product")


def _product_hash(subject: Item | Failure) -> str | None:
    product = item_of(subject).product_key
    return None if product is None else key_hash(product)


def _judge(subject: Item | Failure, row: _Known) -> Reason:
    """Compare an input with the latest result of its key."""
    has_failed = row.status == "failed"
    if has_failed and str(row.error_code).startswith(TRANSIENT_PREFIXES):
        return "retry"
    if not _is_same(subject, row):
        return "changed"
    return "failed_before" if has_failed else "unchanged"


def _is_same(subject: Item | Failure, row: _Known) -> bool:
    if isinstance(subject, Failure):
        return bool(row.error_code == subject.code)
    return is_same(subject.version, row.version_token or "") and _product_hash(subject) in (None, row.product_hash)


def _batched(subjects: Iterable[Item | Failure], size: int) -> Iterator[list[Item | Failure]]:
    chunk: list[Item | Failure] = []
    for subject in subjects:
        chunk.append(subject)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
