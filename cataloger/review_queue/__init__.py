"""What people review, in which order, and how far they are: an index in memory, and the rows as JSON.

Imports `report`, `reviewers`, `corrections`, `taxonomy`, `queries`, `sources`, `schema`, `db`, `utils`.
"""

from cataloger.review_queue.categories import read_categories
from cataloger.review_queue.filters import ADAPTING, ORDERS, REVIEWED, WHOSE, Filters
from cataloger.review_queue.item_rows import LARGEST_ID, find_shown, results_of, source_of, sources
from cataloger.review_queue.queue import Queue
from cataloger.review_queue.shop_columns import ShopColumns
from cataloger.review_queue.wanted import assigned_part

__all__ = [
    "ADAPTING",
    "LARGEST_ID",
    "ORDERS",
    "REVIEWED",
    "WHOSE",
    "Filters",
    "Queue",
    "ShopColumns",
    "assigned_part",
    "find_shown",
    "read_categories",
    "results_of",
    "source_of",
    "sources",
]
