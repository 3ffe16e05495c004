"""What people review, in which order, and how far they are: an index in memory, and the rows as JSON.

Imports `report`, `corrections`, `taxonomy`, `queries`, `sources`, `schema`, `db`, `utils`.
"""

from cataloger.review_queue.categories import read_categories
from cataloger.review_queue.filters import ADAPTING, ORDERS, REVIEWED, Filters
from cataloger.review_queue.item_rows import LARGEST_ID, find_shown, results_of, source_of, sources
from cataloger.review_queue.queue import Queue
from cataloger.review_queue.shop_columns import ShopColumns

__all__ = [
    "ADAPTING",
    "LARGEST_ID",
    "ORDERS",
    "REVIEWED",
    "Filters",
    "Queue",
    "ShopColumns",
    "find_shown",
    "read_categories",
    "results_of",
    "source_of",
    "sources",
]
