"""What the ledger holds of an image that may be reviewed, in SQL, and as the page gets it."""

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, func, not_, or_, select

from cataloger.contracts import TOP_K
from cataloger.corrections import Word
from cataloger.db.database import Database
from cataloger.db.held import IS_UNCHANGED, SEEN, held, with_seen, with_words
from cataloger.db.models import Correction, Item, Result, Source
from cataloger.db.types import AnyRow
from cataloger.review.filters import Filters

LARGEST_ID = 2**53

ITEM_COLUMNS = (Item.id, Item.key, Item.product_key, Item.source_id, Source.name.label("source"))
ANSWER_COLUMNS = tuple(
    getattr(Result, f"{name}_{n}") for name in ("label", "confidence") for n in range(1, TOP_K + 1)
)
RESULT_COLUMNS = (Result.id.label("result_id"), Result.run_id, Result.decision, *ANSWER_COLUMNS)
WORD_COLUMNS = (
    *(Correction.id.label("correction_id"), Correction.verdict, Correction.label.label("word")),
    *(Correction.author, Correction.corrected_at, Correction.result_id.label("seen_id")),
)
IS_OUTDATED = ~IS_UNCHANGED  # somebody should look again
IS_REVIEWED = and_(Correction.id.is_not(None), IS_UNCHANGED)
IS_OPEN = not_(IS_REVIEWED)
IS_NAMED = and_(IS_REVIEWED, Correction.verdict == "label")
IS_AGREED = and_(IS_NAMED, Correction.label == func.coalesce(SEEN.label_1, Result.label_1))
OPEN, REVIEWED, NAMED, AGREED = range(4)
"""How far an image is: each one counts as all before it, too."""
STATE = case((IS_AGREED, AGREED), (IS_NAMED, NAMED), (IS_REVIEWED, REVIEWED), else_=OPEN).label("state")


def read_rows(database: Database, filters: Filters, item_ids: Sequence[int]) -> list[dict[str, Any]]:
    """Read images as plain JSON values, in the order given; those that do not pass the filters now are left out."""
    outdated = case((IS_OUTDATED, 1), else_=0).label("outdated")
    query = shown(*ITEM_COLUMNS, *RESULT_COLUMNS, *WORD_COLUMNS, outdated)
    state = {"no": [IS_OPEN], "yes": [IS_REVIEWED], "any": []}[filters.reviewed]
    query = query.where(Item.id.in_(item_ids), *_conditions(filters), *state)
    with database.read() as connection:
        found = {row.id: row for row in connection.execute(query)}
    return [_as_json(found[item]) for item in item_ids if item in found]


def find_shown(database: Database, item_id: int) -> AnyRow | None:
    """Return the row of one image that may be shown, with the columns of the queue; None if there is no such one."""
    if item_id > LARGEST_ID:  # no engine has a number for it
        return None
    query = shown(*ITEM_COLUMNS, *RESULT_COLUMNS, Source.weights_id).where(Item.id == item_id)
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


def shown(*columns: Any) -> Select[Any]:
    """Select from the images that are there and have an answer of the model that their source is pinned to."""
    return with_seen(with_words(held(*columns))).where(Result.status == "ok")


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
