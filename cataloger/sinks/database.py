"""Results into the ledger: one short transaction per batch, upserts in each engine's own SQL."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select

from cataloger.contracts import TOP_K
from cataloger.db import Database, sanitize_text, upsert_rows, utc_now
from cataloger.errors import ValueRefusedError
from cataloger.ledger import Lease, ProductResults, mark_presence, must_keep_previous, recompute_product_corrections
from cataloger.records import Failure, Item, Prediction, Result
from cataloger.schema import CurrentRow, ItemRow, ResultRow, key_hash
from cataloger.utils import failpoints
from cataloger.writeback import WriteBack, WriteCounts

TEXT_LIMIT = 500
REFUSED = "record.refused"
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
        self.on_recorded(results)
        self.on_written(written)

    @property
    def _source_id(self) -> int:
        return self.products.source.id

    def _record(self, connection: Connection, results: Sequence[Result]) -> WriteCounts:
        products = {key_hash(key) for result in results if (key := result.item.product_key) is not None}
        items = [result.item for result in results]
        before = self._products_of(connection, items)
        left = set(before.values()) - products
        item_ids = self._write_items(connection, items)
        if moved := _moved(before, items):
            recompute_product_corrections(connection, self._source_id, moved)
        new = self._write_results(connection, results, item_ids)
        self._move_pointers(connection, results, item_ids, new)
        self.products.recompute(connection, products | left)
        return self.write_back.write(connection, products) if self.write_back else WriteCounts()

    def _is_recorded(self, connection: Connection, item: Item) -> bool:
        """True when this run has a result of an item, and so of all that were written with it."""
        mine = (ItemRow.source_id == self._source_id) & (ItemRow.key_hash == key_hash(item.key))
        query = select(ResultRow.id).join(ItemRow, ItemRow.id == ResultRow.item_id)
        return connection.scalar(query.where(mine, ResultRow.run_id == self.products.run_id)) is not None

    def _products_of(self, connection: Connection, items: Sequence[Item]) -> dict[str, str]:
        """Return the products that known items have belonged to until now; all by hash."""
        mine = (ItemRow.source_id == self._source_id) & ItemRow.key_hash.in_([key_hash(item.key) for item in items])
        # Asked for distinct products that are not null, SQLite walks through all products of the source instead.
        rows = connection.execute(select(ItemRow.key_hash, ItemRow.product_hash).where(mine))
        return {row.key_hash: row.product_hash for row in rows if row.product_hash is not None}

    def _write_items(self, connection: Connection, items: Sequence[Item]) -> dict[str, int]:
        """Insert or update the items; return their ids by key hash."""
        rows = [
            {
                "source_id": self._source_id,
                "key": self.to_text(item.key),
                "key_hash": key_hash(item.key),
                "product_key": None if item.product_key is None else self.to_text(item.product_key),
                "product_hash": None if item.product_key is None else key_hash(item.product_key),
                "uri": self.to_text(item.uri),
                "department": item.department and self.to_text(item.department)[:255],
            }
            for item in items
        ]
        upsert_rows(
            connection,
            ItemRow,
            rows,
            keys=["source_id", "key_hash"],
            update=["uri", "product_key", "product_hash", "department"],
        )
        mine = (ItemRow.source_id == self._source_id) & ItemRow.key_hash.in_([row["key_hash"] for row in rows])
        columns = (ItemRow.key_hash, ItemRow.id, ItemRow.gone_run_id)
        found = connection.execute(select(*columns).where(mine)).all()
        if restored := [row.id for row in found if row.gone_run_id is not None]:
            mark_presence(connection, restored, self.products.run_id, is_gone=False)
        return {row.key_hash: row.id for row in found}

    def _write_results(
        self, connection: Connection, results: Sequence[Result], item_ids: dict[str, int]
    ) -> dict[int, int]:
        """Append the results; return their ids by item id."""
        now = utc_now(connection)
        rows = [self._row(result, item_ids[key_hash(result.item.key)], now) for result in results]
        connection.execute(insert(ResultRow), rows)
        mine = (ResultRow.run_id == self.products.run_id) & ResultRow.item_id.in_(list(item_ids.values()))
        found = connection.execute(select(ResultRow.item_id, ResultRow.id).where(mine))
        return {row.item_id: row.id for row in found}

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
        }

    def _move_pointers(
        self, connection: Connection, results: Sequence[Result], item_ids: dict[str, int], new: dict[int, int]
    ) -> None:
        good = self._good_results(connection, list(item_ids.values()))
        rows = []
        for result in results:
            item_id = item_ids[key_hash(result.item.key)]
            code = result.code if isinstance(result, Failure) else None
            keep = item_id in good and must_keep_previous(code, result.content_hash, good[item_id][1])
            rows.append(
                {
                    "item_id": item_id,
                    "weights_id": self.products.model.weights_id,
                    "result_id": good[item_id][0] if keep else new[item_id],
                    "latest_id": new[item_id],
                }
            )
        upsert_rows(connection, CurrentRow, rows, keys=["item_id", "weights_id"], update=["result_id", "latest_id"])

    def _good_results(self, connection: Connection, item_ids: list[int]) -> dict[int, tuple[int, str | None]]:
        """Return the current good results: item id -> (result id, content hash)."""
        query = (
            select(CurrentRow.item_id, ResultRow.id, ResultRow.content_hash)
            .join(ResultRow, ResultRow.id == CurrentRow.result_id)
            .where(CurrentRow.weights_id == self.products.model.weights_id, CurrentRow.item_id.in_(item_ids))
            .where(ResultRow.status == "ok")
        )
        return {item_id: (identity, content_hash) for item_id, identity, content_hash in connection.execute(query)}


def _moved(before: dict[str, str], items: Sequence[Item]) -> set[str]:
    """Return the products, by hash, that known items have moved from and to."""
    now = {key_hash(item.key): None if item.product_key is None else key_hash(item.product_key) for item in items}
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
    }


def _refused(result: Result, error: ValueRefusedError) -> Failure:
    """Return what is recorded in the place of a result that the database cannot hold; a failure keeps its code."""
    if isinstance(result, Failure):
        return result
    return Failure(result.item, REFUSED, f"the database cannot hold the result: {error}", result.content_hash)


def _to_ascii(text: str) -> str:
    """Return text that a database of any encoding can hold, and no column is too short for."""
    return sanitize_text(text).encode("ascii", "backslashreplace").decode()[:LONGEST_TEXT]
