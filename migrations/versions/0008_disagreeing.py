"""Which images disagree with what people say of their product, as the report has it; one of no product never does."""

from importlib import import_module

from cataloger.migrations.statements import create_view

revision = "0008"
down_revision = "0007"

VIEW = "cataloger_product_images"
DISAGREEMENT = 0.05
"""What an image must give a category so as not to disagree with it, as in
`cataloger.inference.product_aggregation`."""
GIVES_IT_A_SHARE = " OR ".join(
    f"(r.label_{rank} = w.label AND r.confidence_{rank} >= {DISAGREEMENT})" for rank in range(1, 6)
)
# k: a person's word on the image. w: what people say of the product. Without these it was marked with the answers.
DISAGREES = (
    "CASE WHEN r.status <> 'ok' OR k.verdict = 'not_product' THEN FALSE WHEN w.label IS NULL THEN c.disagrees "
    f"WHEN k.label = w.label THEN FALSE WHEN k.label IS NULL AND ({GIVES_IT_A_SHARE}) THEN FALSE ELSE TRUE END"
)


def upgrade() -> None:
    """Apply."""
    create_view(VIEW, import_module("cataloger.migrations.versions.0006_corrections").product_images(DISAGREES))


def downgrade() -> None:
    """Undo."""
    create_view(VIEW, import_module("cataloger.migrations.versions.0006_corrections").VIEWS[VIEW])
