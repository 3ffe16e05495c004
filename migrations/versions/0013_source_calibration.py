"""Calibrations of sources: what each turns scores into answers by, and the departments of its items."""

import sqlalchemy as sa

from cataloger.db import digest, exact_name
from cataloger.migrations.statements import add_column, create_table, drop_column, drop_tables

revision = "0013"
down_revision = "0012"

TABLE = "cataloger_calibration"


def upgrade() -> None:
    """Apply: sources go on with the calibration of their model, as all did before."""
    create_table(
        TABLE,
        sa.Column("calibration_id", digest(), nullable=False),
        sa.Column("weights_id", digest(), nullable=False),
        sa.Column("calibration", sa.JSON(), nullable=False),
        sa.Column("selection", sa.JSON(), nullable=True),
        sa.ForeignKeyConstraint(["weights_id"], ["cataloger_model.weights_id"], name=f"fk_{TABLE}_weights_id"),
        sa.PrimaryKeyConstraint("calibration_id", "weights_id", name=f"pk_{TABLE}"),
    )
    add_column("cataloger_source", sa.Column("calibration_id", digest(), nullable=True))
    add_column("cataloger_source", sa.Column("is_mixed", sa.Boolean(), server_default=sa.false(), nullable=False))
    add_column("cataloger_run_source", sa.Column("calibration_id", digest(), nullable=True))
    add_column("cataloger_item", sa.Column("department", exact_name(), nullable=True))


def downgrade() -> None:
    """Undo: the results stay; what they were adapted by is lost."""
    drop_column("cataloger_item", "department")
    drop_column("cataloger_run_source", "calibration_id")
    drop_column("cataloger_source", "is_mixed")
    drop_column("cataloger_source", "calibration_id")
    drop_tables([TABLE])
