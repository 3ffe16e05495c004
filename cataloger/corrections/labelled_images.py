"""Labelled images of a source as scores that the ledger stores, of a catalog of any size.

A category is a label of the model, or one that the shop's label map translates: a code, a name, or the code of a
category above, which means all labels below it. Then several labels are right. Results are read page by page, and
of more than MOST images with a label whole products are drawn, the same ones every time.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from sqlalchemy import Select, func, select

from cataloger.adaptation import LabelledScores
from cataloger.db import AnyRow, Database, row_pages
from cataloger.errors import TrainingError
from cataloger.inference import STORED, Scores
from cataloger.ledger import LabelCode, known_model, load_label_map
from cataloger.records import Floats
from cataloger.schema import (
    IS_UNCHANGED,
    CorrectionRow,
    CurrentRow,
    ItemRow,
    ResultRow,
    paged_source_id,
    with_corrections,
    with_seen,
)
from cataloger.utils import clean_label, find_label

MOST = 20_000
"""Images; up to twice as many are kept."""
ROWS_PER_READ = 2000
DRAWN_DIGITS = 8

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SourceScores:
    """A source and what its scores are of. labels: of the model. codes: of the shop."""

    database: Database
    source_id: int
    weights_id: str
    labels: tuple[str, ...]
    codes: Sequence[LabelCode]

    @classmethod
    def of(cls, database: Database, source: AnyRow) -> "SourceScores":
        """Look up what is recorded of a tagged source. source: its row."""
        labels = known_model(database, source.weights_id).labels
        return cls(database, source.id, source.weights_id, labels, load_label_map(database, source.id))

    def count(self) -> int:
        """Count the current good results that have all scores."""
        return int(self.database.scalar(self._select(func.count())) or 0)

    def select(self) -> Select[Any]:
        """Return a query of these, with the corrections of their images."""
        columns: tuple[Any, ...] = (
            ItemRow.id, ItemRow.key, ItemRow.uri, ItemRow.product_key, ItemRow.product_hash, ItemRow.key_hash,
            ResultRow.scores, ResultRow.familiarity, ResultRow.decision, ResultRow.label_1,
            ResultRow.confidence_1, ResultRow.confidence_2,
            CorrectionRow.label, CorrectionRow.verdict, IS_UNCHANGED.label("is_unchanged"),
        )  # fmt: skip
        return self._select(*columns)

    def _select(self, *columns: Any) -> Select[Any]:
        size = len(self.labels) * STORED.itemsize
        good = of_good_results(select(*columns), self.database, self.source_id, self.weights_id)
        return good.where(func.coalesce(func.length(ResultRow.scores), 0) == size)

    def pages(self, *, only_corrected: bool = False) -> Iterator[AnyRow]:
        """Yield the rows of `select`. only_corrected: those of images that people have corrected."""
        query = with_seen(with_corrections(self.select(), only=only_corrected))
        for page in row_pages(self.database, query, ItemRow.id, ROWS_PER_READ):
            yield from page


@dataclass(frozen=True, slots=True)
class AnswerNow:
    """How an image is answered. margin: of confidence, between the best and the second."""

    label: str
    decision: str | None
    margin: float


@dataclass(frozen=True, slots=True)
class ShopLabels:
    """What was found. answers: of the images as they are now. unknown: categories that are no label and no code, with
    the number of their images. no_product: of images that people have marked as showing no product."""

    labelled: LabelledScores
    answers: Sequence[AnswerNow]
    unknown: Counter[str]
    no_product: Scores


class Drawn(Generic[T]):
    """Keeps values of whole groups, `most` to twice as many: those whose hash is below a limit that falls."""

    def __init__(self, most: int = MOST) -> None:
        self._most, self._limit = most, 16**DRAWN_DIGITS
        self._kept: list[tuple[int, T]] = []

    def add(self, group: str, value: T) -> None:
        """Keep a value or leave it. group: a hash, hexadecimal."""
        number = int(group[:DRAWN_DIGITS], 16)
        if number >= self._limit:
            return
        self._kept.append((number, value))
        while len(self._kept) > 2 * self._most:
            fewer = [each for each in self._kept if each[0] < self._limit // 2]
            if not fewer:
                return
            self._limit, self._kept = self._limit // 2, fewer

    @property
    def values(self) -> list[T]:
        """Those that were kept, as they came."""
        return [value for _, value in self._kept]


def of_good_results(query: Select[Any], database: Database, source_id: int, weights_id: str) -> Select[Any]:
    """Let a query read the current results, by these weights, of images that are there and have a category."""
    return (
        query.select_from(ItemRow)
        .join(CurrentRow, (CurrentRow.item_id == ItemRow.id) & (CurrentRow.weights_id == weights_id))
        .join(ResultRow, ResultRow.id == CurrentRow.result_id)
        .where(paged_source_id(database) == source_id, ItemRow.gone_run_id.is_(None), ResultRow.status == "ok")
    )


def corrected_label(row: AnyRow) -> str | None:
    """Return what people have said of an image that has not changed since; None where nobody has."""
    return row.label if row.verdict == "label" and row.is_unchanged else None


def group_of(row: AnyRow) -> str:
    """Return the hash that images of one product have in common."""
    return str(row.product_hash or row.key_hash)


def read_labelled(
    source: SourceScores, written: Callable[[AnyRow], str | None], *, only_corrected: bool = False
) -> ShopLabels:
    """Join stored scores with categories. written: row of `SourceScores.select` -> its category, None for none.

    Raises TrainingError where no image has one.
    """
    meanings, unknown = Meanings(source.labels, source.codes), Counter[str]()
    drawn, others = Drawn[tuple[AnyRow, set[int]]](), Drawn[AnyRow]()
    for row in source.pages(only_corrected=only_corrected):
        if row.verdict == "not_product" and row.is_unchanged:
            others.add(group_of(row), row)
            continue
        category = written(row)
        if category is None:
            continue
        if right := meanings.of(category):
            drawn.add(group_of(row), (row, right))
        else:
            unknown[category] += 1
    if not drawn.values:
        some = f"; unknown categories: {', '.join(map(repr, list(unknown)[:5]))}" if unknown else ""
        raise TrainingError(f"none of {source.count():,} tagged images has a label{some}")
    rows = [row for row, _ in drawn.values]
    accepted = np.zeros((len(rows), len(source.labels)), np.bool_)
    for number, (_, right) in enumerate(drawn.values):
        accepted[number, list(right)] = True
    _, groups = np.unique([group_of(row) for row in rows], return_inverse=True)
    known = _stored(rows, source)
    labelled = LabelledScores(source.labels, known.logits, accepted, groups.astype(np.int64), known.familiarity)
    return ShopLabels(labelled, [_answer(row) for row in rows], unknown, _stored(others.values, source))


def read_some_scores(source: SourceScores) -> Floats:
    """Return scores of images, labelled or not: float32 N x labels, N up to twice MOST."""
    drawn = Drawn[AnyRow]()
    for row in source.pages():
        drawn.add(group_of(row), row)
    return _stored(drawn.values, source).logits


def _stored(rows: Sequence[AnyRow], source: SourceScores) -> Scores:
    """Return what is stored of the images of rows, none too."""
    known = [row.familiarity for row in rows]
    logits = scores_of(rows) if rows else np.zeros((0, len(source.labels)), STORED)
    return Scores(logits, None if None in known else np.array(known, np.float64))


def scores_of(rows: Sequence[AnyRow]) -> Floats:
    """Return the stored scores of rows. float32 N x labels."""
    return np.stack([np.frombuffer(row.scores, STORED) for row in rows])


def _answer(row: AnyRow) -> AnswerNow:
    return AnswerNow(row.label_1, row.decision, row.confidence_1 - (row.confidence_2 or 0.0))


class Meanings:
    """What categories of the shop mean: positions of labels."""

    def __init__(self, labels: Sequence[str], codes: Sequence[LabelCode]) -> None:
        self._labels = labels
        self._known: dict[str, set[int]] = {}
        self._codes: dict[str, set[int]] = defaultdict(set)
        positions = {label: position for position, label in enumerate(labels)}
        for each in codes:
            for name in filter(None, (each.code, each.name, each.parent)):
                if each.label in positions:
                    self._codes[clean_label(name).casefold()].add(positions[each.label])

    def of(self, category: str) -> set[int]:
        """Return the positions of the labels that are right; several are separated by |."""
        if category not in self._known:
            self._known[category] = {position for part in category.split("|") for position in self._of(part)}
        return self._known[category]

    def _of(self, name: str) -> set[int]:
        label = find_label(name, self._labels)
        if label is not None:
            return {self._labels.index(label)}
        return self._codes.get(clean_label(name).casefold(), set())
