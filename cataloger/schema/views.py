"""The views as they can be selected from: the public contract. The migrations define them.

Their names and columns do not change within a major version.
"""

from typing import Any

from sqlalchemy import DateTime, Float, Integer, String, column, table
from sqlalchemy.sql import TableClause
from sqlalchemy.types import TypeEngine

from cataloger.contracts import TOP_K

ANSWER = [c for rank in range(1, TOP_K + 1) for c in (f"label_{rank}", f"confidence_{rank}")]

IMAGE_COLUMNS = (
    *("source", "key", "uri", "product_key", "status", "error_code", "model", "run_id", "decision"),
    *ANSWER,
    "tagged_at",
    *("corrected_by", "corrected_at"),
    "error_text",
)

TYPES: dict[str, TypeEngine[Any]] = {
    "run_id": Integer(),
    "images": Integer(),
    "tagged_at": DateTime(),
    "corrected_at": DateTime(),
    **{f"confidence_{n}": Float(53) for n in range(1, TOP_K + 1)},
}

PRODUCT_COLUMNS = (
    *("source", "product_key", "model", "run_id", "images", "decision"),
    *ANSWER,
    *("tagged_at", "corrected_by", "corrected_at"),
)

IMAGE_TOP5: TableClause = table(
    "cataloger_image_top5", *(column(name, TYPES.get(name, String())) for name in IMAGE_COLUMNS)
)
"""One row per image: its current result under the model that its source is pinned to, or its correction."""

PRODUCT_TOP5: TableClause = table(
    "cataloger_product_top5", *(column(name, TYPES.get(name, String())) for name in PRODUCT_COLUMNS)
)
"""One row per product: its current result, or its correction."""
