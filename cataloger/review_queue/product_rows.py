"""The data of products that can be reviewed, as JSON for the page."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import tuple_

from cataloger.contracts import TOP_K
from cataloger.db import AnyRow, Database
from cataloger.review_queue.filters import Filters
from cataloger.review_queue.item_rows import answers_of, read_rows
from cataloger.review_queue.product_index import current_answers
from cataloger.schema import ProductCurrentRow, ProductResultRow, key_hash

ANSWERS = tuple(
    getattr(ProductResultRow, f"{name}_{n}") for name in ("label", "confidence") for n in range(1, TOP_K + 1)
)


def read_products(database: Database, products: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
    """Read products, each given by its images, as plain JSON values; those without an image left are left out.

    An image without a product is one. Each image says whether the answer of the product is made from it.
    """
    items = [item for product in products for item in product]
    images = {row["item"]: row for row in read_rows(database, Filters(reviewed="any"), items)}
    found = [[images[item] for item in product if item in images] for product in products]
    answers = _answers(database, [rows[0] for rows in found if rows and rows[0]["product"] is not None])
    return [_as_json(rows, answers.get(_named(rows[0]))) for rows in found if rows]


def _named(image: dict[str, Any]) -> tuple[int, str | None]:
    return image["source"], None if image["product"] is None else key_hash(image["product"])


def _answers(database: Database, firsts: Sequence[dict[str, Any]]) -> dict[tuple[int, str | None], AnyRow]:
    """Return the current answers for the products of some images."""
    if not firsts:
        return {}
    key = (ProductCurrentRow.source_id, ProductCurrentRow.product_hash)
    query = current_answers(*key, ProductResultRow.run_id, ProductResultRow.decision, *ANSWERS)
    query = query.where(tuple_(*key).in_([_named(image) for image in firsts]), ProductResultRow.label_1.is_not(None))
    with database.read() as connection:
        return {(row.source_id, row.product_hash): row for row in connection.execute(query)}


def _as_json(images: list[dict[str, Any]], answer: AnyRow | None) -> dict[str, Any]:
    counted = _counted(images)
    for image, counts in zip(images, counted, strict=True):
        image["counts"] = counts
    heard = [image for image, counts in zip(images, counted, strict=True) if counts]
    label = heard[0]["answers"][0][0] if answer is None else answer.label_1
    main = max(heard, key=lambda image: dict(map(tuple, image["answers"])).get(label, 0.0))
    same = ("source", "source_name", "product", "product_text")
    return {
        **{name: main[name] for name in same},
        "run": main["run"] if answer is None else answer.run_id,
        "decision": main["decision"] if answer is None else answer.decision,
        "answers": main["answers"] if answer is None else answers_of(answer),
        "main": images.index(main),
        "images": images,
    }


def _counted(images: Sequence[dict[str, Any]]) -> list[bool]:
    """Return which images the answer of their product is made from, as `ProductIndex` has it."""
    abstains = [image["decision"] == "abstain" for image in images]
    is_mostly = 2 * sum(abstains) > len(images)
    counted = [
        not image["disagrees"] and (is_mostly or not abstained)
        for image, abstained in zip(images, abstains, strict=True)
    ]
    return counted if any(counted) else [True] * len(images)
