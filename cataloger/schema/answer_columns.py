"""The columns of the answer of a model, which tables of results share."""

from sqlalchemy import Float, String
from sqlalchemy.orm import Mapped, mapped_column


class AnswerColumns:
    """The answer of a model; columns that image and product results share."""

    decision: Mapped[str | None] = mapped_column(String(16))
    label_1: Mapped[str | None] = mapped_column(String(255))
    label_2: Mapped[str | None] = mapped_column(String(255))
    label_3: Mapped[str | None] = mapped_column(String(255))
    label_4: Mapped[str | None] = mapped_column(String(255))
    label_5: Mapped[str | None] = mapped_column(String(255))
    confidence_1: Mapped[float | None] = mapped_column(Float(53))
    confidence_2: Mapped[float | None] = mapped_column(Float(53))
    confidence_3: Mapped[float | None] = mapped_column(Float(53))
    confidence_4: Mapped[float | None] = mapped_column(Float(53))
    confidence_5: Mapped[float | None] = mapped_column(Float(53))
