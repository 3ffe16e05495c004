"""Results into the ledger: one short transaction per batch, upserts in each engine's own SQL."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from cataloger.contracts import TOP_K
from cataloger.db import AnyRow, Database, Statistics, insert_rows, is_among, sanitize_text, upsert_rows, utc_now
from cataloger.errors import ValueRefusedError
from cataloger.ledger import Lease, ProductResults, mark_presence, must_keep_previous, recompute_product_corrections
from cataloger.records import Failure, Item, Prediction, Result
from cataloger.schema import CurrentRow, ItemRow, ProductCurrentRow, ProductResultRow, ResultRow, key_hash
from cataloger.utils import failpoints
from cataloger.writeback import WriteBack, WriteCounts

TEXT_LIMIT = 500
REFUSED = "record.refused"
FOLLOWING = ["uri", "product_key", "product_hash", "department"]
"""What is recorded of an item as its source has it now."""
ASKED_BY_SOURCE = (ItemRow, CurrentRow, ProductResultRow, ProductCurrentRow)
"""Tables of which a batch reads the rows of its source, by hashes, and what these point to."""
LONGEST_TEXT = 10_000
"""Characters of a key or an address that was refused as it is."""


@dataclass(frozen=True, slots=True)
class DatabaseSink:
    """Writes the results of one run over one source.

    products: answers for products of that run, source and model; they are recomputed with the images. on_recorded:
    receives what has been committed. write_back: writes the answers into the shop's table, too; on_written: receives
    the counts of that, once committed. to_text: makes text what the database can hold.
    """

    database: Database
    products: ProductResults
    lease: Lease
    on_recorded: Callable[[Sequence[Result]], None] = lambda _: None
    write_back: WriteBack | None = None
    on_written: Callable[[WriteCounts], None] = lambda _: None
    to_text: Callable[[str], str] = sanitize_text
    statistics: Statistics = field(default_factory=lambda: Statistics(ASKED_BY_SOURCE))

    def write(self, results: Sequence[Result]) -> Sequence[Result]:
        """Record results, all or none; return them. Raises LeaseError when another run has taken the source over.

        A result whose text the database cannot hold is recorded as a failure, code record.refused, in plain ASCII.
        Then the others are recorded in several transactions.
        """
        try:
            self._write(results)
            return results
        except ValueRefusedError as error:
            if len(results) > 1:
                middle = len(results) // 2
                return [*self.write(results[:middle]), *self.write(results[middle:])]
            if self.to_text is _to_ascii:
                raise
            return replace(self, to_text=_to_ascii).write([_refused(results[0], error)])

    def _write(self, results: Sequence[Result]) -> None:
        attempts = itertools.count()

        def record(connection: Connection) -> WriteCounts:
            self.lease.check(connection)
            # A connection that was lost while it committed may have committed.
            if next(attempts) > 0 and self._is_recorded(connection, results[0].item):
                return WriteCounts()
            written = self._record(connection, results)
            failpoints.reach("before_commit")
            return written

        written = self.database.run(record)
        failpoints.reach("after_commit")
        self.statistics.add(self.database, len(results))
        self.on_recorded(results)
        self.on_written(written)
        if self.write_back:
            self.on_written(self.write_back.write_plain(self.database, self.lease, _products(results)))

    @property
    def _source_id(self) -> int:
        return self.products.source.id

    def _record(self, connection: Connection, results: Sequence[Result]) -> WriteCounts:
        products = _products(results)
        items = [result.item for result in results]
        known = self._known(connection, items)
        left = {row.product_hash for row in known.values() if row.product_hash is not None} - products
        item_ids = self._write_items(connection, items, known)
        if moved := _moved(known, items):
            recompute_product_corrections(connection, self._source_id, moved)
        new = self._write_results(connection, results, item_ids)
        self._move_pointers(connection, results, known, _Ids(item_ids, new))
        self.products.recompute(connection, products | left)
        return self.write_back.write(connection, products) if self.write_back else WriteCounts()

    def _is_recorded(self, connection: Connection, item: Item) -> bool:
        """True when this run has a result of an item, and so of all that were written with it."""
        mine = (ItemRow.source_id == self._source_id) & (ItemRow.key_hash == key_hash(item.key))
        query = select(ResultRow.id).join(ItemRow, ItemRow.id == ResultRow.item_id)
        return connection.scalar(query.where(mine, ResultRow.run_id == self.products.run_id)) is not None

    def _known(self, connection: Connection, items: Sequence[Item]) -> dict[str, AnyRow]:
        """Return what is recorded of items until now, with their current good results, by the hash of the key."""
        dialect, hashes = connection.dialect.name, [key_hash(item.key) for item in items]
        pointer = (CurrentRow.item_id == ItemRow.id) & (CurrentRow.weights_id == self.products.model.weights_id)
        good = (ResultRow.id == CurrentRow.result_id) & (ResultRow.status == "ok")
        columns = [getattr(ItemRow, name) for name in ("key_hash", "id", "gone_run_id", *FOLLOWING)]
        query = (
            select(*columns, ResultRow.id.label("good_id"), ResultRow.content_hash)
            .join(CurrentRow, pointer, isouter=True)
            .join(ResultRow, good, isouter=True)
            .where(ItemRow.source_id == self._source_id, is_among(dialect, ItemRow.key_hash, hashes))
        )
        return {row.key_hash: row for row in connection.execute(query)}

    def _write_items(
        self, connection: Connection, items: Sequence[Item], known: Mapping[str, AnyRow]
    ) -> dict[str, int]:
        """Insert items that are new and update those that have changed; return the ids of all by key hash."""
        rows = [row for item in items if _has_changed(row := self._item_row(item), known)]
        ids = {hashed: int(row.id) for hashed, row in known.items()}
        keys = ["source_id", "key_hash"]
        written = upsert_rows(connection, ItemRow, rows, keys=keys, update=FOLLOWING, returning=("key_hash", "id"))
        if written is None:
            new = [row["key_hash"] for row in rows if row["key_hash"] not in ids]
            mine = (ItemRow.source_id == self._source_id) & is_among(connection.dialect.name, ItemRow.key_hash, new)
            query = select(ItemRow.key_hash, ItemRow.id).where(mine)
            written = [tuple(row) for row in connection.execute(query)] if new else []
        if restored := [row.id for row in known.values() if row.gone_run_id is not None]:
            mark_presence(connection, restored, self.products.run_id, is_gone=False)
        return ids | dict(written)

    def _item_row(self, item: Item) -> dict[str, Any]:
        return {
            "source_id": self._source_id,
            "key": self.to_text(item.key),
            "key_hash": key_hash(item.key),
            "product_key": None if item.product_key is None else self.to_text(item.product_key),
            "product_hash": None if item.product_key is None else key_hash(item.product_key),
            "uri": self.to_text(item.uri),
            "department": item.department and self.to_text(item.department)[:255],
        }

    def _write_results(
        self, connection: Connection, results: Sequence[Result], item_ids: Mapping[str, int]
    ) -> dict[int, int]:
        """Append the results; return their ids by item id."""
        now = utc_now(connection)
        rows = [self._row(result, item_ids[key_hash(result.item.key)], now) for result in results]
        written = insert_rows(connection, ResultRow, rows, returning=("item_id", "id"))
        if written is None:
            items = is_among(connection.dialect.name, ResultRow.item_id, [row["item_id"] for row in rows])
            mine = (ResultRow.run_id == self.products.run_id) & items
            query = select(ResultRow.item_id, ResultRow.id).where(mine)
            written = [tuple(row) for row in connection.execute(query)]
        return dict(written)

    def _row(self, result: Result, item_id: int, now: datetime) -> dict[str, Any]:
        common = {
            "item_id": item_id,
            "run_id": self.products.run_id,
            "weights_id": self.products.model.weights_id,
            "calibration_id": self.products.model.calibration_id_of(result.item.department),
            "precision": self.products.model.precision,
            "content_hash": result.content_hash,
            "version_token": self.to_text(result.item.version),
            "tagged_at": now,
        }
        return common | (self._failed(result) if isinstance(result, Failure) else _ok(result))

    def _failed(self, failure: Failure) -> dict[str, Any]:
        ranks = range(1, TOP_K + 1)
        return {
            "status": "failed",
            "error_code": failure.code,
            "error_text": self.to_text(failure.message)[:TEXT_LIMIT],
            **dict.fromkeys([f"label_{rank}" for rank in ranks] + [f"confidence_{rank}" for rank in ranks]),
            **dict.fromkeys(("logits", "log_sum_exp", "scores", "familiarity", "decision", "width", "height")),
            "decoder": None,
        }

    def _move_pointers(
        self, connection: Connection, results: Sequence[Result], known: Mapping[str, AnyRow], ids: "_Ids"
    ) -> None:
        rows = []
        for result in results:
            hashed = key_hash(result.item.key)
            item_id, before = ids.items[hashed], known.get(hashed)
            good_id = None if before is None else before.good_id
            code = result.code if isinstance(result, Failure) else None
            keep = good_id is not None and must_keep_previous(code, result.content_hash, known[hashed].content_hash)
            rows.append(
                {
                    "item_id": item_id,
                    "weights_id": self.products.model.weights_id,
                    "result_id": good_id if keep else ids.results[item_id],
                    "latest_id": ids.results[item_id],
                }
            )
        upsert_rows(connection, CurrentRow, rows, keys=["item_id", "weights_id"], update=["result_id", "latest_id"])


@dataclass(frozen=True, slots=True)
class _Ids:
    """Ids of items by the hash of the key, and of their new results by item."""

    items: Mapping[str, int]
    results: Mapping[int, int]


def _has_changed(row: Mapping[str, Any], known: Mapping[str, AnyRow]) -> bool:
    """Tell whether an item is new, or is not what is recorded of it any more."""
    before = known.get(row["key_hash"])
    return before is None or any(getattr(before, name) != row[name] for name in FOLLOWING)


def _moved(known: Mapping[str, AnyRow], items: Sequence[Item]) -> set[str]:
    """Return the products, by hash, that known items have moved from and to."""
    now = {key_hash(item.key): None if item.product_key is None else key_hash(item.product_key) for item in items}
    before = {key: row.product_hash for key, row in known.items() if row.product_hash is not None}
    moved = {(product, now[key]) for key, product in before.items() if now[key] != product}
    return {product for pair in moved for product in pair if product is not None}


def _ok(prediction: Prediction) -> dict[str, Any]:
    empty = [None] * (TOP_K - len(prediction.labels))
    labels, confidences = [*prediction.labels, *empty], [*prediction.confidences, *empty]
    return {
        "status": "ok",
        "error_code": None,
        "error_text": None,
        **{f"label_{rank}": label for rank, label in enumerate(labels, start=1)},
        **{f"confidence_{rank}": confidence for rank, confidence in enumerate(confidences, start=1)},
        "logits": list(prediction.logits),
        "log_sum_exp": prediction.log_sum_exp,
        "scores": prediction.scores,
        "familiarity": prediction.familiarity,
        "decision": prediction.decision,
        "width": prediction.width,
        "height": prediction.height,
        "decoder": prediction.decoder or None,
    }


def _refused(result: Result, error: ValueRefusedError) -> Failure:
    """Return what is recorded in the place of a result that the database cannot hold; a failure keeps its code."""
    if isinstance(result, Failure):
        return result
    return Failure(result.item, REFUSED, f"the database cannot hold the result: {error}", result.content_hash)


def _to_ascii(text: str) -> str:
    """Return text that a database of any encoding can hold, and no column is too short for."""
    return sanitize_text(text).encode("ascii", "backslashreplace").decode()[:LONGEST_TEXT]


def _products(results: Sequence[Result]) -> set[str]:
    """Return the products of results, by hash."""
    return {key_hash(key) for result in results if (key := result.item.product_key) is not None}
