"""Files of rows, CSV and JSON lines, read strictly: what is unclear is named with its line, and never guessed.

The one reader of manifests, labelled data, corrections and label maps, and the one writer of CSV. Cells come back as
they were written; what they mean is the business of its users. And the arrays that PHP writes into cells.
Imports nothing of ours.
"""

from typing import TYPE_CHECKING

from cataloger.utils import lazy_names

if TYPE_CHECKING:
    from cataloger.tabular import shopify_columns
    from cataloger.tabular.columns import find_column, find_key
    from cataloger.tabular.csv_cells import cells_as_written, row_with_cells, text_of_cell
    from cataloger.tabular.csv_table import CsvTable, open_csv
    from cataloger.tabular.csv_writer import csv_line, write_csv
    from cataloger.tabular.formulas import escape_formula, unescape_formula
    from cataloger.tabular.json_lines import JsonRow, read_json_lines
    from cataloger.tabular.lines import require_regular
    from cataloger.tabular.php_arrays import read_php_array
    from cataloger.tabular.problems import RawRow, RowProblem, TableFormatError
    from cataloger.tabular.shopify_columns import find_shopify_column

__all__ = [
    "CsvTable",
    "JsonRow",
    "RawRow",
    "RowProblem",
    "TableFormatError",
    "cells_as_written",
    "csv_line",
    "escape_formula",
    "find_column",
    "find_key",
    "find_shopify_column",
    "open_csv",
    "read_json_lines",
    "read_php_array",
    "require_regular",
    "row_with_cells",
    "shopify_columns",
    "text_of_cell",
    "unescape_formula",
    "write_csv",
]

__getattr__ = lazy_names(
    __name__,
    {
        "columns": (
            "find_column",
            "find_key",
        ),
        "csv_cells": (
            "cells_as_written",
            "row_with_cells",
            "text_of_cell",
        ),
        "csv_table": (
            "CsvTable",
            "open_csv",
        ),
        "csv_writer": (
            "csv_line",
            "write_csv",
        ),
        "formulas": (
            "escape_formula",
            "unescape_formula",
        ),
        "json_lines": (
            "JsonRow",
            "read_json_lines",
        ),
        "lines": ("require_regular",),
        "php_arrays": ("read_php_array",),
        "problems": (
            "RawRow",
            "RowProblem",
            "TableFormatError",
        ),
        "shopify_columns": ("find_shopify_column",),
    },
)
