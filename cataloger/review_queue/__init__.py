"""What people review, in which order, and how far they are: an index in memory, and the rows as JSON.

Imports `corrections`, `schema`, `db`, `utils`.
"""

from cataloger.review_queue.filters import ADAPTING, ORDERS, REVIEWED, Filters
from cataloger.review_queue.item_rows import LARGEST_ID, find_shown, results_of, source_of, sources
from cataloger.review_queue.queue import Queue

__all__ = [
    "ADAPTING",
    "LARGEST_ID",
    "ORDERS",
    "REVIEWED",
    "Filters",
    "Queue",
    "find_shown",
    "results_of",
    "source_of",
    "sources",
]
