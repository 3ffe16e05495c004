"""Products of which some images disagree with the others: most often a wrong photo, or one of a size chart."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import Connection, Row, func, select, true

from cataloger.db.database import Database
from cataloger.db.models import Current, Item, ProductCurrent, ProductResult, Result
from cataloger.report_answers import Origin

PRODUCTS = 20
IMAGES = 6


@dataclass(frozen=True, slots=True)
class ProductImage:
    """An image of a product. disagrees: with the others."""

    item_id: int
    key: str
    uri: str
    label: str | None
    confidence: float | None
    disagrees: bool


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A product with images that disagree, those first. label, confidence: of the product. images_in_all: it has."""

    source: str
    product_key: str
    label: str | None
    confidence: float | None
    images_in_all: int
    images: tuple[ProductImage, ...]


def disagreements(database: Database, origins: Sequence[Origin]) -> tuple[int, list[Disagreement]]:
    """Return how many products have images that disagree, and the first of them."""
    total, found = 0, list[Disagreement]()
    for origin in origins:
        left = PRODUCTS - len(found)
        count, some = database.run(partial(_of_source, origin=origin, count=left), read_only=True)
        total += count
        found += some
    return total, found


def _of_source(connection: Connection, origin: Origin, count: int) -> tuple[int, list[Disagreement]]:
    of_model = (Current.item_id == Item.id) & (Current.weights_id == origin.weights_id)
    products = (
        select(Item.product_hash)
        .join(Current, of_model)
        .where(Item.source_id == origin.id, Item.gone_run_id.is_(None), Item.product_hash.is_not(None))
        .where(Current.disagrees == true())
        .distinct()
    )
    total = connection.scalar(select(func.count()).select_from(products.subquery())) or 0
    hashes = connection.scalars(products.order_by(Item.product_hash).limit(count)).all() if total else []
    return total, [_product(connection, origin, str(product)) for product in hashes]


def _product(connection: Connection, origin: Origin, product: str) -> Disagreement:
    mine = (ProductCurrent.source_id == origin.id) & (ProductCurrent.weights_id == origin.weights_id)
    query = select(ProductResult.label_1, ProductResult.confidence_1, ProductResult.images).join(
        ProductCurrent, ProductCurrent.result_id == ProductResult.id
    )
    answer = connection.execute(query.where(mine, ProductCurrent.product_hash == product)).one_or_none()
    rows = connection.execute(_images(origin, product)).all()
    images = tuple(map(_image, rows))
    return Disagreement(
        origin.name,
        str(rows[0].product_key),
        answer and answer.label_1,
        answer and answer.confidence_1,
        max(len(images), answer.images if answer else 0),
        images,
    )


def _images(origin: Origin, product: str) -> Any:
    of_model = (Current.item_id == Item.id) & (Current.weights_id == origin.weights_id)
    return (
        select(Item.id, Item.key, Item.uri, Item.product_key, Result.label_1, Result.confidence_1, Current.disagrees)
        .join(Current, of_model)
        .join(Result, Result.id == Current.result_id)
        .where(Item.source_id == origin.id, Item.product_hash == product)
        .where(Item.gone_run_id.is_(None), Result.status == "ok")
        .order_by(Current.disagrees.desc(), Item.id)
        .limit(IMAGES)
    )


def _image(row: Row[*tuple[Any, ...]]) -> ProductImage:
    return ProductImage(row.id, row.key, row.uri, row.label_1, row.confidence_1, bool(row.disagrees))
