"""The tables of people who review together."""

from datetime import datetime

from sqlalchemy import Boolean, ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from cataloger.db import UtcDateTime, digest, exact_name, identifier
from cataloger.schema.base import Base, key_column


class ClaimRow(Base):
    """A product, or an image without one, that the page of a reviewer has been given; others get another one.

    unit_hash: hash of the product, or of the image. page: which window holds it. item_id: an image of it. is_open: it
    is looked at. Ends when the page renews it no more.
    """

    __tablename__ = "cataloger_claim"
    source_id: Mapped[int] = mapped_column(identifier(), primary_key=True, autoincrement=False)
    unit_hash: Mapped[str] = mapped_column(digest(), primary_key=True)
    item_id: Mapped[int] = mapped_column(identifier())
    page: Mapped[str] = mapped_column(digest())
    person: Mapped[str] = mapped_column(exact_name())
    is_open: Mapped[bool] = mapped_column(Boolean)
    renewed_at: Mapped[datetime] = mapped_column(UtcDateTime)


class SecondAnswerRow(Base):
    """What a second person answered about an image without seeing the first answer, `correction_id`."""

    __tablename__ = "cataloger_second_answer"
    item_id: Mapped[int] = mapped_column(ForeignKey("cataloger_item.id"), primary_key=True, autoincrement=False)
    correction_id: Mapped[int] = mapped_column(ForeignKey("cataloger_correction.id"), index=True)
    verdict: Mapped[str] = mapped_column(String(16))
    label: Mapped[str | None] = mapped_column(String(255))
    author: Mapped[str] = mapped_column(String(255))
    answered_at: Mapped[datetime] = mapped_column(UtcDateTime)


class AssignmentRow(Base):
    """A part of the queue that is for one person. filters: of the review page, as its address contains them."""

    __tablename__ = "cataloger_assignment"
    id: Mapped[int] = key_column()
    person: Mapped[str] = mapped_column(exact_name())
    filters: Mapped[str] = mapped_column(Text)
    assigned_by: Mapped[str] = mapped_column(exact_name())
    assigned_at: Mapped[datetime] = mapped_column(UtcDateTime)
