"""Somebody else's database to read product tables from, on each engine."""

from shop_tables import engine_name, shop, shop_url

__all__ = ["engine_name", "shop", "shop_url"]
