"""The columns of Shopify's product CSV: the names that an export has today, then those that it had before 2025.

A product is named in each of its rows. What is said of a product stands in its first row alone; the rows behind it
are its other variants and images. Letters of names may be of any case.
"""

from collections.abc import Sequence
from typing import Final

from cataloger.tabular.columns import find_column
from cataloger.tabular.problems import TableFormatError

HANDLE: Final = ("URL handle", "Handle")
TITLE: Final = ("Title",)
IMAGE: Final = ("Product image URL", "Image Src")
VARIANT_IMAGE: Final = ("Variant image URL", "Variant Image")
CATEGORY: Final = ("Product Category",)
TYPE: Final = ("Type",)
TAGS: Final = ("Tags",)


def find_shopify_column(written: Sequence[str], names: Sequence[str]) -> int | None:
    """Return the position of a column. written: its names in exports. Raises TableFormatError where there are two."""
    found = [place for name in written if (place := find_column(name, names)) is not None]
    if len(found) > 1:
        both = " and ".join(repr(names[place]) for place in found[:2])
        raise TableFormatError(f"has two columns that Shopify reads as one, {both}; delete one of them")
    return found[0] if found else None
