"""Corrections of people to images: storing them, and their CSV files.

Imports `ledger`, `schema`, `db`, `adaptation`, `inference`, `model`, `utils`.
"""

from typing import TYPE_CHECKING

from cataloger.utils import lazy_names

if TYPE_CHECKING:
    from cataloger.corrections.catalog_figures import CatalogFigures, count_catalog
    from cataloger.corrections.csv_export import ExportOptions, What, export_corrections
    from cataloger.corrections.csv_import import ImportOptions, ImportReport, import_corrections
    from cataloger.corrections.for_adapting import choose_for_adapting
    from cataloger.corrections.label_worth import count_labelled, measure_label_worth
    from cataloger.corrections.labelled_images import (
        ShopLabels,
        SourceScores,
        corrected_label,
        read_labelled,
        read_some_scores,
    )
    from cataloger.corrections.measured_accept import LEAST_ACCEPTED, ORIGINS, MeasuredAccept, measure_accept
    from cataloger.corrections.one_image import correct_image, find_image, require_known_label
    from cataloger.corrections.store import CorrectionInput, Outcome, correct, labels_in_use
    from cataloger.corrections.summary import AuthorSummary, CorrectionSummary, summarize

__all__ = [
    "LEAST_ACCEPTED",
    "ORIGINS",
    "AuthorSummary",
    "CatalogFigures",
    "CorrectionInput",
    "CorrectionSummary",
    "ExportOptions",
    "ImportOptions",
    "ImportReport",
    "MeasuredAccept",
    "Outcome",
    "ShopLabels",
    "SourceScores",
    "What",
    "choose_for_adapting",
    "correct",
    "correct_image",
    "corrected_label",
    "count_catalog",
    "count_labelled",
    "export_corrections",
    "find_image",
    "import_corrections",
    "labels_in_use",
    "measure_accept",
    "measure_label_worth",
    "read_labelled",
    "read_some_scores",
    "require_known_label",
    "summarize",
]

__getattr__ = lazy_names(
    __name__,
    {
        "catalog_figures": (
            "CatalogFigures",
            "count_catalog",
        ),
        "csv_export": (
            "ExportOptions",
            "What",
            "export_corrections",
        ),
        "csv_import": (
            "ImportOptions",
            "ImportReport",
            "import_corrections",
        ),
        "for_adapting": ("choose_for_adapting",),
        "label_worth": (
            "count_labelled",
            "measure_label_worth",
        ),
        "labelled_images": (
            "ShopLabels",
            "SourceScores",
            "corrected_label",
            "read_labelled",
            "read_some_scores",
        ),
        "measured_accept": (
            "LEAST_ACCEPTED",
            "MeasuredAccept",
            "ORIGINS",
            "measure_accept",
        ),
        "one_image": (
            "correct_image",
            "find_image",
            "require_known_label",
        ),
        "store": (
            "CorrectionInput",
            "Outcome",
            "correct",
            "labels_in_use",
        ),
        "summary": (
            "AuthorSummary",
            "CorrectionSummary",
            "summarize",
        ),
    },
)
