"""The data of an image that can be reviewed: as SQL columns, and as JSON for the page."""

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, func, not_, or_, select

from cataloger.contracts import TOP_K
from cataloger.corrections import CorrectionInput
from cataloger.db import AnyRow, Database
from cataloger.review_queue.filters import Filters
from cataloger.reviewers import SecondAnswers
from cataloger.schema import (
    IS_UNCHANGED,
    SEEN,
    CorrectionRow,
    CurrentRow,
    ItemRow,
    ResultRow,
    SourceRow,
    key_hash,
    select_current,
    with_corrections,
    with_seen,
)
from cataloger.utils import same_person, shown_key

LARGEST_ID = 2**53

ITEM_COLUMNS = (ItemRow.id, ItemRow.key, ItemRow.product_key, ItemRow.source_id, SourceRow.name.label("source"))
ANSWER_COLUMNS = tuple(
    getattr(ResultRow, f"{name}_{n}") for name in ("label", "confidence") for n in range(1, TOP_K + 1)
)
RESULT_COLUMNS = (
    ResultRow.id.label("result_id"),
    ResultRow.run_id,
    ResultRow.decision,
    CurrentRow.disagrees,
    *ANSWER_COLUMNS,
)
CORRECTION_COLUMNS = (
    *(CorrectionRow.id.label("correction_id"), CorrectionRow.verdict, CorrectionRow.label.label("corrected_label")),
    *(CorrectionRow.author, CorrectionRow.corrected_at, CorrectionRow.result_id.label("seen_id")),
)
IS_OUTDATED = ~IS_UNCHANGED  # the image must be reviewed again
IS_REVIEWED = and_(CorrectionRow.id.is_not(None), IS_UNCHANGED)
IS_OPEN = not_(IS_REVIEWED)
IS_NAMED = and_(IS_REVIEWED, CorrectionRow.verdict == "label")
IS_AGREED = and_(IS_NAMED, CorrectionRow.label == func.coalesce(SEEN.label_1, ResultRow.label_1))
OPEN, REVIEWED, NAMED, AGREED = range(4)
"""Review state of an image; each one includes those before it."""
STATE = case((IS_AGREED, AGREED), (IS_NAMED, NAMED), (IS_REVIEWED, REVIEWED), else_=OPEN).label("state")


def read_rows(database: Database, filters: Filters, item_ids: Sequence[int]) -> list[dict[str, Any]]:
    """Read images as plain JSON values, in the order given; those that no longer pass the filters are left out."""
    outdated = case((IS_OUTDATED, 1), else_=0).label("outdated")
    query = shown(*ITEM_COLUMNS, *RESULT_COLUMNS, *CORRECTION_COLUMNS, outdated)
    state = {"no": [IS_OPEN], "yes": [IS_REVIEWED], "any": []}[filters.reviewed]
    query = query.where(ItemRow.id.in_(item_ids), *_conditions(filters), *state)
    with database.read() as connection:
        found = {row.id: row for row in connection.execute(query)}
    return [_as_json(found[item]) for item in item_ids if item in found]


def corrections_in(rows: Sequence[dict[str, Any]]) -> dict[int, dict[str, Any] | None]:
    """Return item -> its current correction in rows as `read_rows` returns them, None for none."""
    return {row["item"]: row["word"] for row in rows}


def hide_first_answers(rows: Sequence[dict[str, Any]], answers: SecondAnswers, author: str) -> None:
    """Take from rows what others have answered and this person is to answer a second time, or has answered so."""
    foreign = {row["item"]: row for row in rows if _is_foreign(row, author)}
    products = {item: None if row["product"] is None else key_hash(row["product"]) for item, row in foreign.items()}
    for item, second in answers.among(products).items():
        row = foreign[item]
        if second is None:
            row["word"] = None
        elif same_person(second.author, author) and second.correction_id == row["word"]["id"]:
            answer = {"verdict": second.verdict, "label": second.label, "by": author, "result": row["result"]}
            row["word"] = {"id": None, **answer, "outdated": False, "second": True}


def _is_foreign(row: dict[str, Any], author: str) -> bool:
    word = row["word"]
    return word is not None and not word["outdated"] and not same_person(word["by"], author)


def is_open(row: dict[str, Any]) -> bool:
    """True for an image without a correction, or one that has changed since."""
    return row["word"] is None or row["word"]["outdated"]


def find_shown(database: Database, item_id: int) -> AnyRow | None:
    """Return the row of one image that may be shown, with the columns of the queue; None if there is none."""
    if item_id > LARGEST_ID:  # no engine has a number for it
        return None
    query = shown(*ITEM_COLUMNS, *RESULT_COLUMNS, ResultRow.content_hash, SourceRow.weights_id).where(
        ItemRow.id == item_id
    )
    with database.read() as connection:
        return connection.execute(query).one_or_none()


def pictures_of(database: Database, rows: Sequence[dict[str, Any]]) -> dict[int, str | None]:
    """Return result -> hash of the bytes that it is about, of rows as `read_rows` returns them."""
    query = select(ResultRow.id, ResultRow.content_hash).where(ResultRow.id.in_([row["result"] for row in rows]))
    with database.read() as connection:
        return {row.id: row.content_hash for row in connection.execute(query)}


def source_of(database: Database, item_ids: list[int]) -> dict[int, int]:
    """Return item -> source of those items that exist."""
    with database.read() as connection:
        rows = connection.execute(select(ItemRow.id, ItemRow.source_id).where(ItemRow.id.in_(item_ids)))
        return {row.id: row.source_id for row in rows}


def results_of(database: Database, corrections: Sequence[CorrectionInput]) -> dict[int, int]:
    """Return item -> the result that its correction names, of results that exist and belong to their item."""
    wanted = {each.item_id: each.result_id for each in corrections}
    query = select(ResultRow.id, ResultRow.item_id).where(
        ResultRow.id.in_([n for n in wanted.values() if n is not None])
    )
    with database.read() as connection:
        return {row.item_id: row.id for row in connection.execute(query) if wanted.get(row.item_id) == row.id}


def sources(database: Database) -> dict[int, str]:
    """Return the sources that have been tagged: id -> name."""
    query = (
        select(SourceRow.id, SourceRow.name)
        .where(SourceRow.weights_id.is_not(None))
        .order_by(SourceRow.name, SourceRow.id)
    )
    with database.read() as connection:
        return {row.id: row.name for row in connection.execute(query)}


def shown(*columns: Any) -> Select[Any]:
    """Select from the present images that have an answer of the model that their source is pinned to."""
    return with_seen(with_corrections(select_current(*columns))).where(ResultRow.status == "ok")


def _conditions(filters: Filters) -> list[ColumnElement[bool]]:
    """Return the conditions of all filters but `reviewed`."""
    wanted: dict[str, Callable[[Any], ColumnElement[bool]]] = {
        "below": lambda value: ResultRow.confidence_1 < value,
        "decision": lambda value: ResultRow.decision == value,
        "category": lambda value: or_(ResultRow.label_1 == value, CorrectionRow.label == value),
        "run": lambda value: ResultRow.run_id == value,
        "product": lambda value: ItemRow.product_key == value,
        "image": lambda value: ItemRow.id == value,
        "source": lambda value: or_(SourceRow.name == value, SourceRow.root == value),
    }
    values = {name: getattr(filters, name) for name in wanted}
    return [wanted[name](value) for name, value in values.items() if value not in (None, "")]


def answers_of(row: AnyRow) -> list[list[Any]]:
    """Return the labels of a result with their confidences, best first."""
    labels = [getattr(row, f"label_{rank}") for rank in range(1, TOP_K + 1)]
    confidences = [getattr(row, f"confidence_{rank}") for rank in range(1, TOP_K + 1)]
    return [[label, share] for label, share in zip(labels, confidences, strict=True) if label is not None]


def _as_json(row: AnyRow) -> dict[str, Any]:
    return {
        "item": row.id,
        "result": row.result_id,
        "run": row.run_id,
        "source": row.source_id,
        "source_name": row.source,
        "key": row.key,
        "key_text": shown_key(row.key),
        "product": row.product_key,
        "product_text": row.product_key and shown_key(row.product_key),
        "decision": row.decision,
        "disagrees": bool(row.disagrees),
        "answers": answers_of(row),
        "word": _correction(row),
    }


def _correction(row: AnyRow) -> dict[str, Any] | None:
    if row.correction_id is None:
        return None
    return {
        "id": row.correction_id,
        "verdict": row.verdict,
        "label": row.corrected_label,
        "by": row.author,
        "at": row.corrected_at.isoformat(timespec="minutes"),
        "result": row.seen_id,
        "outdated": bool(row.outdated),
    }
