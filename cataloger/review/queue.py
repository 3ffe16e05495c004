"""The images to review, page by page, and how far the reviewers are."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, case, func, or_, select
from sqlalchemy.orm import aliased

from cataloger.corrections import Word
from cataloger.db.database import Database
from cataloger.db.models import TOP_K, Corrected, Correction, Current, Item, Result, Source
from cataloger.errors import UsageError
from cataloger.review.filters import Filters

PAGE = 60
LARGEST_ID = 2**53

AnyRow = Row[*tuple[Any, ...]]
SEEN = aliased(Result, name="seen")
"""The result that the person saw whose word holds."""
ITEM_COLUMNS = (Item.id, Item.key, Item.product_key, Item.source_id, Source.name.label("source"))
ANSWER_COLUMNS = tuple(
    getattr(Result, f"{name}_{n}") for name in ("label", "confidence") for n in range(1, TOP_K + 1)
)
RESULT_COLUMNS = (Result.id.label("result_id"), Result.run_id, Result.decision, *ANSWER_COLUMNS)
WORD_COLUMNS = (
    *(Correction.id.label("correction_id"), Correction.verdict, Correction.label.label("word")),
    *(Correction.author, Correction.corrected_at, Correction.result_id.label("seen_id")),
)
# The bytes have changed since, so that somebody should look again; null and false mean that the word fits.
IS_OUTDATED: ColumnElement[bool] = SEEN.content_hash != Result.content_hash
IS_OPEN = or_(Correction.id.is_(None), IS_OUTDATED)
IS_REVIEWED = and_(
    Correction.id.is_not(None), or_(SEEN.content_hash.is_(None), Result.content_hash.is_(None), ~IS_OUTDATED)
)
IS_NAMED = and_(IS_REVIEWED, Correction.verdict == "label")
IS_AGREED = and_(IS_NAMED, Correction.label == func.coalesce(SEEN.label_1, Result.label_1))

LEADING_KINDS: dict[str, list[tuple[type, ...]]] = {
    "confidence": [],
    "category": [(str,)],
    "product": [(str,)],
    "run": [(int,)],
}
"""Of the values that each order goes by, before the confidence and the item."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Of the images of a queue, however far: how many, how many reviewed, and how often people and model agree.

    named: reviewed, and a person named a category. agreed: it was the model's first.
    """

    images: int
    reviewed: int
    named: int
    agreed: int
    my_reviewed: int
    my_named: int
    my_agreed: int


def page(database: Database, filters: Filters, after: str | None = None) -> tuple[list[dict[str, Any]], str | None]:
    """Return the next images as plain JSON values, and what to pass as `after` to get those behind them.

    Raises UsageError for an `after` that is none.
    """
    keys = _sort_keys(filters.order)
    query = _matching(filters).add_columns(*keys).order_by(*keys).limit(PAGE)
    if after is not None:
        query = query.where(_is_behind(keys, _cursor(after, filters.order)))
    with database.read() as connection:
        rows = connection.execute(query).all()
    following = json.dumps(list(rows[-1][-len(keys) :])) if len(rows) == PAGE else None
    return [_as_json(row) for row in rows], following


def progress(database: Database, filters: Filters, author: str) -> Progress:
    """Count over all images of a queue, reviewed or not."""
    is_mine = Correction.author == author
    counted = (IS_REVIEWED, IS_NAMED, IS_AGREED)
    wanted = [*counted, *(and_(condition, is_mine) for condition in counted)]
    sums = [func.coalesce(func.sum(case((condition, 1), else_=0)), 0) for condition in wanted]
    query = _shown(func.count(), *sums).where(*_conditions(filters))
    with database.read() as connection:
        return Progress(*map(int, connection.execute(query).one()))


def find_shown(database: Database, item_id: int) -> AnyRow | None:
    """Return the row of one image that may be shown, with the columns of `page`; None if there is no such one."""
    if item_id > LARGEST_ID:  # no engine has a number for it
        return None
    query = _shown(*ITEM_COLUMNS, *RESULT_COLUMNS, Source.weights_id).where(Item.id == item_id)
    with database.read() as connection:
        return connection.execute(query).one_or_none()


def source_of(database: Database, item_ids: list[int]) -> dict[int, int]:
    """Return item -> source of those items that exist."""
    with database.read() as connection:
        rows = connection.execute(select(Item.id, Item.source_id).where(Item.id.in_(item_ids)))
        return {row.id: row.source_id for row in rows}


def results_of(database: Database, words: Sequence[Word]) -> dict[int, int]:
    """Return item -> the result that its word names, of those that are there and belong to their item."""
    wanted = {word.item_id: word.result_id for word in words}
    query = select(Result.id, Result.item_id).where(Result.id.in_([n for n in wanted.values() if n is not None]))
    with database.read() as connection:
        return {row.item_id: row.id for row in connection.execute(query) if wanted.get(row.item_id) == row.id}


def sources(database: Database) -> dict[int, str]:
    """Return the sources that have been tagged: id -> name."""
    query = select(Source.id, Source.name).where(Source.weights_id.is_not(None)).order_by(Source.name, Source.id)
    with database.read() as connection:
        return {row.id: row.name for row in connection.execute(query)}


def _shown(*columns: Any) -> Select[Any]:
    """Select from the images that are there and have an answer of the model that their source is pinned to."""
    return (
        select(*columns)
        .select_from(Item)
        .join(Source, Source.id == Item.source_id)
        .join(Current, and_(Current.item_id == Item.id, Current.weights_id == Source.weights_id))
        .join(Result, Result.id == Current.result_id)
        .outerjoin(Corrected, Corrected.item_id == Item.id)
        .outerjoin(Correction, Correction.id == Corrected.correction_id)
        .outerjoin(SEEN, SEEN.id == Correction.result_id)
        .where(Item.gone_run_id.is_(None), Result.status == "ok")
    )


def _matching(filters: Filters) -> Select[Any]:
    query = _shown(*ITEM_COLUMNS, *RESULT_COLUMNS, *WORD_COLUMNS, case((IS_OUTDATED, 1), else_=0).label("outdated"))
    state = {"no": [IS_OPEN], "yes": [IS_REVIEWED], "any": []}[filters.reviewed]
    return query.where(*_conditions(filters), *state)


def _conditions(filters: Filters) -> list[ColumnElement[bool]]:
    """Return the conditions of all filters but `reviewed`."""
    wanted: dict[str, Callable[[Any], ColumnElement[bool]]] = {
        "below": lambda value: Result.confidence_1 < value,
        "decision": lambda value: Result.decision == value,
        "category": lambda value: or_(Result.label_1 == value, Correction.label == value),
        "run": lambda value: Result.run_id == value,
        "product": lambda value: Item.product_key == value,
        "source": lambda value: or_(Source.name == value, Source.root == value),
    }
    values = {name: getattr(filters, name) for name in wanted}
    return [wanted[name](value) for name, value in values.items() if value not in (None, "")]


def _sort_keys(order: str) -> list[Any]:
    """Return the columns that images are ordered by, all rising; the last one tells any two apart."""
    before: dict[str, list[Any]] = {
        "confidence": [],
        "category": [Result.label_1],
        "product": [func.coalesce(Item.product_hash, "")],
        "run": [-Result.run_id],
    }
    return [column.label(f"key_{n}") for n, column in enumerate([*before[order], Result.confidence_1, Item.id])]


def _is_behind(keys: list[Any], values: list[Any]) -> ColumnElement[bool]:
    """Return the condition that a row comes behind one with these values."""
    columns = [key.element for key in keys]
    return or_(
        *(
            and_(
                *(equal == value for equal, value in zip(columns[:n], values[:n], strict=True)),
                columns[n] > values[n],
            )
            for n in range(len(columns))
        )
    )


def _cursor(after: str, order: str) -> list[Any]:
    kinds: list[tuple[type, ...]] = [*LEADING_KINDS[order], (int, float), (int,)]
    try:
        values = json.loads(after)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, list) or len(values) != len(kinds):
        raise UsageError("after: this is not the end of a page")
    is_known = all(type(value) in kind for kind, value in zip(kinds, values, strict=True))
    if not is_known or not all(abs(value) < LARGEST_ID for value in values if not isinstance(value, str)):
        raise UsageError("after: this is not the end of a page")
    return values


def _as_json(row: AnyRow) -> dict[str, Any]:
    labels = [getattr(row, f"label_{rank}") for rank in range(1, TOP_K + 1)]
    confidences = [getattr(row, f"confidence_{rank}") for rank in range(1, TOP_K + 1)]
    return {
        "item": row.id,
        "result": row.result_id,
        "run": row.run_id,
        "source": row.source_id,
        "source_name": row.source,
        "key": row.key,
        "product": row.product_key,
        "decision": row.decision,
        "answers": [[label, share] for label, share in zip(labels, confidences, strict=True) if label is not None],
        "word": _word(row),
    }


def _word(row: AnyRow) -> dict[str, Any] | None:
    if row.correction_id is None:
        return None
    return {
        "id": row.correction_id,
        "verdict": row.verdict,
        "label": row.word,
        "by": row.author,
        "at": row.corrected_at.isoformat(timespec="minutes"),
        "result": row.seen_id,
        "outdated": bool(row.outdated),
    }
