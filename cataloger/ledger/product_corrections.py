"""Corrections of products: recomputed whenever a correction of one of the images is added, removed or moved."""

from collections import Counter
from collections.abc import Collection, Iterable
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, delete, select

from cataloger.db import AnyRow, upsert_rows
from cataloger.schema import (
    CorrectionRow,
    CurrentCorrectionRow,
    CurrentProductCorrectionRow,
    ItemRow,
    with_corrections,
)

PRODUCTS_PER_STATEMENT = 500
KEYS = ["source_id", "product_hash"]
VALUES = ["product_key", "label", "author", "corrected_at"]


def recompute_product_corrections_of(connection: Connection, item_ids: Collection[int]) -> None:
    """Recompute the corrections of the products of some images, which were added to the views or removed."""
    query = (
        select(ItemRow.source_id, ItemRow.product_hash)
        .join(CurrentCorrectionRow, CurrentCorrectionRow.item_id == ItemRow.id)
        .where(ItemRow.id.in_(item_ids), ItemRow.product_hash.is_not(None))
        .distinct()
        .order_by(ItemRow.source_id)
    )
    for source_id, rows in groupby(connection.execute(query), key=lambda row: int(row.source_id)):
        recompute_product_corrections(connection, source_id, [row.product_hash for row in rows])


def recompute_product_corrections(connection: Connection, source_id: int, products: Collection[str]) -> None:
    """Recompute the corrections of products of a source, by the hashes of their keys."""
    ordered = sorted(products)
    for start in range(0, len(ordered), PRODUCTS_PER_STATEMENT):
        page = ordered[start : start + PRODUCTS_PER_STATEMENT]
        rows = _current_labels(connection, source_id, page)
        by_product = groupby(rows, key=lambda row: str(row.product_hash))
        found = {product: _of_most(corrections) for product, corrections in by_product}
        values = [
            {"source_id": source_id, "product_hash": product, **{name: getattr(correction, name) for name in VALUES}}
            for product, correction in found.items()
        ]
        upsert_rows(connection, CurrentProductCorrectionRow, values, keys=KEYS, update=VALUES)
        if without := [product for product in page if product not in found]:
            mine = (
                CurrentProductCorrectionRow.source_id == source_id
            ) & CurrentProductCorrectionRow.product_hash.in_(without)
            connection.execute(delete(CurrentProductCorrectionRow).where(mine))


def _current_labels(connection: Connection, source_id: int, products: list[str]) -> Iterable[AnyRow]:
    """Return the current correction labels of the images in the views, the latest of each product last."""
    correction = (CorrectionRow.label, CorrectionRow.author, CorrectionRow.corrected_at)
    columns: tuple[Any, ...] = (ItemRow.product_hash, ItemRow.product_key, *correction)
    query = (
        with_corrections(select(*columns).select_from(ItemRow), only=True)
        .where(ItemRow.source_id == source_id, ItemRow.product_hash.in_(products), ItemRow.gone_run_id.is_(None))
        .where(CorrectionRow.verdict == "label")
        .order_by(ItemRow.product_hash, CorrectionRow.id)
    )
    return connection.execute(query)


def _of_most(corrections: Iterable[AnyRow]) -> AnyRow:
    """Return the latest correction to the most frequent label, of equally frequent ones to the latest label."""
    ordered = list(corrections)
    counts = Counter(correction.label for correction in ordered)
    _, latest = max(enumerate(ordered), key=lambda found: (counts[found[1].label], found[0]))
    return latest
