"""What the shop's own table says of a product, and where the shop shows it: for people who decide about it."""

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

from sqlalchemy import select

from cataloger.errors import CatalogerError, UsageError
from cataloger.queries import ShopSource
from cataloger.report import Pictures
from cataloger.sources import clean_values, join_keys, split_key
from cataloger.utils import shown_key

LONGEST = 300
KEY = "{key}"

logger = logging.getLogger(__name__)


class ShopColumns:
    """Reads columns of product tables beside the queue. Safe to use from several threads.

    names: of the columns. link: address of a product in the shop, with `{key}` in it; "" for none. Raises UsageError
    for an address that no browser should follow.
    """

    def __init__(self, pictures: Pictures, names: Sequence[str] = (), link: str = "") -> None:
        if link and (urlsplit(link).scheme not in ("http", "https") or KEY not in link):
            raise UsageError(
                f'--link {link}: write an address with {KEY} in it, such as "https://shop/admin?id={KEY}"'
            )
        self._pictures = pictures
        self._names = tuple(names)
        self._link = link

    def require(self, sources: Collection[int]) -> None:
        """Raise UsageError unless one of the sources has all of the columns."""
        if not self._names:
            return
        reasons = [reason for source in sources if (reason := self._problem(source)) is not None]
        if len(reasons) == len(sources):
            raise UsageError(f"--show {','.join(self._names)}: {reasons[0] if reasons else 'nothing is tagged yet'}")

    def add(self, products: Sequence[dict[str, Any]]) -> None:
        """Add `columns`, pairs of name and text, and `link` to products as `read_products` returns them."""
        for product in products:
            product["columns"], product["link"] = [], self._address(product["product"])
        if not self._names:
            return
        for source in {product["source"] for product in products}:
            mine = [product for product in products if product["source"] == source and product["product"] is not None]
            try:
                found = self._read(source, [product["product"] for product in mine])
            except CatalogerError as error:
                logger.warning("columns of the products are not shown: %s", error)
                continue
            for product in mine:
                product["columns"] = found.get(product["product"], [])

    def _address(self, key: str | None) -> str | None:
        return self._link.replace(KEY, quote(shown_key(key), safe="")) if self._link and key is not None else None

    def _problem(self, source: int) -> str | None:
        try:
            columns = _columns(self._pictures.shop_source(source))
        except CatalogerError as error:
            return str(error)
        missing = [name for name in self._names if name not in columns]
        return f"there is no column {missing[0]}; there are {', '.join(columns)}" if missing else None

    def _read(self, source: int, keys: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
        """Return key -> the columns of products of a source; of none that its table does not have any more."""
        shop = self._pictures.shop_source(source)
        layout, known = shop.layout, _columns(shop)
        shown = [name for name in self._names if name in known]
        if not shown or not keys:
            return {}
        wanted = [parts for key in keys if (parts := split_key(key, len(layout.parents)))]
        columns = [*layout.parents, *(known[name] for name in shown)]
        labelled = [column.label(f"c{number}") for number, column in enumerate(columns)]
        query = select(*labelled).where(layout.of_parents(wanted))
        found: dict[str, list[tuple[str, str]]] = {}
        for row in shop.database.rows(query):
            ids, cells = row[: len(layout.parents)], row[len(layout.parents) :]
            pairs = [(name, text) for name, cell in zip(shown, cells, strict=True) if (text := _text(cell))]
            for key in (join_keys(clean_values(ids)), join_keys(ids)):
                found.setdefault(key, pairs)
        return found


def _columns(shop: ShopSource) -> Mapping[str, Any]:
    """Return the columns of the rows that name a product, by name."""
    layout = shop.layout
    columns: Mapping[str, Any] = getattr(layout.parents[0], "table", layout.rows).c
    return columns


def _text(cell: object) -> str:
    return "" if cell is None or isinstance(cell, bytes | memoryview) else str(cell)[:LONGEST]
