"""The images that one SELECT of the shop's gives, in place of a product table; and which of the two options ask for.

Imports `sources`, `db`.
"""

from typing import TYPE_CHECKING

from cataloger.utils import lazy_names

if TYPE_CHECKING:
    from cataloger.queries.query_source import QuerySource, ShopSource, open_shop_source

__all__ = ["QuerySource", "ShopSource", "open_shop_source"]


__getattr__ = lazy_names(__name__, {"query_source": ["QuerySource", "ShopSource", "open_shop_source"]})
