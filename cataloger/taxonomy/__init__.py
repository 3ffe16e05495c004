"""The categories of Google's and Shopify's product taxonomies: as codes of a source, and as files that both import.

Imports `schema`, `ledger`, `db`, `tabular`, `utils`. Where the lists come from is in their first lines.
"""

from cataloger.taxonomy.codes import merged_codes, taxonomy_codes
from cataloger.taxonomy.feeds import FeedOptions, FeedReport, feed_kind, write_feed
from cataloger.taxonomy.lists import NAMES, Category, Taxonomy, read_taxonomy

__all__ = [
    "NAMES",
    "Category",
    "FeedOptions",
    "FeedReport",
    "Taxonomy",
    "feed_kind",
    "merged_codes",
    "read_taxonomy",
    "taxonomy_codes",
    "write_feed",
]
