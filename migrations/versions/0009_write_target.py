"""Where a run wrote back to, in a table of its own; older runs keep it among their options."""

import sqlalchemy as sa
from alembic import op

from cataloger.db.types import identifier
from cataloger.migrations.statements import create_table, drop_tables

revision = "0009"
down_revision = "0008"

TABLE = "cataloger_write_target"
RUNS = sa.table("cataloger_run", sa.column("id"), sa.column("options", sa.JSON))
TARGETS = sa.table(
    TABLE, sa.column("run_id"), sa.column("table_name"), sa.column("table_schema"), sa.column("id_columns", sa.JSON)
)


def upgrade() -> None:
    """Apply."""
    create_table(
        TABLE,
        sa.Column("run_id", identifier(), autoincrement=False, nullable=False),
        sa.Column("table_name", sa.String(255), nullable=False),
        sa.Column("table_schema", sa.String(255), nullable=True),
        sa.Column("id_columns", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["cataloger_run.id"], name=f"fk_{TABLE}_run_id"),
        sa.PrimaryKeyConstraint("run_id", name=f"pk_{TABLE}"),
    )


def downgrade() -> None:
    """Undo: the options of the runs say it again, where the older version looks for it."""
    connection = op.get_bind()
    query = sa.select(RUNS.c.options, *TARGETS.c).join(TARGETS, TARGETS.c.run_id == RUNS.c.id)
    for row in connection.execute(query).all() if sa.inspect(connection).has_table(TABLE) else ():
        target = {"table": row.table_name, "schema": row.table_schema, "ids": row.id_columns}
        options = {**row.options, "write_target": target}
        connection.execute(sa.update(RUNS).where(RUNS.c.id == row.run_id).values(options=options))
    drop_tables([TABLE])
