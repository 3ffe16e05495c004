"""Known items whose key, product or version token is recorded in a form of earlier versions: renewed in place.

So are items whose product is in another department now.

An item keeps its row, and with it its results, corrections and what was written back; only its names change. It is
done in the first night that meets an item, a chunk of the plan in one transaction, and repeating it changes nothing:
a run that is killed in between is continued by the next. A migration could not do it, since neither the query of an
address nor what the shop's columns hold is in the ledger.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, delete, select, update

from cataloger.db import Database, sanitize_text
from cataloger.ledger import Lease, recompute_product_corrections
from cataloger.records import Renewal
from cataloger.schema import (
    CurrentProductCorrectionRow,
    ItemRow,
    ProductCurrentRow,
    ProductResultRow,
    ResultRow,
    SourceRow,
    WriteRow,
    key_hash,
)
from cataloger.sources import change_tokens

CURRENT: tuple[Any, ...] = (ProductCurrentRow, CurrentProductCorrectionRow)
"""Tables of one row for each product."""


@dataclass(frozen=True, slots=True)
class ItemRenewer:
    """Renews what is recorded of the items of one source.

    on_merged: receives the hashes of products that had two keys and have one now, in the same transaction.
    """

    database: Database
    source_id: int
    lease: Lease
    on_merged: Callable[[Connection, Collection[str]], None]

    def renew(self, renewals: Sequence[Renewal]) -> None:
        """Renew items, all or none. Raises LeaseError when another run has taken the source over."""
        self.database.write(self._renew, renewals)

    def _renew(self, connection: Connection, renewals: Sequence[Renewal]) -> None:
        self.lease.check(connection)
        self._rename_items(connection, [each for each in renewals if each.is_key])
        products = {each.former_product: str(each.item.product_key) for each in renewals if each.former_product}
        self._rename_products(connection, products)
        self._move_to_departments(connection, [each for each in renewals if each.is_department])
        self._renew_tokens(connection, {each.item_id: each.item.version for each in renewals if each.is_token})

    def _rename_items(self, connection: Connection, renewals: Sequence[Renewal]) -> None:
        rows = [
            {
                "b_id": each.item_id,
                "key": sanitize_text(each.item.key),
                "key_hash": key_hash(each.item.key),
                "uri": sanitize_text(each.item.uri),
            }
            for each in renewals
        ]
        if rows:
            connection.execute(update(ItemRow).where(ItemRow.id == bindparam("b_id")), rows)

    def _move_to_departments(self, connection: Connection, renewals: Sequence[Renewal]) -> None:
        """Note the departments of items, whose results are then of the labels of another one."""
        rows = [{"b_id": each.item_id, "department": each.item.department} for each in renewals]
        if rows:
            connection.execute(update(ItemRow).where(ItemRow.id == bindparam("b_id")), rows)
            connection.execute(update(SourceRow).where(SourceRow.id == self.source_id).values(is_mixed=True))

    def _rename_products(self, connection: Connection, products: dict[str, str]) -> None:
        """Give products their present keys wherever they are recorded. products: former hash -> key."""
        if not products:
            return
        taken = self._having(connection, ItemRow, {key_hash(key) for key in products.values()})
        merged = {former for former, key in products.items() if key_hash(key) in taken}
        if merged:
            # Their answers and corrections are recomputed; a run may have answers under both keys already.
            for answers in CURRENT:
                mine = (answers.source_id == self.source_id) & answers.product_hash.in_(merged)
                connection.execute(delete(answers).where(mine))
        others = {former: key for former, key in products.items() if former not in merged}
        for table, renamed in ((ItemRow, products), (WriteRow, products), (ProductResultRow, others)):
            self._rename(connection, table, renamed)
        for answers in CURRENT:
            self._rename(connection, answers, others)
        if merged:
            hashes = {key_hash(products[former]) for former in merged}
            recompute_product_corrections(connection, self.source_id, hashes)
            self.on_merged(connection, hashes)

    def _rename(self, connection: Connection, table: Any, products: dict[str, str]) -> None:
        there = self._having(connection, table, products)
        has_key = hasattr(table, "product_key")
        rows = [
            {"b_former": former, "product_hash": key_hash(products[former])}
            | ({"product_key": sanitize_text(products[former])} if has_key else {})
            for former in sorted(there)
        ]
        if rows:
            mine = (table.source_id == self.source_id) & (table.product_hash == bindparam("b_former"))
            connection.execute(update(table).where(mine), rows)

    def _having(self, connection: Connection, table: Any, hashes: Collection[str]) -> set[str]:
        """Return those of some products, by hash, that a table has rows of."""
        mine = (table.source_id == self.source_id) & table.product_hash.in_(hashes)
        return {str(product) for product in connection.scalars(select(table.product_hash).where(mine).distinct())}

    def _renew_tokens(self, connection: Connection, tokens: dict[int, str]) -> None:
        """Add the query to the tokens of all results of these items that were recorded without one."""
        if not tokens:
            return
        query = select(ResultRow.id, ResultRow.item_id, ResultRow.version_token).where(ResultRow.item_id.in_(tokens))
        rows = [
            {"b_id": row.id, "version_token": token}
            for row in connection.execute(query)
            if (token := change_tokens.with_query(tokens[row.item_id], row.version_token)) is not None
        ]
        if rows:
            connection.execute(update(ResultRow).where(ResultRow.id == bindparam("b_id")), rows)
