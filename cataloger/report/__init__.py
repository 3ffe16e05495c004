"""The HTML pages that show what a database holds of a catalog, and why an image has its category.

Imports `history` and what lies below it.
"""

from cataloger.report.explanation import Explained, render_explanation
from cataloger.report.gather import ReportOptions, gather_report
from cataloger.report.html import PageOptions, write_page
from cataloger.report.stored_images import Pictures

__all__ = [
    "Explained",
    "PageOptions",
    "Pictures",
    "ReportOptions",
    "gather_report",
    "render_explanation",
    "write_page",
]
