"""Deleting items permanently, with everything that was ever recorded of them."""

from collections.abc import Sequence

from sqlalchemy import Connection, delete, select

from cataloger.schema import (
    CorrectionRow,
    CurrentCorrectionRow,
    CurrentProductCorrectionRow,
    CurrentRow,
    ItemPresenceRow,
    ItemRow,
    ProductCurrentRow,
    ProductResultRow,
    ResultRow,
    SecondAnswerRow,
    WriteRow,
)


def purge_items(connection: Connection, source_id: int, ids: Sequence[int]) -> None:
    """Delete items, and what was recorded of products that have no image left."""
    products = select(ItemRow.product_hash).where(ItemRow.id.in_(ids), ItemRow.product_hash.is_not(None)).distinct()
    touched = set(connection.scalars(products))
    for table in (SecondAnswerRow, CurrentCorrectionRow, CorrectionRow, CurrentRow, ItemPresenceRow, ResultRow):
        connection.execute(delete(table).where(table.item_id.in_(ids)))
    connection.execute(delete(ItemRow).where(ItemRow.id.in_(ids)))
    rest = (
        select(ItemRow.product_hash)
        .where(ItemRow.source_id == source_id, ItemRow.product_hash.in_(touched))
        .distinct()
    )
    empty = touched.difference(connection.scalars(rest))
    if empty:
        for each in (CurrentProductCorrectionRow, ProductCurrentRow, ProductResultRow, WriteRow):
            connection.execute(delete(each).where(each.source_id == source_id, each.product_hash.in_(empty)))
