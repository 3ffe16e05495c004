"""Why an image failed, for people, as the last column of the view of the images."""

from importlib import import_module

from cataloger.migrations.statements import create_view, drop_views

revision = "0011"
down_revision = "0010"

VIEW = "cataloger_image_top5"
LAST = "k.corrected_at "


def upgrade() -> None:
    """Apply: the column comes last, so that the view keeps its grants and what is built on it."""
    create_view(VIEW, _before().replace(LAST, f"{LAST.strip()}, r.error_text ", 1))


def downgrade() -> None:
    """Undo; PostgreSQL takes no column from a view, which is made anew for that."""
    drop_views([VIEW])
    create_view(VIEW, _before())


def _before() -> str:
    select: str = import_module("cataloger.migrations.versions.0006_corrections").VIEWS[VIEW]
    return select
