"""The tables of cataloger. Every name begins with `cataloger_`; we are guests in the shop's database.

History is append-only (`ResultRow`, `ProductResultRow`, `CorrectionRow`); what is current is a pointer into it
(`CurrentRow`, `ProductCurrentRow`, `CurrentCorrectionRow`), so that undoing a run moves pointers and loses nothing.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
    false,
)
from sqlalchemy.orm import Mapped, mapped_column

from cataloger.db import UtcDateTime, digest, exact_name, exact_text, identifier
from cataloger.schema.answer_columns import AnswerColumns
from cataloger.schema.base import Base, key_column
from cataloger.schema.review_models import AssignmentRow, ClaimRow, SecondAnswerRow

__all__ = ["AssignmentRow", "Base", "ClaimRow", "SecondAnswerRow"]


class ModelRow(Base):
    """A set of weights that has been used. location: a bundle's directory or address, "default", or NAME@VERSION."""

    __tablename__ = "cataloger_model"
    weights_id: Mapped[str] = mapped_column(digest(), primary_key=True)
    calibration_id: Mapped[str] = mapped_column(digest())
    name: Mapped[str] = mapped_column(String(255))
    version: Mapped[str] = mapped_column(String(255))
    location: Mapped[str] = mapped_column(Text)
    labels: Mapped[list[str]] = mapped_column(JSON)
    first_used_at: Mapped[datetime] = mapped_column(UtcDateTime)


class CalibrationRow(Base):
    """What a source turned the scores of a model into answers by. calibration: of the bundle.

    selection: the labels that the source sells, and those of its departments, as given; null for all labels.
    """

    __tablename__ = "cataloger_calibration"
    calibration_id: Mapped[str] = mapped_column(digest(), primary_key=True)
    weights_id: Mapped[str] = mapped_column(ForeignKey("cataloger_model.weights_id"), primary_key=True)
    calibration: Mapped[dict[str, Any]] = mapped_column(JSON)
    selection: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))


class SourceRow(Base):
    """A folder, manifest, table or web host. model: the weights that it is pinned to.

    calibration_id: its own calibration; null where it goes on with that of the model. is_mixed: some of its results
    may be of another one; the next complete run looks, and recomputes them.
    no_query_run_id: results of this run and of those before may be of web addresses whose query was not noted; null
    once a complete run has been through the source.
    """

    __tablename__ = "cataloger_source"
    id: Mapped[int] = key_column()
    kind: Mapped[str] = mapped_column(String(16))
    root: Mapped[str] = mapped_column(exact_text())
    root_hash: Mapped[str] = mapped_column(digest(), unique=True)
    name: Mapped[str] = mapped_column(exact_text())
    weights_id: Mapped[str | None] = mapped_column(ForeignKey("cataloger_model.weights_id"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    no_query_run_id: Mapped[int | None] = mapped_column(identifier())
    calibration_id: Mapped[str | None] = mapped_column(digest())
    is_mixed: Mapped[bool] = mapped_column(Boolean, server_default=false())


class LabelMapRow(Base):
    """The shop's code for a label of the model. parent: code of the category above."""

    __tablename__ = "cataloger_label_map"
    source_id: Mapped[int] = mapped_column(ForeignKey("cataloger_source.id"), primary_key=True, autoincrement=False)
    label: Mapped[str] = mapped_column(exact_name(), primary_key=True)
    code: Mapped[str] = mapped_column(String(255))
    name: Mapped[str | None] = mapped_column(String(255))
    parent: Mapped[str | None] = mapped_column(String(255))


class RunRow(Base):
    """One command. outcome: null while it runs, then done, failed, interrupted or abandoned.

    undoes_id: the run that this one undoes. undone_by_id: the run that undid this one, and is effective.
    pruned: what could be undone of it has been deleted.
    """

    __tablename__ = "cataloger_run"
    id: Mapped[int] = key_column()
    command: Mapped[str] = mapped_column(String(32))
    options: Mapped[dict[str, Any]] = mapped_column(JSON)
    counts: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    device: Mapped[str] = mapped_column(String(64))
    owner: Mapped[str] = mapped_column(String(255))
    version: Mapped[str] = mapped_column(String(32))
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    outcome: Mapped[str | None] = mapped_column(String(16))
    undoes_id: Mapped[int | None] = mapped_column(identifier())
    undone_by_id: Mapped[int | None] = mapped_column(identifier())
    pruned: Mapped[bool] = mapped_column(Boolean, server_default=false())


class RunSourceRow(Base):
    """A source that a run has worked on, and the model that it pinned it to.

    calibration_id: that it has given the source; null where the source went on with the one that it had.
    """

    __tablename__ = "cataloger_run_source"
    run_id: Mapped[int] = mapped_column(ForeignKey("cataloger_run.id"), primary_key=True, autoincrement=False)
    source_id: Mapped[int] = mapped_column(ForeignKey("cataloger_source.id"), primary_key=True, autoincrement=False)
    weights_id: Mapped[str] = mapped_column(ForeignKey("cataloger_model.weights_id"))
    calibration_id: Mapped[str | None] = mapped_column(digest())


class LeaseRow(Base):
    """Who may write for a source. fence: grows with every owner, so that a late one can be recognized."""

    __tablename__ = "cataloger_lease"
    source_id: Mapped[int] = mapped_column(ForeignKey("cataloger_source.id"), primary_key=True, autoincrement=False)
    run_id: Mapped[int | None] = mapped_column(ForeignKey("cataloger_run.id"))
    fence: Mapped[int] = mapped_column(BigInteger)
    owner: Mapped[str] = mapped_column(String(255))
    heartbeat_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ShardRow(Base):
    """A part of a source that a run of its own works on, while not all parts are done. number: from 1, of `shards`.

    run_id: that has it, or had it last. first_run_id: that had it first since all parts were done together.
    """

    __tablename__ = "cataloger_shard"
    source_id: Mapped[int] = mapped_column(ForeignKey("cataloger_source.id"), primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    shards: Mapped[int] = mapped_column(Integer)
    first_run_id: Mapped[int] = mapped_column(identifier())
    run_id: Mapped[int] = mapped_column(identifier())
    fence: Mapped[int] = mapped_column(BigInteger)
    owner: Mapped[str] = mapped_column(String(255))
    heartbeat_at: Mapped[datetime] = mapped_column(UtcDateTime)
    is_done: Mapped[bool] = mapped_column(Boolean)


class ItemRow(Base):
    """Identity of one image. gone_run_id: the complete scan that no longer found it; null while it is found.

    department: of its product in the shop, cleaned; null where the source has no departments.
    """

    __tablename__ = "cataloger_item"
    __table_args__ = (
        UniqueConstraint("source_id", "key_hash"),
        Index(None, "source_id", "product_hash"),
        Base.__table_args__,
    )
    id: Mapped[int] = key_column()
    source_id: Mapped[int] = mapped_column(ForeignKey("cataloger_source.id"))
    key: Mapped[str] = mapped_column(exact_text())
    key_hash: Mapped[str] = mapped_column(digest())
    product_key: Mapped[str | None] = mapped_column(exact_text())
    uri: Mapped[str] = mapped_column(exact_text())
    gone_run_id: Mapped[int | None] = mapped_column(ForeignKey("cataloger_run.id"))
    product_hash: Mapped[str | None] = mapped_column(digest())
    department: Mapped[str | None] = mapped_column(exact_name())


class ItemPresenceRow(Base):
    """A run found that an item is missing, or restored it."""

    __tablename__ = "cataloger_presence"
    run_id: Mapped[int] = mapped_column(ForeignKey("cataloger_run.id"), primary_key=True, autoincrement=False)
    item_id: Mapped[int] = mapped_column(
        ForeignKey("cataloger_item.id"), primary_key=True, autoincrement=False, index=True
    )
    is_gone: Mapped[bool] = mapped_column(Boolean)


class ResultRow(AnswerColumns, Base):
    """The result of one run for one image; never changed afterwards.

    decoder: what turned the bytes into pixels; null if nothing did, or in results of earlier versions.
    """

    __tablename__ = "cataloger_result"
    __table_args__ = (
        UniqueConstraint("run_id", "item_id"),
        CheckConstraint("status IN ('ok', 'failed')", name="status"),
        Index(None, "item_id", "weights_id"),
        Index(None, "content_hash"),
        Base.__table_args__,
    )
    id: Mapped[int] = key_column()
    item_id: Mapped[int] = mapped_column(ForeignKey("cataloger_item.id"))
    run_id: Mapped[int] = mapped_column(ForeignKey("cataloger_run.id"))
    weights_id: Mapped[str] = mapped_column(ForeignKey("cataloger_model.weights_id"))
    calibration_id: Mapped[str] = mapped_column(digest())
    precision: Mapped[str] = mapped_column(String(16))
    content_hash: Mapped[str | None] = mapped_column(digest())
    version_token: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(String(8))
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_text: Mapped[str | None] = mapped_column(Text)
    logits: Mapped[list[float] | None] = mapped_column(JSON(none_as_null=True))
    log_sum_exp: Mapped[float | None] = mapped_column(Float(53))
    scores: Mapped[bytes | None] = mapped_column(LargeBinary)
    familiarity: Mapped[float | None] = mapped_column(Float(53))
    width: Mapped[int | None] = mapped_column(Integer)
    height: Mapped[int | None] = mapped_column(Integer)
    decoder: Mapped[str | None] = mapped_column(String(64))
    tagged_at: Mapped[datetime] = mapped_column(UtcDateTime)


class CurrentRow(Base):
    """The current result of an image under some weights. latest_id: the newest result, even if it is not current.

    disagrees: with the other images of its product, so strongly that the product's answer ignores it.
    """

    __tablename__ = "cataloger_current"
    item_id: Mapped[int] = mapped_column(ForeignKey("cataloger_item.id"), primary_key=True, autoincrement=False)
    weights_id: Mapped[str] = mapped_column(ForeignKey("cataloger_model.weights_id"), primary_key=True)
    result_id: Mapped[int] = mapped_column(ForeignKey("cataloger_result.id"), index=True)
    latest_id: Mapped[int] = mapped_column(ForeignKey("cataloger_result.id"), index=True)
    disagrees: Mapped[bool] = mapped_column(Boolean, server_default=false())


class ProductResultRow(AnswerColumns, Base):
    """The answer of one run for one product, from all of its images."""

    __tablename__ = "cataloger_product_result"
    __table_args__ = (
        UniqueConstraint("run_id", "source_id", "product_hash"),
        Index(None, "source_id", "product_hash"),
        Base.__table_args__,
    )
    id: Mapped[int] = key_column()
    source_id: Mapped[int] = mapped_column(ForeignKey("cataloger_source.id"))
    run_id: Mapped[int] = mapped_column(ForeignKey("cataloger_run.id"))
    weights_id: Mapped[str] = mapped_column(ForeignKey("cataloger_model.weights_id"))
    product_key: Mapped[str] = mapped_column(exact_text())
    product_hash: Mapped[str] = mapped_column(digest())
    images: Mapped[int] = mapped_column(Integer)
    tagged_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ProductCurrentRow(Base):
    """The current answer for a product under some weights."""

    __tablename__ = "cataloger_product_current"
    source_id: Mapped[int] = mapped_column(ForeignKey("cataloger_source.id"), primary_key=True, autoincrement=False)
    product_hash: Mapped[str] = mapped_column(digest(), primary_key=True)
    weights_id: Mapped[str] = mapped_column(ForeignKey("cataloger_model.weights_id"), primary_key=True)
    result_id: Mapped[int] = mapped_column(ForeignKey("cataloger_product_result.id"), index=True)


INTENDED = "intended"
CONFIRMED = "confirmed"
"""The state of a write that is recorded before it is known to be made."""


class WriteRow(Base):
    """What was written back into a column of the shop: where, the old value and the new one.

    restores: an undo has restored the shop's own value. target_id: the other table that it was written to; null for
    the product table. state: `confirmed`; `intended` before a table without transactions, or an import of the shop,
    is known to have the value.
    """

    __tablename__ = "cataloger_write"
    __table_args__ = (
        Index(None, "source_id", "product_hash"),
        Index(None, "run_id", "product_hash"),
        Base.__table_args__,
    )
    id: Mapped[int] = key_column()
    source_id: Mapped[int] = mapped_column(ForeignKey("cataloger_source.id"))
    run_id: Mapped[int] = mapped_column(ForeignKey("cataloger_run.id"))
    product_key: Mapped[str] = mapped_column(exact_text())
    product_hash: Mapped[str] = mapped_column(digest())
    column_name: Mapped[str] = mapped_column(String(255))
    old_value: Mapped[Any] = mapped_column(JSON(none_as_null=True), nullable=True)
    new_value: Mapped[Any] = mapped_column(JSON(none_as_null=True), nullable=True)
    written_at: Mapped[datetime] = mapped_column(UtcDateTime)
    restores: Mapped[bool] = mapped_column(Boolean, server_default=false())
    target_id: Mapped[int | None] = mapped_column(identifier())
    state: Mapped[str] = mapped_column(String(16), server_default=CONFIRMED)


class OtherTargetRow(Base):
    """A table of the shop, besides the product table, that a source writes back to. kind: `rows`, `links` or `file`.

    definition: the columns that name a product, the values that its rows have in other columns, and of links the
    column of the category.
    """

    __tablename__ = "cataloger_other_target"
    __table_args__ = (UniqueConstraint("source_id", "target_hash"), Base.__table_args__)
    id: Mapped[int] = key_column()
    source_id: Mapped[int] = mapped_column(ForeignKey("cataloger_source.id"))
    target_hash: Mapped[str] = mapped_column(digest())
    kind: Mapped[str] = mapped_column(String(16))
    table_name: Mapped[str] = mapped_column(String(255))
    table_schema: Mapped[str | None] = mapped_column(String(255))
    definition: Mapped[dict[str, Any]] = mapped_column(JSON)


class WriteTargetRow(Base):
    """The table of the shop that a run writes back to. id_columns: those that identify a row."""

    __tablename__ = "cataloger_write_target"
    run_id: Mapped[int] = mapped_column(ForeignKey("cataloger_run.id"), primary_key=True, autoincrement=False)
    table_name: Mapped[str] = mapped_column(String(255))
    table_schema: Mapped[str | None] = mapped_column(String(255))
    id_columns: Mapped[list[str]] = mapped_column(JSON)


class CorrectionRow(Base):
    """A correction of an image by a person; never changed afterwards. result_id: the result that the person saw.

    verdict: `label`; `not_product`, the image shows none; or `withdrawn`, which ends earlier corrections.
    label: null unless that is the verdict.
    """

    __tablename__ = "cataloger_correction"
    id: Mapped[int] = key_column()
    item_id: Mapped[int] = mapped_column(ForeignKey("cataloger_item.id"), index=True)
    result_id: Mapped[int | None] = mapped_column(ForeignKey("cataloger_result.id"), index=True)
    label: Mapped[str | None] = mapped_column(String(255))
    author: Mapped[str] = mapped_column(String(255))
    note: Mapped[str | None] = mapped_column(Text)
    corrected_at: Mapped[datetime] = mapped_column(UtcDateTime)
    verdict: Mapped[str] = mapped_column(String(16), server_default="label")


class CurrentCorrectionRow(Base):
    """The current correction of an image; no row where there is none."""

    __tablename__ = "cataloger_corrected"
    item_id: Mapped[int] = mapped_column(ForeignKey("cataloger_item.id"), primary_key=True, autoincrement=False)
    correction_id: Mapped[int] = mapped_column(ForeignKey("cataloger_correction.id"), index=True)


class CurrentProductCorrectionRow(Base):
    """The correction of a product: the most frequent label among those of its images, of several the latest."""

    __tablename__ = "cataloger_corrected_product"
    source_id: Mapped[int] = mapped_column(ForeignKey("cataloger_source.id"), primary_key=True, autoincrement=False)
    product_hash: Mapped[str] = mapped_column(digest(), primary_key=True)
    product_key: Mapped[str] = mapped_column(exact_text())
    label: Mapped[str] = mapped_column(String(255))
    author: Mapped[str] = mapped_column(String(255))
    corrected_at: Mapped[datetime] = mapped_column(UtcDateTime)
