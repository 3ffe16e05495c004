"""Decisions: what a later calibration needs is kept with each result."""

import sqlalchemy as sa

from cataloger.migrations.statements import add_column, drop_column

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Apply."""
    add_column("cataloger_result", sa.Column("scores", sa.LargeBinary(), nullable=True))
    add_column("cataloger_result", sa.Column("familiarity", sa.Float(53), nullable=True))


def downgrade() -> None:
    """Undo."""
    drop_column("cataloger_result", "familiarity")
    drop_column("cataloger_result", "scores")
