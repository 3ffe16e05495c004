"""How far two people agree who have answered about the same products, the second without seeing the first answer."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from cataloger.db import AnyRow, Database
from cataloger.schema import CorrectionRow, CurrentCorrectionRow, ItemRow, SecondAnswerRow
from cataloger.utils import UNKNOWN, Share, same_person, shown_key, wilson

Answer = tuple[str, str | None]
"""Verdict and label."""


@dataclass(frozen=True, slots=True)
class AnsweredTwice:
    """A product, or an image without one, that two people have answered. name: for people.

    first, second: what they called most of its images. images: (item, its current correction, the result that was
    seen first) of those that they called differently. disputed: what they called most of these; None where they do
    not differ, or somebody has corrected one of these images since.
    """

    name: str
    persons: tuple[str, str]
    first: Answer
    second: Answer
    images: tuple[tuple[int, int | None, int | None], ...]
    disputed: tuple[Answer, Answer] | None

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        answers = [
            {"author": person, "verdict": verdict, "label": label}
            for person, (verdict, label) in zip(self.persons, self.disputed or (self.first, self.second), strict=True)
        ]
        return {"name": self.name, "answers": answers, "images": [list(each) for each in self.images]}


@dataclass(frozen=True, slots=True)
class Agreement:
    """Products that two people have answered. same: with the same answer. open: disputed.

    kappa: Cohen's, of first and second answers to products: 1 where people always agree, 0 where they agree as often
    as by chance, and not a number where all answers are one. Its 95% interval is that of the share of equal answers,
    with chance as it was found.
    """

    products: int
    same: int
    open: int
    kappa: Share

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        counts = {"products": self.products, "same": self.same, "open": self.open}
        return {**counts, "kappa": self.kappa.as_json()}


def read_pairs(database: Database, source_id: int | None = None) -> list[AnsweredTwice]:
    """Return what two people have answered, by product; the answers that were answered last come first.

    What one person has answered under two spellings of a name is left out.
    """
    products: dict[tuple[int, str | int], list[AnyRow]] = defaultdict(list)
    for row in database.fetch(_read, source_id):
        products[row.source_id, row.product_hash or row.item_id].append(row)
    return [_pair(rows) for rows in products.values()]


def measure_agreement(pairs: Sequence[AnsweredTwice]) -> Agreement:
    """Measure how far people agree."""
    same = sum(pair.first == pair.second for pair in pairs)
    return Agreement(len(pairs), same, sum(pair.disputed is not None for pair in pairs), _kappa(pairs, same))


def _kappa(pairs: Sequence[AnsweredTwice], same: int) -> Share:
    count = len(pairs)
    first, second = Counter(pair.first for pair in pairs), Counter(pair.second for pair in pairs)
    by_chance = sum(number * second[answer] for answer, number in first.items()) / max(count, 1) ** 2
    if not count or by_chance == 1.0:
        return UNKNOWN
    share = wilson(same, count)
    return Share(*((each - by_chance) / (1 - by_chance) for each in (share.value, share.low, share.high)))


def _read(connection: Connection, source_id: int | None) -> list[AnyRow]:
    second = (SecondAnswerRow.verdict.label("second_verdict"), SecondAnswerRow.label.label("second_label"))
    query = (
        select(
            *(ItemRow.id.label("item_id"), ItemRow.source_id, ItemRow.product_hash, ItemRow.product_key, ItemRow.key),
            *(CorrectionRow.id, CorrectionRow.verdict, CorrectionRow.label, CorrectionRow.author),
            CorrectionRow.result_id,
            *(*second, SecondAnswerRow.author.label("second_author"), CurrentCorrectionRow.correction_id),
        )
        .join(SecondAnswerRow, SecondAnswerRow.item_id == ItemRow.id)
        .join(CorrectionRow, CorrectionRow.id == SecondAnswerRow.correction_id)
        .join(CurrentCorrectionRow, CurrentCorrectionRow.item_id == ItemRow.id, isouter=True)
        .order_by(SecondAnswerRow.answered_at.desc(), ItemRow.id)
    )
    mine = [] if source_id is None else [ItemRow.source_id == source_id]
    rows = connection.execute(query.where(*mine))
    return [row for row in rows if not same_person(row.author, row.second_author)]


def _pair(rows: Sequence[AnyRow]) -> AnsweredTwice:
    differing = [row for row in rows if (row.verdict, row.label) != (row.second_verdict, row.second_label)]
    first, second = _answers(rows)
    is_open = bool(differing) and all(row.correction_id == row.id for row in differing)
    return AnsweredTwice(
        shown_key(rows[0].product_key or rows[0].key),
        (rows[0].author, rows[0].second_author),
        first,
        second,
        tuple((row.item_id, row.correction_id, row.result_id) for row in differing),
        _answers(differing) if is_open else None,
    )


def _answers(rows: Sequence[AnyRow]) -> tuple[Answer, Answer]:
    first = _most([(row.verdict, row.label) for row in rows])
    return first, _most([(row.second_verdict, row.second_label) for row in rows])


def _most(answers: Sequence[Answer]) -> Answer:
    """Return the most frequent answer, of several the first."""
    return Counter(answers).most_common(1)[0][0]
