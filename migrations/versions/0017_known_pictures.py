"""The decoder of each result, and an index of the bytes: a picture that is known is not classified again."""

import sqlalchemy as sa

from cataloger.migrations.statements import add_column, create_index, drop_column, drop_index

revision = "0017"
down_revision = "0016"

TABLE = "cataloger_result"


def upgrade() -> None:
    """Apply: results that are there tell no decoder, and so are used for no other image."""
    add_column(TABLE, sa.Column("decoder", sa.String(64), nullable=True))
    create_index(TABLE, ["content_hash"])


def downgrade() -> None:
    """Undo: the results stay."""
    drop_index(TABLE, ["content_hash"])
    drop_column(TABLE, "decoder")
