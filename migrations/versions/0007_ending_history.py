"""Ending history: deleting a result asks what still points to it, which was found by reading all that is current."""

from cataloger.migrations.statements import index_foreign_key, unindex_foreign_key

revision = "0007"
down_revision = "0006"

POINTERS = (
    ("cataloger_current", "result_id"),
    ("cataloger_current", "latest_id"),
    ("cataloger_product_current", "result_id"),
)


def upgrade() -> None:
    """Apply."""
    for table, column in POINTERS:
        index_foreign_key(table, [column])


def downgrade() -> None:
    """Undo."""
    for table, column in POINTERS:
        unindex_foreign_key(table, [column])
