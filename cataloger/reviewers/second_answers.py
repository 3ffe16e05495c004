"""Second answers: about a sample, somebody who has not seen what the first person answered answers, too.

They are kept beside the corrections and change nothing that is current. What one person has answered twice, under two
spellings of a name, as earlier versions recorded it, counts as answered once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, delete, func, select

from cataloger.contracts import MAX_LABEL_LENGTH
from cataloger.corrections import CorrectionInput
from cataloger.db import AnyRow, Database, sanitize_text, slices, upsert_rows, utc_now
from cataloger.ledger import lock_leases
from cataloger.reviewers.sample import ReviewSample
from cataloger.schema import CorrectionRow, CurrentCorrectionRow, ItemRow, SecondAnswerRow
from cataloger.utils import same_person

AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class SecondAnswer:
    """What a second person has answered. correction_id: the first answer. label: None for `not_product`."""

    item_id: int
    correction_id: int
    verdict: str
    label: str | None
    author: str


class SecondAnswers:
    """The second answers about the sample of a catalog. Safe to use from several threads."""

    def __init__(self, database: Database, sample: ReviewSample) -> None:
        self.database = database
        self.sample = sample

    def record(self, answers: Sequence[CorrectionInput], author: str) -> set[int]:
        """Record those that are second answers; return their items. The others are corrections.

        A second answer names no correction that its author saw, while somebody else's is current of an image of the
        sample, and nobody else has answered a second time. Its author may change and withdraw it.
        """
        blind = [answer for answer in answers if answer.expected is None]
        if not self.sample.share or not blind:
            return set()
        return self.database.write(_record, self.sample, blind, sanitize_text(author)[:MAX_LABEL_LENGTH])

    def among(self, hashes: dict[int, str | None]) -> dict[int, SecondAnswer | None]:
        """Return the images of the sample with their second answers. hashes: as in `ReviewSample.among`."""
        items = self.sample.among(hashes)
        if not items:
            return {}
        found = self.database.fetch(_of, sorted(items))
        return {item: found.get(item) for item in items}


def read_answered(connection: Connection, known: tuple[Any, ...] = ()) -> tuple[tuple[Any, ...], list[int]] | None:
    """Return a stamp that changes with every answer, and the images that have a second answer, by rising id.

    known: a stamp; None is returned while it holds.
    """
    stamp = select(func.count(), func.max(SecondAnswerRow.answered_at)).select_from(SecondAnswerRow)
    now = tuple(connection.execute(stamp).one())
    if now == known:
        return None
    rows = connection.execute(_with_first(SecondAnswerRow.item_id, SecondAnswerRow.author))
    items = sorted(row.item_id for row in rows if not same_person(row.author, row.first_author))
    return now, items


def _with_first(*columns: Any) -> Select[Any]:
    """Select from second answers, with the author of the first one."""
    query = select(*columns, CorrectionRow.author.label("first_author")).select_from(SecondAnswerRow)
    return query.join(CorrectionRow, CorrectionRow.id == SecondAnswerRow.correction_id)


def _of(connection: Connection, items: Sequence[int]) -> dict[int, SecondAnswer]:
    answer = (SecondAnswerRow.verdict, SecondAnswerRow.label, SecondAnswerRow.author)
    query = _with_first(SecondAnswerRow.item_id, SecondAnswerRow.correction_id, *answer)
    found: dict[int, SecondAnswer] = {}
    for some in slices(items, AT_ONCE):
        rows = connection.execute(query.where(SecondAnswerRow.item_id.in_(some)))
        by_two = [row for row in rows if not same_person(row.author, row.first_author)]
        found |= {row.item_id: SecondAnswer(*row[:-1]) for row in by_two}
    return found


def _record(
    connection: Connection, sample: ReviewSample, answers: Sequence[CorrectionInput], author: str
) -> set[int]:
    items = [answer.item_id for answer in answers]
    # As for corrections: whoever answers at the same time comes after this.
    lock_leases(connection, set(connection.scalars(select(ItemRow.source_id).where(ItemRow.id.in_(items)))))
    first, there = _first_answers(connection, sample, items), _of(connection, items)
    mine = [
        answer
        for answer in answers
        if (row := first.get(answer.item_id)) is not None
        and not same_person(row.author, author)
        and _is_next(answer, row.id, there.get(answer.item_id), author)
    ]
    now = utc_now(connection)
    rows = [
        {
            "item_id": answer.item_id,
            "correction_id": first[answer.item_id].id,
            "verdict": answer.verdict,
            "label": None if answer.label is None else sanitize_text(answer.label),
            "author": author,
            "answered_at": now,
        }
        for answer in mine
        if answer.verdict != "withdrawn"
    ]
    update = ("correction_id", "verdict", "label", "author", "answered_at")
    upsert_rows(connection, SecondAnswerRow, rows, keys=["item_id"], update=update)
    withdrawn = [answer.item_id for answer in mine if answer.verdict == "withdrawn"]
    if withdrawn:
        connection.execute(delete(SecondAnswerRow).where(SecondAnswerRow.item_id.in_(withdrawn)))
    return {answer.item_id for answer in mine}


def _is_next(answer: CorrectionInput, first_id: int, before: SecondAnswer | None, author: str) -> bool:
    """True if nobody else has answered this a second time, and there is something to record or to withdraw."""
    if before is None:
        return answer.verdict != "withdrawn"
    return before.correction_id == first_id and same_person(before.author, author)


def _first_answers(connection: Connection, sample: ReviewSample, items: Sequence[int]) -> dict[int, AnyRow]:
    """Return the current corrections of those images that belong to the sample."""
    query = (
        select(CorrectionRow.item_id, CorrectionRow.id, CorrectionRow.author, ItemRow.product_hash)
        .join(CurrentCorrectionRow, CurrentCorrectionRow.correction_id == CorrectionRow.id)
        .join(ItemRow, ItemRow.id == CorrectionRow.item_id)
        .where(CurrentCorrectionRow.item_id.in_(items))
    )
    rows = {row.item_id: row for row in connection.execute(query)}
    belonging = sample.among({row.item_id: row.product_hash for row in rows.values()})
    return {item: row for item, row in rows.items() if item in belonging}
