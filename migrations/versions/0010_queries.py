"""Whether results of a source may be of web addresses whose query was not noted; downgrading takes queries out."""

import sqlalchemy as sa
from alembic import op

from cataloger.db import identifier
from cataloger.migrations.statements import add_column, drop_column

revision = "0010"
down_revision = "0009"

COLUMN = "no_query_run_id"
SOURCES = sa.table("cataloger_source", sa.column("kind"), sa.column(COLUMN))
RUNS = sa.table("cataloger_run", sa.column("id"))
RESULTS = sa.table("cataloger_result", sa.column("id"), sa.column("version_token"))
QUERY = " q:"
QUERY_LENGTH = len(QUERY) + 64  # with its digest
PAGE = 5000


def upgrade() -> None:
    """Apply: what older versions have recorded of addresses counts as unchanged until a run has renewed it."""
    add_column("cataloger_source", sa.Column(COLUMN, identifier(), nullable=True))
    last = sa.select(sa.func.max(RUNS.c.id)).scalar_subquery()
    op.execute(sa.update(SOURCES).where(SOURCES.c.kind == "table").values({COLUMN: last}))


def downgrade() -> None:
    """Undo: an older version would take a token with a query for one of another image."""
    connection = op.get_bind()
    with_query = sa.select(RESULTS).where(RESULTS.c.version_token.like(f"url:%{QUERY}%"))
    last = 0
    while rows := connection.execute(with_query.where(RESULTS.c.id > last).order_by(RESULTS.c.id).limit(PAGE)).all():
        for row in rows:
            plain, _, rest = row.version_token.partition(QUERY)
            token = plain + rest[QUERY_LENGTH - len(QUERY) :]
            connection.execute(sa.update(RESULTS).where(RESULTS.c.id == row.id).values(version_token=token))
        last = rows[-1].id
    drop_column("cataloger_source", COLUMN)
