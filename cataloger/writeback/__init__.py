"""Answers in columns of the shop's product table: the plan, the checks beforehand, the writing and its journal.

Imports `ledger`, `schema`, `db`, `sources`.
"""

from cataloger.writeback.column_values import Cell, restore
from cataloger.writeback.journal import CellChange, Journal, WriteCounts, write_cells
from cataloger.writeback.plan import WritePlan
from cataloger.writeback.preflight import PossibleAnswers, WriteCheck, check_database, qualified
from cataloger.writeback.product_table import ProductRow, ProductTable
from cataloger.writeback.writer import WriteBack

__all__ = [
    "Cell",
    "CellChange",
    "Journal",
    "PossibleAnswers",
    "ProductRow",
    "ProductTable",
    "WriteBack",
    "WriteCheck",
    "WriteCounts",
    "WritePlan",
    "check_database",
    "qualified",
    "restore",
    "write_cells",
]
