"""The HTML page that shows what a database holds of a catalog. Imports `history` and what lies below it."""

from cataloger.report.gather import ReportOptions, gather_report
from cataloger.report.html import PageOptions, write_page
from cataloger.report.stored_images import Pictures

__all__ = ["PageOptions", "Pictures", "ReportOptions", "gather_report", "write_page"]
