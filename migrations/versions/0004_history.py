"""History: which runs were undone, which sources a run worked on, who left and came back, what undoing restored."""

import sqlalchemy as sa
from alembic import op

from cataloger.db import digest, identifier
from cataloger.migrations.statements import (
    add_column,
    create_index,
    create_table,
    drop_column,
    drop_tables,
    index_foreign_key,
    unindex_foreign_key,
)

revision = "0004"
down_revision = "0003"

INDEXES = {
    "cataloger_write": ["run_id", "product_hash"],
    "cataloger_product_result": ["source_id", "product_hash"],
}

# What older runs left behind; MIN, since a run over one source has used one model.
FILL_SOURCES = """
INSERT INTO cataloger_run_source (run_id, source_id, weights_id)
SELECT r.run_id, i.source_id, MIN(r.weights_id) FROM cataloger_result r JOIN cataloger_item i ON i.id = r.item_id
WHERE NOT EXISTS (SELECT 1 FROM cataloger_run_source s WHERE s.run_id = r.run_id AND s.source_id = i.source_id)
GROUP BY r.run_id, i.source_id
"""
FILL_PRESENCE = """
INSERT INTO cataloger_presence (run_id, item_id, is_gone)
SELECT i.gone_run_id, i.id, {true} FROM cataloger_item i
WHERE i.gone_run_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM cataloger_presence p WHERE p.item_id = i.id)
"""


def upgrade() -> None:
    """Apply."""
    for name in ("undoes_id", "undone_by_id"):
        add_column("cataloger_run", sa.Column(name, identifier(), nullable=True))
    add_column("cataloger_run", sa.Column("pruned", sa.Boolean(), nullable=False, server_default=sa.false()))
    add_column("cataloger_write", sa.Column("restores", sa.Boolean(), nullable=False, server_default=sa.false()))
    for table, columns in INDEXES.items():
        index_foreign_key(table, columns)
    create_table(
        "cataloger_run_source",
        sa.Column("run_id", identifier(), autoincrement=False, nullable=False),
        sa.Column("source_id", identifier(), autoincrement=False, nullable=False),
        sa.Column("weights_id", digest(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["cataloger_run.id"], name="fk_cataloger_run_source_run_id"),
        sa.ForeignKeyConstraint(["source_id"], ["cataloger_source.id"], name="fk_cataloger_run_source_source_id"),
        sa.ForeignKeyConstraint(
            ["weights_id"], ["cataloger_model.weights_id"], name="fk_cataloger_run_source_weights_id"
        ),
        sa.PrimaryKeyConstraint("run_id", "source_id", name="pk_cataloger_run_source"),
    )
    create_table(
        "cataloger_presence",
        sa.Column("run_id", identifier(), autoincrement=False, nullable=False),
        sa.Column("item_id", identifier(), autoincrement=False, nullable=False),
        sa.Column("is_gone", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["cataloger_run.id"], name="fk_cataloger_presence_run_id"),
        sa.ForeignKeyConstraint(["item_id"], ["cataloger_item.id"], name="fk_cataloger_presence_item_id"),
        sa.PrimaryKeyConstraint("run_id", "item_id", name="pk_cataloger_presence"),
    )
    create_index("cataloger_presence", ["item_id"])
    op.execute(FILL_SOURCES)
    op.execute(FILL_PRESENCE.format(true="1" if op.get_context().dialect.name == "sqlite" else "true"))


def downgrade() -> None:
    """Undo: what happened stays, but which runs were undone is lost."""
    drop_tables(["cataloger_presence", "cataloger_run_source"])
    for table, columns in INDEXES.items():
        unindex_foreign_key(table, columns)
    drop_column("cataloger_write", "restores")
    for name in ("pruned", "undone_by_id", "undoes_id"):
        drop_column("cataloger_run", name)
