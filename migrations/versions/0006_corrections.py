"""Corrections: what a person says of an image goes before what the model says, in the views and for products."""

from importlib import import_module

import sqlalchemy as sa
from alembic import op

from cataloger.db import UtcDateTime, digest, exact_text, identifier
from cataloger.migrations.statements import (
    add_column,
    create_index,
    create_table,
    create_view,
    drop_column,
    drop_tables,
    drop_views,
    has_table,
    index_foreign_key,
    unindex_foreign_key,
)

revision = "0006"
down_revision = "0005"

RANKS = range(1, 6)
TABLE = "cataloger_correction"

# What holds is what was said last; words are there already where this revision was left and is reached again.
FILL = """
INSERT INTO cataloger_corrected (item_id, correction_id)
SELECT k.item_id, MAX(k.id) FROM cataloger_correction k
WHERE NOT EXISTS (SELECT 1 FROM cataloger_corrected h WHERE h.item_id = k.item_id) GROUP BY k.item_id
"""
NAMED = (
    "(SELECT i.source_id, i.product_hash, k.label, COUNT(*) AS words, MAX(k.id) AS latest_id "
    "FROM cataloger_corrected h JOIN cataloger_correction k ON k.id = h.correction_id "
    "JOIN cataloger_item i ON i.id = h.item_id WHERE i.gone_run_id IS NULL AND i.product_hash IS NOT NULL "
    "GROUP BY i.source_id, i.product_hash, k.label)"
)
FILL_PRODUCTS = f"""
INSERT INTO cataloger_corrected_product (source_id, product_hash, product_key, label, author, corrected_at)
SELECT n.source_id, n.product_hash, i.product_key, n.label, k.author, k.corrected_at
FROM {NAMED} n JOIN cataloger_correction k ON k.id = n.latest_id JOIN cataloger_item i ON i.id = k.item_id
WHERE NOT EXISTS (
    SELECT 1 FROM {NAMED} o WHERE o.source_id = n.source_id AND o.product_hash = n.product_hash
    AND (o.words > n.words OR (o.words = n.words AND o.latest_id > n.latest_id))
) AND NOT EXISTS (
    SELECT 1 FROM cataloger_corrected_product p
    WHERE p.source_id = n.source_id AND p.product_hash = n.product_hash
)
"""

# Of images where another word than a label holds, or none, all words go: an older version would revive one of them.
FORGET = (
    "DELETE FROM cataloger_corrected "
    "WHERE correction_id IN (SELECT id FROM cataloger_correction WHERE label IS NULL)",
    "DELETE FROM cataloger_correction WHERE item_id NOT IN (SELECT item_id FROM cataloger_corrected)",
    "DELETE FROM cataloger_correction WHERE label IS NULL",
)


def upgrade() -> None:
    """Apply."""
    add_column(TABLE, _verdict())
    _allow_no_label(True)
    index_foreign_key(TABLE, ["result_id"])
    create_table(
        "cataloger_corrected",
        sa.Column("item_id", identifier(), autoincrement=False, nullable=False),
        sa.Column("correction_id", identifier(), nullable=False),
        sa.ForeignKeyConstraint(["item_id"], ["cataloger_item.id"], name="fk_cataloger_corrected_item_id"),
        sa.ForeignKeyConstraint(
            ["correction_id"], ["cataloger_correction.id"], name="fk_cataloger_corrected_correction_id"
        ),
        sa.PrimaryKeyConstraint("item_id", name="pk_cataloger_corrected"),
    )
    create_index("cataloger_corrected", ["correction_id"])
    create_table(
        "cataloger_corrected_product",
        sa.Column("source_id", identifier(), autoincrement=False, nullable=False),
        sa.Column("product_hash", digest(), nullable=False),
        sa.Column("product_key", exact_text(), nullable=False),
        sa.Column("label", sa.String(length=255), nullable=False),
        sa.Column("author", sa.String(length=255), nullable=False),
        sa.Column("corrected_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["source_id"], ["cataloger_source.id"], name="fk_cataloger_corrected_product_source_id"
        ),
        sa.PrimaryKeyConstraint("source_id", "product_hash", name="pk_cataloger_corrected_product"),
    )
    op.execute(FILL)
    op.execute(FILL_PRODUCTS)
    for name, select in VIEWS.items():
        create_view(name, select)


def downgrade() -> None:
    """Undo: words that are labels stay where they hold; others, and what was withdrawn, are lost."""
    drop_views(VIEWS)
    if has_table("cataloger_corrected"):
        for statement in FORGET:
            op.execute(statement)
    drop_tables(["cataloger_corrected_product", "cataloger_corrected"])
    unindex_foreign_key(TABLE, ["result_id"])
    _allow_no_label(False)
    drop_column(TABLE, "verdict")
    for name, select in _views_before().items():
        create_view(name, select)


def _verdict() -> sa.Column[str]:
    return sa.Column("verdict", sa.String(length=16), nullable=False, server_default="label")


def _allow_no_label(nullable: bool) -> None:
    """Let the label be null, or not; SQLite makes the table anew for that, also where statements are only printed."""
    table = sa.Table(
        TABLE,
        sa.MetaData(),
        sa.Column("id", identifier(), sa.Identity(always=False), nullable=False),
        sa.Column("item_id", identifier(), nullable=False),
        sa.Column("result_id", identifier(), nullable=True),
        sa.Column("label", sa.String(length=255), nullable=not nullable),
        sa.Column("author", sa.String(length=255), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("corrected_at", UtcDateTime(), nullable=False),
        _verdict(),
        sa.ForeignKeyConstraint(["item_id"], ["cataloger_item.id"], name="fk_cataloger_correction_item_id"),
        sa.ForeignKeyConstraint(["result_id"], ["cataloger_result.id"], name="fk_cataloger_correction_result_id"),
        sa.PrimaryKeyConstraint("id", name="pk_cataloger_correction"),
        sa.Index("ix_cataloger_correction_item_id", "item_id"),
    )
    with op.batch_alter_table(TABLE, copy_from=table) as batch:
        batch.alter_column("label", existing_type=sa.String(length=255), nullable=nullable)


# The views. k: a person's word on the image, all null where there is none. w: what people say of the product.


def _label(answer: str, word: str, rank: int) -> str:
    """The word first, then the model's labels without it. Each branch is of one type, so that the column's stays."""
    first = f"{word}.author IS NULL"
    if rank == 1:
        return f"CASE WHEN {first} THEN {answer}.label_1 ELSE {word}.label END"
    return (
        f"CASE WHEN {first} OR {_is_named_before(answer, word, rank)} THEN {answer}.label_{rank} "
        f"WHEN {word}.label IS NOT NULL THEN {answer}.label_{rank - 1} ELSE {word}.label END"
    )


def _confidence(answer: str, word: str, rank: int) -> str:
    first = f"{word}.author IS NULL"
    if rank == 1:
        return f"CASE WHEN {first} THEN {answer}.confidence_1 WHEN {word}.label IS NOT NULL THEN 1.0 END"
    return (
        f"CASE WHEN {first} OR {_is_named_before(answer, word, rank)} THEN {answer}.confidence_{rank} "
        f"WHEN {word}.label IS NOT NULL THEN {answer}.confidence_{rank - 1} END"
    )


def _is_named_before(answer: str, word: str, rank: int) -> str:
    return f"{word}.label IN ({', '.join(f'{answer}.label_{before}' for before in range(1, rank))})"


def _answer(answer: str, word: str) -> str:
    columns = []
    for rank in RANKS:
        columns.append(f"{_label(answer, word, rank)} AS label_{rank}")
        columns.append(f"{_confidence(answer, word, rank)} AS confidence_{rank}")
    return ", ".join(columns)


def _decision(answer: str, word: str) -> str:
    return (
        f"CASE WHEN {word}.author IS NULL THEN {answer}.decision WHEN {word}.label IS NULL "
        "THEN CAST('abstain' AS {text}(16)) ELSE CAST('accept' AS {text}(16)) END AS decision"
    )


WORD = (
    "LEFT JOIN cataloger_corrected h ON h.item_id = i.id LEFT JOIN cataloger_correction k ON k.id = h.correction_id "
)
PRODUCT_WORD = "LEFT JOIN cataloger_corrected_product w ON w.source_id = s.id AND w.product_hash = {hash} "
RESULT_FROM = (
    "JOIN cataloger_item i ON i.source_id = s.id "
    "JOIN cataloger_current c ON c.item_id = i.id AND c.weights_id = s.weights_id "
    f"JOIN cataloger_result r ON r.id = c.result_id {WORD}"
)
MODEL_FROM = "FROM cataloger_source s JOIN cataloger_model m ON m.weights_id = s.weights_id "


def product_images(disagrees: str) -> str:
    """Return what is in the view of the images of products."""
    return (
        f"SELECT s.name AS source, i.product_key, i.{{key}}, i.uri, r.status, {_label('r', 'k', 1)} AS label, "
        f"{_confidence('r', 'k', 1)} AS confidence, {_label('p', 'w', 1)} AS product_label, {disagrees} AS disagrees "
        f"FROM cataloger_source s {RESULT_FROM} LEFT JOIN cataloger_product_current q "
        "ON q.source_id = s.id AND q.product_hash = i.product_hash AND q.weights_id = s.weights_id "
        f"LEFT JOIN cataloger_product_result p ON p.id = q.result_id {PRODUCT_WORD.format(hash='i.product_hash')}"
        "WHERE i.gone_run_id IS NULL AND i.product_hash IS NOT NULL"
    )


VIEWS = {
    "cataloger_image_top5": (
        "SELECT s.name AS source, i.{key}, i.uri, i.product_key, r.status, r.error_code, {model} AS model, r.run_id, "
        f"{_decision('r', 'k')}, {_answer('r', 'k')}, r.tagged_at, k.author AS corrected_by, k.corrected_at "
        f"{MODEL_FROM} {RESULT_FROM} WHERE i.gone_run_id IS NULL"
    ),
    "cataloger_product_top5": (
        "SELECT s.name AS source, p.product_key, {model} AS model, p.run_id, p.images, "
        f"{_decision('p', 'w')}, {_answer('p', 'w')}, p.tagged_at, w.author AS corrected_by, w.corrected_at "
        f"{MODEL_FROM} JOIN cataloger_product_current c ON c.source_id = s.id AND c.weights_id = s.weights_id "
        f"JOIN cataloger_product_result p ON p.id = c.result_id {PRODUCT_WORD.format(hash='c.product_hash')}"
    ),
    "cataloger_image_labels": " UNION ALL ".join(
        f"SELECT s.name AS source, i.{{key}}, {rank} AS {{rank}}, {_label('r', 'k', rank)} AS label, "
        f"{_confidence('r', 'k', rank)} AS confidence {MODEL_FROM} {RESULT_FROM} "
        f"WHERE i.gone_run_id IS NULL AND {_label('r', 'k', rank)} IS NOT NULL"
        for rank in RANKS
    ),
    "cataloger_image_codes": " UNION ALL ".join(
        f"SELECT s.name AS source, i.{{key}}, i.uri, i.product_key, {rank} AS {{rank}}, "
        f"{_label('r', 'k', rank)} AS label, l.code, l.name, l.parent, {_confidence('r', 'k', rank)} AS confidence "
        f"FROM cataloger_source s {RESULT_FROM} "
        f"JOIN cataloger_label_map l ON l.source_id = s.id AND l.label = {_label('r', 'k', rank)} "
        "WHERE i.gone_run_id IS NULL"
        for rank in RANKS
    ),
    "cataloger_product_images": product_images(
        "CASE WHEN k.author IS NULL THEN c.disagrees WHEN k.label = w.label THEN FALSE ELSE TRUE END"
    ),
}


def _views_before() -> dict[str, str]:
    versions = "cataloger.migrations.versions"
    first, codes, images = (
        import_module(f"{versions}.{name}") for name in ("0001_first", "0002_label_map", "0003_products")
    )
    return {**first.VIEWS, codes.VIEW: codes.SELECT, images.VIEW: images.IMAGES}
