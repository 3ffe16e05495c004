"""The shop's own names for the labels of a model, and a view that shows them."""

import sqlalchemy as sa

from cataloger.db import exact_name, identifier
from cataloger.migrations.statements import create_table, create_view, drop_tables, drop_views

revision = "0002"
down_revision = "0001"

TABLE = "cataloger_label_map"
VIEW = "cataloger_image_codes"

COLUMNS = (
    "s.name AS source, i.{{key}}, i.uri, i.product_key, {rank} AS {{rank}}, r.label_{rank} AS label, "
    "l.code, l.name, l.parent, r.confidence_{rank} AS confidence"
)
ROWS = (
    "FROM cataloger_source s JOIN cataloger_item i ON i.source_id = s.id "
    "JOIN cataloger_current c ON c.item_id = i.id AND c.weights_id = s.weights_id "
    "JOIN cataloger_result r ON r.id = c.result_id "
    "JOIN cataloger_label_map l ON l.source_id = s.id AND l.label = r.label_{rank} WHERE i.gone_run_id IS NULL"
)
SELECT = " UNION ALL ".join(f"SELECT {COLUMNS} {ROWS}".format(rank=rank) for rank in range(1, 6))


def upgrade() -> None:
    """Apply."""
    create_table(
        TABLE,
        sa.Column("source_id", identifier(), autoincrement=False, nullable=False),
        sa.Column("label", exact_name(), nullable=False),
        sa.Column("code", sa.String(length=255), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=True),
        sa.Column("parent", sa.String(length=255), nullable=True),
        sa.ForeignKeyConstraint(["source_id"], ["cataloger_source.id"], name="fk_cataloger_label_map_source_id"),
        sa.PrimaryKeyConstraint("source_id", "label", name="pk_cataloger_label_map"),
    )
    create_view(VIEW, SELECT)


def downgrade() -> None:
    """Undo: the maps are lost, and are made again by the next `cataloger sync --label-map`."""
    drop_views([VIEW])
    drop_tables([TABLE])
