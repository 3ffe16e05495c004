"""Other tables of the shop that results are written back to, and writes that are intended before they are made."""

import sqlalchemy as sa
from alembic import op

from cataloger.db import digest, identifier
from cataloger.migrations.statements import add_column, create_table, drop_column, drop_tables, has_table

revision = "0014"
down_revision = "0013"

TABLE = "cataloger_other_target"
WRITES = "cataloger_write"


def upgrade() -> None:
    """Apply: what was written until now is in product tables, and was made."""
    create_table(
        TABLE,
        sa.Column("id", identifier(), sa.Identity(always=False), nullable=False),
        sa.Column("source_id", identifier(), nullable=False),
        sa.Column("target_hash", digest(), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("table_name", sa.String(255), nullable=False),
        sa.Column("table_schema", sa.String(255), nullable=True),
        sa.Column("definition", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["source_id"], ["cataloger_source.id"], name=f"fk_{TABLE}_source_id"),
        sa.PrimaryKeyConstraint("id", name=f"pk_{TABLE}"),
        sa.UniqueConstraint("source_id", "target_hash", name=f"uq_{TABLE}_source_id_target_hash"),
    )
    add_column(WRITES, sa.Column("target_id", identifier(), nullable=True))
    add_column(WRITES, sa.Column("state", sa.String(16), server_default="confirmed", nullable=False))


def downgrade() -> None:
    """Undo: what was written to other tables stays there and is forgotten, since older versions know none."""
    if has_table(TABLE):
        op.execute(f"DELETE FROM {WRITES} WHERE target_id IS NOT NULL")
    drop_column(WRITES, "state")
    drop_column(WRITES, "target_id")
    drop_tables([TABLE])
