"""Corrections of people to images: storing them, and their CSV files.

Imports `ledger`, `schema`, `db`, `utils`.
"""

from cataloger.corrections.csv_export import ExportOptions, What, export_corrections
from cataloger.corrections.csv_import import ImportOptions, ImportReport, import_corrections
from cataloger.corrections.one_image import correct_image, find_image, require_known_label
from cataloger.corrections.store import CorrectionInput, Outcome, correct, labels_in_use
from cataloger.corrections.summary import AuthorSummary, CorrectionSummary, summarize

__all__ = [
    "AuthorSummary",
    "CorrectionInput",
    "CorrectionSummary",
    "ExportOptions",
    "ImportOptions",
    "ImportReport",
    "Outcome",
    "What",
    "correct",
    "correct_image",
    "export_corrections",
    "find_image",
    "import_corrections",
    "labels_in_use",
    "require_known_label",
    "summarize",
]
