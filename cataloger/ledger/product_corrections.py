"""What people say of products: worked out anew whenever a word on one of the images comes, goes or moves."""

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
    """Work out anew what people say of the products of some images, which came or went."""
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
    """Work out anew what people say of products of a source, by the hashes of their keys."""
    ordered = sorted(products)
    for start in range(0, len(ordered), PRODUCTS_PER_STATEMENT):
        page = ordered[start : start + PRODUCTS_PER_STATEMENT]
        rows = _said(connection, source_id, page)
        found = {product: _of_most(words) for product, words in groupby(rows, key=lambda row: str(row.product_hash))}
        values = [
            {"source_id": source_id, "product_hash": product, **{name: getattr(word, name) for name in VALUES}}
            for product, word in found.items()
        ]
        upsert_rows(connection, CurrentProductCorrectionRow, values, keys=KEYS, update=VALUES)
        if without := [product for product in page if product not in found]:
            mine = (
                CurrentProductCorrectionRow.source_id == source_id
            ) & CurrentProductCorrectionRow.product_hash.in_(without)
            connection.execute(delete(CurrentProductCorrectionRow).where(mine))


def _said(connection: Connection, source_id: int, products: list[str]) -> Iterable[AnyRow]:
    """Return the labels that hold of the images that are there, the latest of each product last."""
    word = (CorrectionRow.label, CorrectionRow.author, CorrectionRow.corrected_at)
    columns: tuple[Any, ...] = (ItemRow.product_hash, ItemRow.product_key, *word)
    query = (
        with_corrections(select(*columns).select_from(ItemRow), only=True)
        .where(ItemRow.source_id == source_id, ItemRow.product_hash.in_(products), ItemRow.gone_run_id.is_(None))
        .where(CorrectionRow.verdict == "label")
        .order_by(ItemRow.product_hash, CorrectionRow.id)
    )
    return connection.execute(query)


def _of_most(words: Iterable[AnyRow]) -> AnyRow:
    """Return the latest word for the most frequent label, of equally frequent ones for the one said last."""
    ordered = list(words)
    counts = Counter(word.label for word in ordered)
    _, word = max(enumerate(ordered), key=lambda found: (counts[found[1].label], found[0]))
    return word
