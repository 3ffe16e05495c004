"""Answers for products: which product an image belongs to can be looked up, and which images disagree is kept."""

import hashlib

import sqlalchemy as sa
from alembic import context, op

from cataloger.db import digest
from cataloger.migrations.statements import add_column, create_index, create_view, drop_column, drop_index, drop_views

revision = "0003"
down_revision = "0002"

VIEW = "cataloger_product_images"
PAGE = 5000

ITEM = sa.table(
    "cataloger_item",
    sa.column("id", sa.BigInteger),
    sa.column("product_key", sa.Text),
    sa.column("product_hash", sa.String),
)

IMAGES = (
    "SELECT s.name AS source, i.product_key, i.{key}, i.uri, r.status, r.label_1 AS label, "
    "r.confidence_1 AS confidence, p.label_1 AS product_label, c.disagrees "
    "FROM cataloger_source s JOIN cataloger_item i ON i.source_id = s.id "
    "JOIN cataloger_current c ON c.item_id = i.id AND c.weights_id = s.weights_id "
    "JOIN cataloger_result r ON r.id = c.result_id "
    "LEFT JOIN cataloger_product_current q "
    "ON q.source_id = s.id AND q.product_hash = i.product_hash AND q.weights_id = s.weights_id "
    "LEFT JOIN cataloger_product_result p ON p.id = q.result_id "
    "WHERE i.gone_run_id IS NULL AND i.product_hash IS NOT NULL"
)


def upgrade() -> None:
    """Apply. The answers themselves come with the next results."""
    add_column("cataloger_item", sa.Column("product_hash", digest(), nullable=True))
    false = sa.false()
    add_column("cataloger_current", sa.Column("disagrees", sa.Boolean(), nullable=False, server_default=false))
    if not context.is_offline_mode():
        _fill_hashes(op.get_bind())
    create_index("cataloger_item", ["source_id", "product_hash"])
    create_view(VIEW, IMAGES)


def downgrade() -> None:
    """Undo."""
    drop_views([VIEW])
    drop_index("cataloger_item", ["source_id", "product_hash"])
    drop_column("cataloger_current", "disagrees")
    drop_column("cataloger_item", "product_hash")


def _fill_hashes(connection: sa.Connection) -> None:
    """Give the items that are there the hash of their product, as the ledger gives it to new ones."""
    last = 0
    missing = ITEM.c.product_key.is_not(None) & ITEM.c.product_hash.is_(None)
    page = sa.select(ITEM.c.id, ITEM.c.product_key).where(missing).order_by(ITEM.c.id).limit(PAGE)
    change = sa.update(ITEM).where(ITEM.c.id == sa.bindparam("item")).values(product_hash=sa.bindparam("hash"))
    while rows := connection.execute(page.where(ITEM.c.id > last)).all():
        hashes = [hashlib.sha256(row.product_key.encode("utf-8", "backslashreplace")).hexdigest() for row in rows]
        values = [{"item": row.id, "hash": value} for row, value in zip(rows, hashes, strict=True)]
        connection.execute(change, values)
        last = rows[-1].id
