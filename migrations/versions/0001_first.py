"""The first tables and views."""

import sqlalchemy as sa

from cataloger.db import UtcDateTime, digest, exact_text, identifier
from cataloger.migrations.statements import create_index, create_table, create_view, drop_tables, drop_views

revision = "0001"
down_revision = None

RANKS = range(1, 6)


def upgrade() -> None:
    """Apply. Every statement can be repeated: MySQL keeps what was done before a migration was killed."""
    for create in TABLES:
        create()
    create_index("cataloger_result", ["item_id", "weights_id"])
    create_index("cataloger_write", ["source_id", "product_hash"])
    create_index("cataloger_correction", ["item_id"])
    for name, select in VIEWS.items():
        create_view(name, select)


def downgrade() -> None:
    """Undo: everything that was recorded is lost."""
    drop_views(VIEWS)
    drop_tables(f"cataloger{create.__name__}" for create in reversed(TABLES))


def _model() -> None:
    create_table(
        "cataloger_model",
        sa.Column("weights_id", digest(), nullable=False),
        sa.Column("calibration_id", digest(), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("version", sa.String(length=255), nullable=False),
        sa.Column("location", sa.Text(), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("first_used_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("weights_id", name="pk_cataloger_model"),
    )


def _run() -> None:
    create_table(
        "cataloger_run",
        sa.Column("id", identifier(), sa.Identity(always=False), nullable=False),
        sa.Column("command", sa.String(length=32), nullable=False),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("counts", sa.JSON(), nullable=True),
        sa.Column("device", digest(), nullable=False),
        sa.Column("owner", sa.String(length=255), nullable=False),
        sa.Column("version", sa.String(length=32), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.Column("outcome", sa.String(length=16), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_cataloger_run"),
    )


def _source() -> None:
    create_table(
        "cataloger_source",
        sa.Column("id", identifier(), sa.Identity(always=False), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("root", exact_text(), nullable=False),
        sa.Column("root_hash", digest(), nullable=False),
        sa.Column("name", exact_text(), nullable=False),
        sa.Column("weights_id", digest(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["weights_id"], ["cataloger_model.weights_id"], name="fk_cataloger_source_weights_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_cataloger_source"),
        sa.UniqueConstraint("root_hash", name="uq_cataloger_source_root_hash"),
    )


def _item() -> None:
    create_table(
        "cataloger_item",
        sa.Column("id", identifier(), sa.Identity(always=False), nullable=False),
        sa.Column("source_id", identifier(), nullable=False),
        sa.Column("key", exact_text(), nullable=False),
        sa.Column("key_hash", digest(), nullable=False),
        sa.Column("product_key", exact_text(), nullable=True),
        sa.Column("uri", exact_text(), nullable=False),
        sa.Column("gone_run_id", identifier(), nullable=True),
        sa.ForeignKeyConstraint(["gone_run_id"], ["cataloger_run.id"], name="fk_cataloger_item_gone_run_id"),
        sa.ForeignKeyConstraint(["source_id"], ["cataloger_source.id"], name="fk_cataloger_item_source_id"),
        sa.PrimaryKeyConstraint("id", name="pk_cataloger_item"),
        sa.UniqueConstraint("source_id", "key_hash", name="uq_cataloger_item_source_id_key_hash"),
    )


def _lease() -> None:
    create_table(
        "cataloger_lease",
        sa.Column("source_id", identifier(), autoincrement=False, nullable=False),
        sa.Column("run_id", identifier(), nullable=True),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("owner", sa.String(length=255), nullable=False),
        sa.Column("heartbeat_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["cataloger_run.id"], name="fk_cataloger_lease_run_id"),
        sa.ForeignKeyConstraint(["source_id"], ["cataloger_source.id"], name="fk_cataloger_lease_source_id"),
        sa.PrimaryKeyConstraint("source_id", name="pk_cataloger_lease"),
    )


def _product_result() -> None:
    create_table(
        "cataloger_product_result",
        sa.Column("id", identifier(), sa.Identity(always=False), nullable=False),
        sa.Column("source_id", identifier(), nullable=False),
        sa.Column("run_id", identifier(), nullable=False),
        sa.Column("weights_id", digest(), nullable=False),
        sa.Column("product_key", exact_text(), nullable=False),
        sa.Column("product_hash", digest(), nullable=False),
        sa.Column("images", sa.Integer(), nullable=False),
        sa.Column("tagged_at", UtcDateTime(), nullable=False),
        sa.Column("decision", sa.String(length=16), nullable=True),
        sa.Column("label_1", sa.String(length=255), nullable=True),
        sa.Column("label_2", sa.String(length=255), nullable=True),
        sa.Column("label_3", sa.String(length=255), nullable=True),
        sa.Column("label_4", sa.String(length=255), nullable=True),
        sa.Column("label_5", sa.String(length=255), nullable=True),
        sa.Column("confidence_1", sa.Float(precision=53), nullable=True),
        sa.Column("confidence_2", sa.Float(precision=53), nullable=True),
        sa.Column("confidence_3", sa.Float(precision=53), nullable=True),
        sa.Column("confidence_4", sa.Float(precision=53), nullable=True),
        sa.Column("confidence_5", sa.Float(precision=53), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["cataloger_run.id"], name="fk_cataloger_product_result_run_id"),
        sa.ForeignKeyConstraint(["source_id"], ["cataloger_source.id"], name="fk_cataloger_product_result_source_id"),
        sa.ForeignKeyConstraint(
            ["weights_id"], ["cataloger_model.weights_id"], name="fk_cataloger_product_result_weights_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_cataloger_product_result"),
        sa.UniqueConstraint(
            "run_id", "source_id", "product_hash", name="uq_cataloger_product_result_run_id_source_id_product_hash"
        ),
    )


def _write() -> None:
    create_table(
        "cataloger_write",
        sa.Column("id", identifier(), sa.Identity(always=False), nullable=False),
        sa.Column("source_id", identifier(), nullable=False),
        sa.Column("run_id", identifier(), nullable=False),
        sa.Column("product_key", exact_text(), nullable=False),
        sa.Column("product_hash", digest(), nullable=False),
        sa.Column("column_name", sa.String(length=255), nullable=False),
        sa.Column("old_value", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("new_value", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("written_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["cataloger_run.id"], name="fk_cataloger_write_run_id"),
        sa.ForeignKeyConstraint(["source_id"], ["cataloger_source.id"], name="fk_cataloger_write_source_id"),
        sa.PrimaryKeyConstraint("id", name="pk_cataloger_write"),
    )


def _product_current() -> None:
    create_table(
        "cataloger_product_current",
        sa.Column("source_id", identifier(), autoincrement=False, nullable=False),
        sa.Column("product_hash", digest(), nullable=False),
        sa.Column("weights_id", digest(), nullable=False),
        sa.Column("result_id", identifier(), nullable=False),
        sa.ForeignKeyConstraint(
            ["result_id"], ["cataloger_product_result.id"], name="fk_cataloger_product_current_result_id"
        ),
        sa.ForeignKeyConstraint(
            ["source_id"], ["cataloger_source.id"], name="fk_cataloger_product_current_source_id"
        ),
        sa.ForeignKeyConstraint(
            ["weights_id"], ["cataloger_model.weights_id"], name="fk_cataloger_product_current_weights_id"
        ),
        sa.PrimaryKeyConstraint("source_id", "product_hash", "weights_id", name="pk_cataloger_product_current"),
    )


def _result() -> None:
    create_table(
        "cataloger_result",
        sa.Column("id", identifier(), sa.Identity(always=False), nullable=False),
        sa.Column("item_id", identifier(), nullable=False),
        sa.Column("run_id", identifier(), nullable=False),
        sa.Column("weights_id", digest(), nullable=False),
        sa.Column("calibration_id", digest(), nullable=False),
        sa.Column("precision", sa.String(length=16), nullable=False),
        sa.Column("content_hash", digest(), nullable=True),
        sa.Column("version_token", sa.Text(), nullable=False),
        sa.Column("status", sa.String(length=8), nullable=False),
        sa.Column("error_code", digest(), nullable=True),
        sa.Column("error_text", sa.Text(), nullable=True),
        sa.Column("logits", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("log_sum_exp", sa.Float(precision=53), nullable=True),
        sa.Column("width", sa.Integer(), nullable=True),
        sa.Column("height", sa.Integer(), nullable=True),
        sa.Column("tagged_at", UtcDateTime(), nullable=False),
        sa.Column("decision", sa.String(length=16), nullable=True),
        sa.Column("label_1", sa.String(length=255), nullable=True),
        sa.Column("label_2", sa.String(length=255), nullable=True),
        sa.Column("label_3", sa.String(length=255), nullable=True),
        sa.Column("label_4", sa.String(length=255), nullable=True),
        sa.Column("label_5", sa.String(length=255), nullable=True),
        sa.Column("confidence_1", sa.Float(precision=53), nullable=True),
        sa.Column("confidence_2", sa.Float(precision=53), nullable=True),
        sa.Column("confidence_3", sa.Float(precision=53), nullable=True),
        sa.Column("confidence_4", sa.Float(precision=53), nullable=True),
        sa.Column("confidence_5", sa.Float(precision=53), nullable=True),
        sa.CheckConstraint("status IN ('ok', 'failed')", name="ck_cataloger_result_status"),
        sa.ForeignKeyConstraint(["item_id"], ["cataloger_item.id"], name="fk_cataloger_result_item_id"),
        sa.ForeignKeyConstraint(["run_id"], ["cataloger_run.id"], name="fk_cataloger_result_run_id"),
        sa.ForeignKeyConstraint(
            ["weights_id"], ["cataloger_model.weights_id"], name="fk_cataloger_result_weights_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_cataloger_result"),
        sa.UniqueConstraint("run_id", "item_id", name="uq_cataloger_result_run_id_item_id"),
    )


def _correction() -> None:
    create_table(
        "cataloger_correction",
        sa.Column("id", identifier(), sa.Identity(always=False), nullable=False),
        sa.Column("item_id", identifier(), nullable=False),
        sa.Column("result_id", identifier(), nullable=True),
        sa.Column("label", sa.String(length=255), nullable=False),
        sa.Column("author", sa.String(length=255), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("corrected_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["item_id"], ["cataloger_item.id"], name="fk_cataloger_correction_item_id"),
        sa.ForeignKeyConstraint(["result_id"], ["cataloger_result.id"], name="fk_cataloger_correction_result_id"),
        sa.PrimaryKeyConstraint("id", name="pk_cataloger_correction"),
    )


def _current() -> None:
    create_table(
        "cataloger_current",
        sa.Column("item_id", identifier(), autoincrement=False, nullable=False),
        sa.Column("weights_id", digest(), nullable=False),
        sa.Column("result_id", identifier(), nullable=False),
        sa.Column("latest_id", identifier(), nullable=False),
        sa.ForeignKeyConstraint(["item_id"], ["cataloger_item.id"], name="fk_cataloger_current_item_id"),
        sa.ForeignKeyConstraint(["latest_id"], ["cataloger_result.id"], name="fk_cataloger_current_latest_id"),
        sa.ForeignKeyConstraint(["result_id"], ["cataloger_result.id"], name="fk_cataloger_current_result_id"),
        sa.ForeignKeyConstraint(
            ["weights_id"], ["cataloger_model.weights_id"], name="fk_cataloger_current_weights_id"
        ),
        sa.PrimaryKeyConstraint("item_id", "weights_id", name="pk_cataloger_current"),
    )


TABLES = (
    _model,
    _run,
    _source,
    _item,
    _lease,
    _product_result,
    _write,
    _product_current,
    _result,
    _correction,
    _current,
)


def _answer(alias: str) -> str:
    return ", ".join(f"{alias}.label_{rank}, {alias}.confidence_{rank}" for rank in RANKS)


IMAGE_FROM = (
    "FROM cataloger_source s JOIN cataloger_model m ON m.weights_id = s.weights_id "
    "JOIN cataloger_item i ON i.source_id = s.id "
    "JOIN cataloger_current c ON c.item_id = i.id AND c.weights_id = s.weights_id "
    "JOIN cataloger_result r ON r.id = c.result_id WHERE i.gone_run_id IS NULL"
)
VIEWS = {
    "cataloger_image_top5": (
        "SELECT s.name AS source, i.{key}, i.uri, i.product_key, r.status, r.error_code, {model} AS model, r.run_id, "
        f"r.decision, {_answer('r')}, r.tagged_at {IMAGE_FROM}"
    ),
    "cataloger_product_top5": (
        "SELECT s.name AS source, p.product_key, {model} AS model, p.run_id, p.images, "
        f"p.decision, {_answer('p')}, p.tagged_at "
        "FROM cataloger_source s JOIN cataloger_model m ON m.weights_id = s.weights_id "
        "JOIN cataloger_product_current c ON c.source_id = s.id AND c.weights_id = s.weights_id "
        "JOIN cataloger_product_result p ON p.id = c.result_id"
    ),
    "cataloger_image_labels": " UNION ALL ".join(
        f"SELECT s.name AS source, i.{{key}}, {rank} AS {{rank}}, r.label_{rank} AS label, "
        f"r.confidence_{rank} AS confidence {IMAGE_FROM} AND r.label_{rank} IS NOT NULL"
        for rank in RANKS
    ),
}
