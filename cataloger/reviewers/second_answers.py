"""Second answers: about a sample, somebody who has not seen what the first person answered answers, too.

They are kept beside the corrections and change nothing that is current.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, func, select

from cataloger.contracts import MAX_LABEL_LENGTH
from cataloger.corrections import CorrectionInput
from cataloger.db import AnyRow, Database, sanitize_text, slices, upsert_rows, utc_now
from cataloger.ledger import lock_leases
from cataloger.reviewers.sample import ReviewSample
from cataloger.schema import CorrectionRow, CurrentCorrectionRow, ItemRow, SecondAnswerRow

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


def read_answered(connection: Connection) -> tuple[tuple[Any, ...], list[int]]:
    """Return a stamp that changes with every answer, and the images that have a second answer, by rising id."""
    stamp = select(func.count(), func.max(SecondAnswerRow.answered_at)).select_from(SecondAnswerRow)
    items = select(SecondAnswerRow.item_id).order_by(SecondAnswerRow.item_id)
    return tuple(connection.execute(stamp).one()), list(connection.scalars(items))


def _of(connection: Connection, items: Sequence[int]) -> dict[int, SecondAnswer]:
    columns = (SecondAnswerRow.item_id, SecondAnswerRow.correction_id, SecondAnswerRow.verdict, SecondAnswerRow.label)
    found: dict[int, SecondAnswer] = {}
    for some in slices(items, AT_ONCE):
        query = select(*columns, SecondAnswerRow.author).where(SecondAnswerRow.item_id.in_(some))
        found |= {row.item_id: SecondAnswer(*row) for row in connection.execute(query)}
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
        and row.author != author
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
    update = ("correction_id", "verdict", "label", "answered_at")
    upsert_rows(connection, SecondAnswerRow, rows, keys=["item_id"], update=update)
    withdrawn = [answer.item_id for answer in mine if answer.verdict == "withdrawn"]
    if withdrawn:
        is_mine = SecondAnswerRow.item_id.in_(withdrawn) & (SecondAnswerRow.author == author)
        connection.execute(delete(SecondAnswerRow).where(is_mine))
    return {answer.item_id for answer in mine}


def _is_next(answer: CorrectionInput, first_id: int, before: SecondAnswer | None, author: str) -> bool:
    """True if nobody else has answered this a second time, and there is something to record or to withdraw."""
    if before is None:
        return answer.verdict != "withdrawn"
    return (before.author, before.correction_id) == (author, first_id)


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
