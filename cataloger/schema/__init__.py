"""Our own tables: models, views, revisions, opening a database whose tables fit, and the query of current results.

Imports `db` and `utils`.
"""

from typing import TYPE_CHECKING

from cataloger.utils import lazy_names

if TYPE_CHECKING:
    from cataloger.schema import revisions
    from cataloger.schema.current_results import (
        IS_UNCHANGED,
        SEEN,
        paged_source_id,
        select_current,
        with_corrections,
        with_seen,
    )
    from cataloger.schema.hashing import CHUNK, key_hash
    from cataloger.schema.models import (
        CONFIRMED,
        INTENDED,
        AssignmentRow,
        CalibrationRow,
        ClaimRow,
        CorrectionRow,
        CurrentCorrectionRow,
        CurrentProductCorrectionRow,
        CurrentRow,
        ItemPresenceRow,
        ItemRow,
        LabelMapRow,
        LeaseRow,
        ModelRow,
        OtherTargetRow,
        ProductCurrentRow,
        ProductResultRow,
        ResultRow,
        RunRow,
        RunSourceRow,
        SecondAnswerRow,
        ShardRow,
        SourceRow,
        WriteRow,
        WriteTargetRow,
    )
    from cataloger.schema.open import open_database, open_for_planning, open_results, open_source, without_tables
    from cataloger.schema.views import ANSWER, IMAGE_COLUMNS, IMAGE_TOP5, PRODUCT_TOP5

__all__ = [
    "ANSWER",
    "CHUNK",
    "CONFIRMED",
    "IMAGE_COLUMNS",
    "IMAGE_TOP5",
    "INTENDED",
    "IS_UNCHANGED",
    "PRODUCT_TOP5",
    "SEEN",
    "AssignmentRow",
    "CalibrationRow",
    "ClaimRow",
    "CorrectionRow",
    "CurrentCorrectionRow",
    "CurrentProductCorrectionRow",
    "CurrentRow",
    "ItemPresenceRow",
    "ItemRow",
    "LabelMapRow",
    "LeaseRow",
    "ModelRow",
    "OtherTargetRow",
    "ProductCurrentRow",
    "ProductResultRow",
    "ResultRow",
    "RunRow",
    "RunSourceRow",
    "SecondAnswerRow",
    "ShardRow",
    "SourceRow",
    "WriteRow",
    "WriteTargetRow",
    "key_hash",
    "open_database",
    "open_for_planning",
    "open_results",
    "open_source",
    "paged_source_id",
    "revisions",
    "select_current",
    "with_corrections",
    "with_seen",
    "without_tables",
]


__getattr__ = lazy_names(
    __name__,
    {
        "current_results": [
            "IS_UNCHANGED",
            "SEEN",
            "select_current",
            "paged_source_id",
            "with_seen",
            "with_corrections",
        ],
        "hashing": ["CHUNK", "key_hash"],
        "models": [
            "CONFIRMED",
            "INTENDED",
            "AssignmentRow",
            "CalibrationRow",
            "ClaimRow",
            "CorrectionRow",
            "CurrentCorrectionRow",
            "CurrentProductCorrectionRow",
            "CurrentRow",
            "ItemPresenceRow",
            "ItemRow",
            "LabelMapRow",
            "LeaseRow",
            "ModelRow",
            "OtherTargetRow",
            "ProductCurrentRow",
            "ProductResultRow",
            "ResultRow",
            "RunRow",
            "RunSourceRow",
            "SecondAnswerRow",
            "ShardRow",
            "SourceRow",
            "WriteRow",
            "WriteTargetRow",
        ],
        "open": ["open_database", "open_for_planning", "open_results", "open_source", "without_tables"],
        "views": ["ANSWER", "IMAGE_COLUMNS", "IMAGE_TOP5", "PRODUCT_TOP5"],
    },
)
