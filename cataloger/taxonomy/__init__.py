"""The categories of Google's and Shopify's product taxonomies: as codes of a source, and as files that both import.

Imports `schema`, `ledger`, `db`, `tabular`, `utils`. Where the lists come from is in their first lines.
"""

from cataloger.taxonomy.codes import merged_codes, taxonomy_codes
from cataloger.taxonomy.export_rows import WRITABLE, open_export
from cataloger.taxonomy.feeds import FeedOptions, FeedReport, copy_export, feed_kind, write_feed
from cataloger.taxonomy.lists import NAMES, Category, Taxonomy, read_synonyms, read_taxonomy
from cataloger.taxonomy.shopify_copy import CopyOptions, CopyReport

__all__ = [
    "NAMES",
    "WRITABLE",
    "Category",
    "CopyOptions",
    "CopyReport",
    "FeedOptions",
    "FeedReport",
    "Taxonomy",
    "copy_export",
    "feed_kind",
    "merged_codes",
    "open_export",
    "read_synonyms",
    "read_taxonomy",
    "taxonomy_codes",
    "write_feed",
]
