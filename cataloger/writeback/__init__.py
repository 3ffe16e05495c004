"""Answers in columns of the shop's product table and in rows of its other tables.

The plan, the checks beforehand, the writing and its journal.

Imports `ledger`, `schema`, `db`, `sources`.
"""

from typing import TYPE_CHECKING

from cataloger.utils import lazy_names

if TYPE_CHECKING:
    from cataloger.writeback.answer_places import WrittenAnswer, products_of_images, written_answers
    from cataloger.writeback.column_values import ABSENT, ANY_ROW, Cell, restore
    from cataloger.writeback.flags import OtherWrites
    from cataloger.writeback.journal import CellChange, Journal, WriteCounts, write_cells, written_to
    from cataloger.writeback.other_preflight import LinkCheck, RowCheck
    from cataloger.writeback.other_tables import other_table
    from cataloger.writeback.plan import WritePlan
    from cataloger.writeback.preflight import PossibleAnswers, WriteCheck, check_database, qualified
    from cataloger.writeback.product_table import ProductRow, ProductTable
    from cataloger.writeback.two_steps import PlainWriter
    from cataloger.writeback.writer import WriteBack

__all__ = [
    "ABSENT",
    "ANY_ROW",
    "Cell",
    "CellChange",
    "Journal",
    "LinkCheck",
    "OtherWrites",
    "PlainWriter",
    "PossibleAnswers",
    "ProductRow",
    "ProductTable",
    "RowCheck",
    "WriteBack",
    "WriteCheck",
    "WriteCounts",
    "WritePlan",
    "WrittenAnswer",
    "check_database",
    "other_table",
    "products_of_images",
    "qualified",
    "restore",
    "write_cells",
    "written_answers",
    "written_to",
]

__getattr__ = lazy_names(
    __name__,
    {
        "answer_places": (
            "WrittenAnswer",
            "products_of_images",
            "written_answers",
        ),
        "column_values": (
            "ABSENT",
            "ANY_ROW",
            "Cell",
            "restore",
        ),
        "flags": ("OtherWrites",),
        "journal": (
            "CellChange",
            "Journal",
            "WriteCounts",
            "write_cells",
            "written_to",
        ),
        "other_preflight": (
            "LinkCheck",
            "RowCheck",
        ),
        "other_tables": ("other_table",),
        "plan": ("WritePlan",),
        "preflight": (
            "PossibleAnswers",
            "WriteCheck",
            "check_database",
            "qualified",
        ),
        "product_table": (
            "ProductRow",
            "ProductTable",
        ),
        "two_steps": ("PlainWriter",),
        "writer": ("WriteBack",),
    },
)
