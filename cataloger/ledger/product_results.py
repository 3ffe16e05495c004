"""Answers for products in the ledger: recomputed with every change of the images that they come from."""

from collections.abc import Collection, Sequence
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Select, delete, exists, select, update

from cataloger.contracts import TOP_K
from cataloger.db import AnyRow, Database, is_among, upsert_rows, utc_now, value_pages
from cataloger.inference import ProductAnswer, RankedAnswer, combine
from cataloger.ledger.leases import Lease
from cataloger.ledger.model_registry import ModelRef
from cataloger.ledger.source_registry import SourceRef
from cataloger.schema import (
    CorrectionRow,
    CurrentRow,
    ItemRow,
    ProductCurrentRow,
    ProductResultRow,
    ResultRow,
    with_corrections,
)

RANKS = range(1, TOP_K + 1)
KEYS = ["run_id", "source_id", "product_hash"]
ANSWER = ["decision", *(f"{kind}_{rank}" for rank in RANKS for kind in ("label", "confidence"))]
UPDATED = ["images", "tagged_at", *ANSWER]
PRODUCTS_PER_STATEMENT = 500


class ProductResults:
    """Writes the answers for the products of one source, in transactions of others."""

    def __init__(self, source: SourceRef, run_id: int, model: ModelRef) -> None:
        self.source = source
        self.run_id = run_id
        self.model = model

    def recompute(self, connection: Connection, products: Collection[str]) -> None:
        """Recompute the answers for products, by the hashes of their keys, from the images in the views."""
        ordered = sorted(products)
        for start in range(0, len(ordered), PRODUCTS_PER_STATEMENT):
            self._recompute(connection, ordered[start : start + PRODUCTS_PER_STATEMENT])

    def recompute_for_items(self, connection: Connection, item_ids: Collection[int]) -> None:
        """Recompute the answers for the products of some images, which were added to the views or removed."""
        query = (
            select(ItemRow.product_hash).where(ItemRow.id.in_(item_ids), ItemRow.product_hash.is_not(None)).distinct()
        )
        self.recompute(connection, [str(product) for product in connection.scalars(query)])

    def catch_up(self, database: Database, lease: Lease) -> None:
        """Recompute, at the beginning of a run, the answers for products that are out of date."""
        if self.source.weights_id not in (None, self.model.weights_id) or self._are_missing(database):
            self.recompute_all(database, lease)
        else:
            self.recompute_reviewed(database, lease)

    def _are_missing(self, database: Database) -> bool:
        """True when no product has an answer although images have: the tables are of an older version."""
        items = select(ItemRow.id).join(CurrentRow, (CurrentRow.item_id == ItemRow.id) & self._of_model(CurrentRow))
        images = items.where(ItemRow.source_id == self.source.id, ItemRow.product_hash.is_not(None))
        answers = select(ProductCurrentRow.product_hash).where(ProductCurrentRow.source_id == self.source.id)
        query = select(exists(images) & ~exists(answers.where(self._of_model(ProductCurrentRow))))
        return bool(database.scalar(query))

    def recompute_all(self, database: Database, lease: Lease) -> None:
        """Recompute the answers for all products: those of a model that was not pinned are out of date."""
        self._recompute_selected(database, lease, select(ItemRow.product_hash))

    def recompute_since(self, database: Database, lease: Lease, run_id: int) -> None:
        """Recompute the answers for products of which any image has a result of this run or of a later one.

        Shards that recorded images of one product at the same time have not seen those of each other.
        """
        tagged = select(ItemRow.product_hash).join(ResultRow, ResultRow.item_id == ItemRow.id)
        self._recompute_selected(database, lease, tagged.where(ResultRow.run_id >= run_id))

    def recompute_reviewed(self, database: Database, lease: Lease) -> None:
        """Recompute the answers for products with newer corrections of whether an image shows a product."""
        doubted = select(CorrectionRow.item_id).where(CorrectionRow.verdict == "not_product")
        current = (ProductCurrentRow.source_id == ItemRow.source_id) & (
            ProductCurrentRow.product_hash == ItemRow.product_hash
        )
        query = (
            select(ItemRow.product_hash)
            .join(CorrectionRow, CorrectionRow.item_id == ItemRow.id)
            .join(ProductCurrentRow, current & self._of_model(ProductCurrentRow), isouter=True)
            .join(ProductResultRow, ProductResultRow.id == ProductCurrentRow.result_id, isouter=True)
            .where(CorrectionRow.item_id.in_(doubted))
            .where(ProductResultRow.id.is_(None) | (CorrectionRow.corrected_at > ProductResultRow.tagged_at))
        )
        self._recompute_selected(database, lease, query)

    def _recompute_selected(self, database: Database, lease: Lease, query: Select[Any]) -> None:
        mine = query.where(ItemRow.source_id == self.source.id, ItemRow.product_hash.is_not(None))
        for page in value_pages(database, mine, ItemRow.product_hash, PRODUCTS_PER_STATEMENT):
            database.write(self._recompute_page, lease, page)

    def _recompute_page(self, connection: Connection, lease: Lease, products: list[str]) -> None:
        lease.check(connection)
        self._recompute(connection, products)

    def _recompute(self, connection: Connection, products: list[str]) -> None:
        images = self._images(connection, products)
        answers = {product: self._combine(rows) for product, rows in images.items()}
        if answers:
            self._mark(connection, images, answers)
            self._point(connection, self._write(connection, images, answers))
        if without := [product for product in products if product not in answers]:
            mine = (ProductCurrentRow.source_id == self.source.id) & ProductCurrentRow.product_hash.in_(without)
            connection.execute(delete(ProductCurrentRow).where(mine, self._of_model(ProductCurrentRow)))

    def _images(self, connection: Connection, products: list[str]) -> dict[str, list[AnyRow]]:
        """Return the good results of the images of each product, in the order of the items.

        Images whose correction is that they show no product are ignored.
        """
        columns = [getattr(ResultRow, name) for name in ANSWER]
        query = (
            with_corrections(
                select(
                    ItemRow.product_hash,
                    ItemRow.product_key,
                    ItemRow.department,
                    ItemRow.id,
                    CurrentRow.disagrees,
                    *columns,
                )
                .join(CurrentRow, (CurrentRow.item_id == ItemRow.id) & self._of_model(CurrentRow))
                .join(ResultRow, ResultRow.id == CurrentRow.result_id)
            )
            .where(ItemRow.source_id == self.source.id)
            .where(is_among(connection.dialect.name, ItemRow.product_hash, products))
            .where(CorrectionRow.id.is_(None) | (CorrectionRow.verdict != "not_product"))
            .where(ItemRow.gone_run_id.is_(None), ResultRow.status == "ok")
            .order_by(ItemRow.product_hash, ItemRow.id)
        )
        found = connection.execute(query).all()
        return {product: list(rows) for product, rows in groupby(found, key=lambda row: str(row.product_hash))}

    def _combine(self, rows: Sequence[AnyRow]) -> ProductAnswer:
        return combine([answer_of(row) for row in rows], self.model.labels_of(rows[0].department))

    def _mark(
        self,
        connection: Connection,
        images: dict[str, list[AnyRow]],
        answers: dict[str, ProductAnswer],
    ) -> None:
        """Record which images disagree; nearly always that is what was recorded before."""
        changed: dict[bool, list[int]] = {True: [], False: []}
        for product, rows in images.items():
            for position, row in enumerate(rows):
                disagrees = position in answers[product].disagreeing
                if disagrees != row.disagrees:
                    changed[disagrees].append(row.id)
        for disagrees, ids in changed.items():
            if ids:
                mine = CurrentRow.item_id.in_(ids) & self._of_model(CurrentRow)
                connection.execute(update(CurrentRow).where(mine).values(disagrees=disagrees))

    def _write(
        self,
        connection: Connection,
        images: dict[str, list[AnyRow]],
        answers: dict[str, ProductAnswer],
    ) -> dict[str, int]:
        """Record the answers; return their ids. Later images of a product in the same run improve its row."""
        common = {
            "source_id": self.source.id,
            "run_id": self.run_id,
            "weights_id": self.model.weights_id,
            "tagged_at": utc_now(connection),
        }
        rows = [
            {
                **common,
                "product_hash": product,
                "product_key": images[product][0].product_key,
                "images": len(images[product]),
                "decision": found.decision,
                **_columns(found.answer),
            }
            for product, found in answers.items()
        ]
        ids = ("product_hash", "id")
        written = upsert_rows(connection, ProductResultRow, rows, keys=KEYS, update=UPDATED, returning=ids)
        if written is None:
            mine = (ProductResultRow.run_id == self.run_id) & (ProductResultRow.source_id == self.source.id)
            mine &= is_among(connection.dialect.name, ProductResultRow.product_hash, list(answers))
            query = select(ProductResultRow.product_hash, ProductResultRow.id).where(mine)
            written = [tuple(row) for row in connection.execute(query)]
        return {str(product): int(identity) for product, identity in written}

    def _point(self, connection: Connection, ids: dict[str, int]) -> None:
        """Make the answers of this run the current ones. ids: by product."""
        common = {"source_id": self.source.id, "weights_id": self.model.weights_id}
        rows = [{**common, "product_hash": product, "result_id": identity} for product, identity in ids.items()]
        keys = ["source_id", "product_hash", "weights_id"]
        upsert_rows(connection, ProductCurrentRow, rows, keys=keys, update=["result_id"])

    def _of_model(self, table: Any) -> Any:
        return table.weights_id == self.model.weights_id


def answer_of(row: AnyRow) -> RankedAnswer:
    """Return the answer of a result of an image, as far as it was recorded."""
    pairs = [(getattr(row, f"label_{rank}"), getattr(row, f"confidence_{rank}")) for rank in RANKS]
    known = [(label, confidence) for label, confidence in pairs if label is not None]
    labels, confidences = tuple(label for label, _ in known), tuple(confidence for _, confidence in known)
    return RankedAnswer(labels, confidences, row.decision)


def _columns(answer: RankedAnswer) -> dict[str, Any]:
    empty = [None] * (TOP_K - len(answer.labels))
    labels, confidences = [*answer.labels, *empty], [*answer.confidences, *empty]
    return {
        **{f"label_{rank}": label for rank, label in zip(RANKS, labels, strict=True)},
        **{f"confidence_{rank}": confidence for rank, confidence in zip(RANKS, confidences, strict=True)},
    }
