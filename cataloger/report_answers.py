"""What a report asks the database: the answers that hold now, or those of one run, counted and sampled there.

Every query goes over the answers at most once and returns few rows, so that a million images cost time, not memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Subquery, and_, case, func, literal_column, null, or_, select

from cataloger.db.database import Database
from cataloger.db.models import TOP_K, Current, Item, Result
from cataloger.db.models import Source as SourceRow
from cataloger.db.views import IMAGE_COLUMNS, IMAGE_TOP5
from cataloger.ledger import digest

BINS = 20
"""Of the histogram of confidences, from 0 to 1."""
OF_ITEM = ("key", "uri", "product_key")
LOOKED_UP = 500

AnyRow = Row[*tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Origin:
    """A source, and the model whose answers are meant. weights_id: of the model; model: its name and version."""

    id: int
    kind: str
    name: str
    weights_id: str
    model: str


@dataclass(frozen=True, slots=True)
class Shown:
    """One image with its answer. answers: label and confidence, best first; empty where it failed.

    item_id, content_hash: None where the ledger does not know them any more.
    """

    source: str
    key: str
    uri: str
    product_key: str | None = None
    decision: str | None = None
    answers: tuple[tuple[str, float], ...] = ()
    error_code: str | None = None
    error_text: str | None = None
    item_id: int | None = None
    content_hash: str | None = None


class Answers:
    """The answers of some sources: those that hold now, or if `run_id` is given, those that this run found."""

    def __init__(self, database: Database, origins: Sequence[Origin], run_id: int | None = None) -> None:
        self.origins = tuple(origins)
        self.run_id = run_id
        self._database = database
        self._table = self._holding() if run_id is None else self._recorded(run_id)

    def _holding(self) -> Subquery:
        names = [origin.name for origin in self.origins]
        return select(IMAGE_TOP5).where(IMAGE_TOP5.c.source.in_(names)).subquery("answers")

    def _recorded(self, run_id: int) -> Subquery:
        columns = [_recorded_column(name).label(name) for name in IMAGE_COLUMNS]
        ids = [origin.id for origin in self.origins]
        joined = (
            select(*columns).join(Item, Item.id == Result.item_id).join(SourceRow, SourceRow.id == Item.source_id)
        )
        return joined.where(Result.run_id == run_id, Item.source_id.in_(ids)).subquery("answers")

    def overview(self) -> Sequence[AnyRow]:
        """Count the images by status, error_code, decision, label and bin of the confidence, from 0 to BINS - 1."""
        answers = self._table.c
        names = ("status", "error_code", "decision", "label_1")
        binned = select(*(answers[name] for name in names), _bin(answers.confidence_1).label("bin")).subquery(
            "binned"
        )
        columns = [*(binned.c[name] for name in names), binned.c.bin]
        return self._all(select(*columns, func.count().label("images")).group_by(*columns))

    def least_confident(self, count: int) -> list[Shown]:
        """Return the images whose best answer is the least confident, in this order."""
        answers = self._table.c
        query = select(self._table).where(answers.status == "ok", answers.label_1.is_not(None))
        ordered = query.order_by(answers.confidence_1, answers.key).limit(count)
        return self._shown(self._all(ordered))

    def at_places(self, places: dict[str, Sequence[int]]) -> dict[str, list[Shown]]:
        """Return the images at some places of each category, which is sorted by confidence, the least one first.

        places: for each label, counted from 1.
        """
        answers = self._table.c
        place = func.row_number().over(partition_by=answers.label_1, order_by=(answers.confidence_1, answers.key))
        ranked = select(self._table, place.label("place")).where(answers.status == "ok").subquery("ranked")
        wanted = [
            and_(ranked.c.label_1 == label, ranked.c.place.in_(numbers))
            for label, numbers in places.items()
            if numbers
        ]
        highest = max((max(numbers, default=0) for numbers in places.values()), default=0)
        query = (
            select(ranked).where(ranked.c.place <= highest, or_(*wanted)).order_by(ranked.c.label_1, ranked.c.place)
        )
        found: dict[str, list[Shown]] = {label: [] for label in places}
        for shown in self._shown(self._all(query) if wanted else []):
            found[shown.answers[0][0]].append(shown)
        return found

    def failures(self, count: int) -> list[Shown]:
        """Return so many images of each error code, in the order of code and key."""
        answers = self._table.c
        place = func.row_number().over(partition_by=answers.error_code, order_by=answers.key)
        ranked = select(self._table, place.label("place")).where(answers.status == "failed").subquery("ranked")
        query = select(ranked).where(ranked.c.place <= count).order_by(ranked.c.error_code, ranked.c.place)
        return self._shown(self._all(query))

    def named(self, names: Sequence[tuple[str, str]]) -> dict[tuple[str, str], int]:
        """Return the item ids of images by source and key."""
        found = self._details(names)
        return {name: row.id for name, row in found.items()}

    def _shown(self, rows: Sequence[AnyRow]) -> list[Shown]:
        details = self._details([(row.source, row.key) for row in rows])
        return [_with_details(shown_of(row), details.get((row.source, row.key))) for row in rows]

    def _details(self, names: Sequence[tuple[str, str]]) -> dict[tuple[str, str], AnyRow]:
        """Look images up by the hashes of their keys, which are indexed; keys themselves are not."""
        found: dict[tuple[str, str], AnyRow] = {}
        for origin in self.origins:
            keys = [key for source, key in names if source == origin.name]
            for start in range(0, len(keys), LOOKED_UP):
                rows = self._all(self._lookup(origin, keys[start : start + LOOKED_UP]))
                found |= {(origin.name, row.key): row for row in rows}
        return found

    def _lookup(self, origin: Origin, keys: Sequence[str]) -> Any:
        query = select(Item.id, Item.key, Result.content_hash, Result.error_text)
        if self.run_id is None:
            of_model = (Current.item_id == Item.id) & (Current.weights_id == origin.weights_id)
            query = query.join(Current, of_model).join(Result, Result.id == Current.result_id)
        else:
            query = query.join(Result, (Result.item_id == Item.id) & (Result.run_id == self.run_id))
        return query.where(Item.source_id == origin.id, Item.key_hash.in_(list(map(digest, keys))))

    def _all(self, query: Any) -> Sequence[AnyRow]:
        def read(connection: Connection) -> Sequence[AnyRow]:
            return connection.execute(query).all()

        return self._database.run(read, read_only=True)


def shown_of(row: AnyRow) -> Shown:
    """Return an image from a row with the columns of `cataloger_image_top5`."""
    pairs = [(getattr(row, f"label_{rank}"), getattr(row, f"confidence_{rank}")) for rank in range(1, TOP_K + 1)]
    answers = tuple((label, confidence) for label, confidence in pairs if label is not None)
    return Shown(row.source, row.key, row.uri, row.product_key, row.decision, answers, row.error_code)


def _with_details(shown: Shown, row: AnyRow | None) -> Shown:
    if row is None:
        return shown
    return replace(shown, item_id=row.id, content_hash=row.content_hash, error_text=row.error_text)


def _recorded_column(name: str) -> ColumnElement[Any]:
    """Return what stands in a column of the view, from the tables."""
    if name == "source":
        return SourceRow.name.expression
    if name in ("model", "corrected_by", "corrected_at"):  # what a run found itself is never a person's word
        return null()
    table: Any = Item if name in OF_ITEM else Result
    column: ColumnElement[Any] = getattr(table, name).expression
    return column


def _bin(confidence: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return the number of the bin of a confidence; engines do not agree on how a number becomes an integer."""
    # Literal numbers, since PostgreSQL takes two parameters for two expressions.
    edges: list[tuple[ColumnElement[bool], ColumnElement[Any]]] = [
        (confidence < literal_column(str((number + 1) / BINS)), literal_column(str(number)))
        for number in range(BINS - 1)
    ]
    return case((confidence.is_(None), null()), *edges, else_=literal_column(str(BINS - 1)))
