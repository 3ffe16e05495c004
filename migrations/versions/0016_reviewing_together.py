"""Several reviewers: who has which product, second answers about a sample, and parts of the queue for one person."""

import sqlalchemy as sa

from cataloger.db import UtcDateTime, digest, exact_name, identifier
from cataloger.migrations.statements import create_index, create_table, drop_tables

revision = "0016"
down_revision = "0015"

CLAIM = "cataloger_claim"
SECOND = "cataloger_second_answer"
ASSIGNMENT = "cataloger_assignment"


def upgrade() -> None:
    """Apply: tables beside those that are there, so that a reviewer of an older version still saves."""
    create_table(
        CLAIM,
        sa.Column("source_id", identifier(), autoincrement=False, nullable=False),
        sa.Column("unit_hash", digest(), nullable=False),
        sa.Column("item_id", identifier(), nullable=False),
        sa.Column("page", digest(), nullable=False),
        sa.Column("person", exact_name(), nullable=False),
        sa.Column("is_open", sa.Boolean(), nullable=False),
        sa.Column("renewed_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("source_id", "unit_hash", name=f"pk_{CLAIM}"),
    )
    create_table(
        SECOND,
        sa.Column("item_id", identifier(), autoincrement=False, nullable=False),
        sa.Column("correction_id", identifier(), nullable=False),
        sa.Column("verdict", sa.String(16), nullable=False),
        sa.Column("label", sa.String(255), nullable=True),
        sa.Column("author", sa.String(255), nullable=False),
        sa.Column("answered_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["item_id"], ["cataloger_item.id"], name=f"fk_{SECOND}_item_id"),
        sa.ForeignKeyConstraint(["correction_id"], ["cataloger_correction.id"], name=f"fk_{SECOND}_correction_id"),
        sa.PrimaryKeyConstraint("item_id", name=f"pk_{SECOND}"),
    )
    create_index(SECOND, ["correction_id"])
    create_table(
        ASSIGNMENT,
        sa.Column("id", identifier(), sa.Identity(always=False), nullable=False),
        sa.Column("person", exact_name(), nullable=False),
        sa.Column("filters", sa.Text(), nullable=False),
        sa.Column("assigned_by", exact_name(), nullable=False),
        sa.Column("assigned_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=f"pk_{ASSIGNMENT}"),
    )


def downgrade() -> None:
    """Undo: second answers and assignments are lost; corrections stay."""
    drop_tables([ASSIGNMENT, SECOND, CLAIM])
