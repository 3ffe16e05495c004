"""Why an image was left out of its product's answer; those that the model abstains from disagree as others do."""

from importlib import import_module

from alembic import op

from cataloger.migrations.statements import create_view, drop_views

revision = "0012"
down_revision = "0011"

VIEW = "cataloger_product_images"
LAST = " AS disagrees "
DISAGREEMENT = 0.05
"""What an image must give a category so as not to disagree with it, as in
`cataloger.inference.product_aggregation`."""
# k: a correction of the image, which is heard if it names a category. p: the product's answer by the model, which
# abstains from it only if it does so from all of its images.
NOT_HEARD = (
    "CASE WHEN k.verdict = 'not_product' THEN CAST('corrected' AS {text}(16)) WHEN k.label IS NOT NULL THEN NULL "
    "WHEN r.status <> 'ok' THEN CAST('unknown' AS {text}(16)) "
    "WHEN r.decision = 'abstain' AND p.decision <> 'abstain' THEN CAST('abstained' AS {text}(16)) END"
)
GIVES_IT_A_SHARE = " OR ".join(
    f"(r.label_{rank} = p.label_1 AND r.confidence_{rank} >= {DISAGREEMENT})" for rank in range(1, 6)
)
# Images that the model abstains from were marked whatever they show.
UNMARK = (
    "UPDATE cataloger_current SET disagrees = FALSE WHERE disagrees = TRUE AND EXISTS ("
    "SELECT 1 FROM cataloger_result r JOIN cataloger_item i ON i.id = r.item_id "
    "JOIN cataloger_product_current q ON q.source_id = i.source_id AND q.product_hash = i.product_hash "
    "AND q.weights_id = r.weights_id JOIN cataloger_product_result p ON p.id = q.result_id "
    "WHERE r.id = cataloger_current.result_id AND r.decision = 'abstain' "
    f"AND (r.label_1 = p.label_1 OR {GIVES_IT_A_SHARE}))"
)


def upgrade() -> None:
    """Apply: the column comes last, so that the view keeps its grants and what is built on it."""
    op.execute(UNMARK)
    create_view(VIEW, _before().replace(LAST, f"{LAST}, {NOT_HEARD} AS not_heard ", 1))


def downgrade() -> None:
    """Undo; PostgreSQL takes no column from a view, which is made anew for that. Older versions mark images anew."""
    drop_views([VIEW])
    create_view(VIEW, _before())


def _before() -> str:
    versions = "cataloger.migrations.versions"
    disagrees: str = import_module(f"{versions}.0008_disagreeing").DISAGREES
    select: str = import_module(f"{versions}.0006_corrections").product_images(disagrees)
    return select
