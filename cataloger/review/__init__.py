"""The page on which people correct results, and its server.

Imports `review_queue`, `corrections`, `report`, and what lies below them.
"""

from cataloger.review.security import Access, is_loopback, new_token
from cataloger.review.server import ReviewOptions, serve

__all__ = ["Access", "ReviewOptions", "is_loopback", "new_token", "serve"]
