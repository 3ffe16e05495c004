"""Shards: several runs over one source, each with a lease of its own. Older versions know that of the whole."""

import sqlalchemy as sa

from cataloger.db import UtcDateTime, identifier
from cataloger.migrations.statements import create_table, drop_tables

revision = "0018"
down_revision = "0017"

TABLE = "cataloger_shard"


def upgrade() -> None:
    """Apply."""
    create_table(
        TABLE,
        sa.Column("source_id", identifier(), autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("shards", sa.Integer(), nullable=False),
        sa.Column("first_run_id", identifier(), nullable=False),
        sa.Column("run_id", identifier(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("owner", sa.String(255), nullable=False),
        sa.Column("heartbeat_at", UtcDateTime(), nullable=False),
        sa.Column("is_done", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["source_id"], ["cataloger_source.id"], name=f"fk_{TABLE}_source_id"),
        sa.PrimaryKeyConstraint("source_id", "number", name=f"pk_{TABLE}"),
    )


def downgrade() -> None:
    """Undo: what the shards have recorded stays; the next run without shards settles it."""
    drop_tables([TABLE])
