"""Products with images that disagree with the others: most often a wrong photo, or one of a size chart.

Images marked as no product are ignored. If people have corrected a product, an image disagrees if it was corrected to
another category, or if the model gives the product's category almost no confidence.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, case, func, or_, select, true, union_all

from cataloger.contracts import TOP_K
from cataloger.db import AnyRow, value_pages
from cataloger.inference import DISAGREEMENT, ProductAnswer, combine
from cataloger.ledger import ANSWER, answer_of, source_model
from cataloger.report.queries import AnswerQueries, CorrectionRef, CurrentAnswers, Origin
from cataloger.schema import (
    CorrectionRow,
    CurrentProductCorrectionRow,
    CurrentRow,
    ItemRow,
    ProductCurrentRow,
    ProductResultRow,
    ResultRow,
    with_corrections,
)

PRODUCTS = 20
IMAGES = 6
PRODUCTS_PER_READ = 500

OF_IMAGE = (
    ItemRow.id,
    ItemRow.key,
    ItemRow.uri,
    ItemRow.product_key,
    ItemRow.product_hash,
    CorrectionRow.author,
    CorrectionRow.label,
)
IN_PART = CorrectionRow.id.is_(None) | (CorrectionRow.verdict != "not_product")


@dataclass(frozen=True, slots=True)
class ProductImage:
    """An image of a product. disagrees: with the others. label, confidence: the model's answer.

    said: its current correction, which has priority over the model's answer.
    """

    item_id: int
    key: str
    uri: str
    label: str | None
    confidence: float | None
    disagrees: bool
    said: CorrectionRef | None = None


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A product with images that disagree, those first. label, confidence: of the product. images_in_all: it has.

    said: the correction of the product, which has priority over the model's answer.
    """

    source: str
    product_key: str
    label: str | None
    confidence: float | None
    images_in_all: int
    images: tuple[ProductImage, ...]
    said: CorrectionRef | None = None


def disagreements(answers: AnswerQueries) -> tuple[int, list[Disagreement]]:
    """Return how many products have images that disagree, and the first of them.

    Of one run, the products' answers are computed from its own results.
    """
    total, found = 0, list[Disagreement]()
    for origin in answers.origins:
        left = PRODUCTS - len(found)
        if isinstance(answers, CurrentAnswers):
            count, some = answers.database.fetch(_disagreeing_now, answers, origin, left)
        else:
            count, some = _found(answers, origin, left)
        total += count
        found += some
    return total, found


def _disagreeing_now(
    connection: Connection, answers: AnswerQueries, origin: Origin, count: int
) -> tuple[int, list[Disagreement]]:
    """Return the current disagreements: as marked with the answers, or with corrections of the products."""
    # Marks stay where an image has failed since.
    images = with_corrections(answers.results(ItemRow.product_hash)).where(
        ItemRow.source_id == origin.id, ResultRow.status == "ok"
    )
    marked = images.outerjoin(CurrentProductCorrectionRow, _of_product()).where(
        CurrentProductCorrectionRow.label.is_(None),
        CurrentRow.disagrees == true(),
        ItemRow.product_hash.is_not(None),
        IN_PART,
    )
    # Looked up by index: few of many products are corrected.
    named = select(CurrentProductCorrectionRow.product_hash).where(CurrentProductCorrectionRow.source_id == origin.id)
    said = images.join(CurrentProductCorrectionRow, _of_product()).where(
        ItemRow.product_hash.in_(named), _disagrees() == 1
    )
    products = union_all(marked.distinct(), said.distinct()).subquery("products")
    total = connection.scalar(select(func.count()).select_from(products)) or 0
    first = select(products.c.product_hash).order_by(products.c.product_hash).limit(count)
    hashes = connection.scalars(first).all() if total else []
    products_found = (_product(connection, answers, origin, str(product)) for product in hashes)
    return total, [each for each in products_found if each is not None]


def _of_product() -> ColumnElement[bool]:
    return and_(
        CurrentProductCorrectionRow.source_id == ItemRow.source_id,
        CurrentProductCorrectionRow.product_hash == ItemRow.product_hash,
    )


def _disagrees() -> ColumnElement[int]:
    """Return 1 for an image that disagrees with the current answer of its product, else 0."""
    supports = [
        and_(
            getattr(ResultRow, f"label_{rank}") == CurrentProductCorrectionRow.label,
            getattr(ResultRow, f"confidence_{rank}") >= DISAGREEMENT,
        )
        for rank in range(1, TOP_K + 1)
    ]
    return case(
        (CorrectionRow.verdict == "not_product", 0),
        (CurrentProductCorrectionRow.label.is_(None), case((CurrentRow.disagrees == true(), 1), else_=0)),
        (CorrectionRow.label == CurrentProductCorrectionRow.label, 0),
        (CorrectionRow.label.is_not(None), 1),
        (or_(*supports), 0),
        else_=1,
    )


def _product(connection: Connection, answers: AnswerQueries, origin: Origin, product: str) -> Disagreement | None:
    """Return a product that disagrees; None if a run has taken its images away since it was found."""
    mine = (ProductCurrentRow.source_id == origin.id) & (ProductCurrentRow.weights_id == origin.weights_id)
    query = select(ProductResultRow.label_1, ProductResultRow.confidence_1, ProductResultRow.images).join(
        ProductCurrentRow, ProductCurrentRow.result_id == ProductResultRow.id
    )
    answer = connection.execute(query.where(mine, ProductCurrentRow.product_hash == product)).one_or_none()
    disagrees = _disagrees().label("disagrees")
    columns = (*OF_IMAGE, ResultRow.label_1, ResultRow.confidence_1, disagrees)
    said = (
        CurrentProductCorrectionRow.author.label("said_by"),
        CurrentProductCorrectionRow.label.label("said_label"),
    )
    images = with_corrections(answers.results(*columns, *said)).outerjoin(CurrentProductCorrectionRow, _of_product())
    images = images.where(ItemRow.source_id == origin.id, ItemRow.product_hash == product, ResultRow.status == "ok")
    rows = connection.execute(images.order_by(disagrees.desc(), ItemRow.id).limit(IMAGES)).all()
    if not rows:
        return None
    return Disagreement(
        source=origin.name,
        product_key=str(rows[0].product_key),
        label=answer and answer.label_1,
        confidence=answer and answer.confidence_1,
        images_in_all=max(len(rows), answer.images if answer else 0),
        images=tuple(_image(row, disagrees=bool(row.disagrees)) for row in rows),
        said=CorrectionRef(rows[0].said_by, rows[0].said_label) if rows[0].said_by else None,
    )


def _found(answers: AnswerQueries, origin: Origin, count: int) -> tuple[int, list[Disagreement]]:
    """Return the disagreements within the results of a run, by aggregating its products again."""
    model = source_model(answers.database, origin.id, origin.weights_id)
    total, first = 0, list[Disagreement]()
    for page in value_pages(answers.database, _candidates(answers, origin), ItemRow.product_hash, PRODUCTS_PER_READ):
        found = answers.database.rows(_found_of(answers, origin, page))
        for _, images in groupby(found, key=lambda row: row.product_hash):
            rows = list(images)
            answer = combine([answer_of(row) for row in rows], model.labels_of(rows[0].department))
            if answer.disagreeing:
                total += 1
                if len(first) < count:
                    first.append(_product_found(origin, rows, answer))
    return total, first


def _candidates(answers: AnswerQueries, origin: Origin) -> Select[Any]:
    """Select the products whose images may disagree: they have other best labels."""
    differ = func.min(ResultRow.label_1) != func.max(ResultRow.label_1)
    images = _good(answers, origin, ItemRow.product_hash).where(ItemRow.product_hash.is_not(None))
    return images.group_by(ItemRow.product_hash).having(differ)


def _found_of(answers: AnswerQueries, origin: Origin, products: Sequence[str]) -> Select[Any]:
    columns = [getattr(ResultRow, name) for name in ANSWER]
    images = _good(answers, origin, *OF_IMAGE, ItemRow.department, *columns)
    images = images.where(ItemRow.product_hash.in_(products))
    return images.order_by(ItemRow.product_hash, ItemRow.id)


def _good(answers: AnswerQueries, origin: Origin, *columns: Any) -> Select[Any]:
    """Select from the images that are not ignored."""
    return with_corrections(answers.results(*columns)).where(
        ItemRow.source_id == origin.id, ResultRow.status == "ok", IN_PART
    )


def _product_found(origin: Origin, rows: Sequence[AnyRow], answer: ProductAnswer) -> Disagreement:
    marked = [(position in answer.disagreeing, row) for position, row in enumerate(rows)]
    ordered = sorted(marked, key=lambda pair: not pair[0])[:IMAGES]
    return Disagreement(
        source=origin.name,
        product_key=str(rows[0].product_key),
        label=answer.answer.labels[0],
        confidence=answer.answer.confidences[0],
        images_in_all=len(rows),
        images=tuple(_image(row, disagrees=disagrees) for disagrees, row in ordered),
    )


def _image(row: AnyRow, *, disagrees: bool) -> ProductImage:
    said = None if row.author is None else CorrectionRef(row.author, row.label)
    return ProductImage(row.id, row.key, row.uri, row.label_1, row.confidence_1, disagrees, said)
