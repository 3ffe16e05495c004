"""Deleting items for good, with everything that was ever recorded of them."""

from collections.abc import Sequence

from sqlalchemy import Connection, delete, select

from cataloger.schema.models import (
    Corrected,
    CorrectedProduct,
    Correction,
    Current,
    Item,
    ItemPresence,
    ProductCurrent,
    ProductResult,
    Result,
    Write,
)


def forget_items(connection: Connection, source_id: int, ids: Sequence[int]) -> None:
    """Delete items, and what was recorded of products that have no image left."""
    products = select(Item.product_hash).where(Item.id.in_(ids), Item.product_hash.is_not(None)).distinct()
    touched = set(connection.scalars(products))
    for table in (Corrected, Correction, Current, ItemPresence, Result):
        connection.execute(delete(table).where(table.item_id.in_(ids)))
    connection.execute(delete(Item).where(Item.id.in_(ids)))
    rest = select(Item.product_hash).where(Item.source_id == source_id, Item.product_hash.in_(touched)).distinct()
    empty = touched.difference(connection.scalars(rest))
    if empty:
        for each in (CorrectedProduct, ProductCurrent, ProductResult, Write):
            connection.execute(delete(each).where(each.source_id == source_id, each.product_hash.in_(empty)))
