"""What each person has answered on each day."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from typing import Any

from sqlalchemy import Connection, Select, select

from cataloger.db import AnyRow, Database, utc_now
from cataloger.schema import CorrectionRow, ItemRow, ResultRow, SecondAnswerRow
from cataloger.utils import spelling_of_each

DAYS = 14


@dataclass(frozen=True, slots=True)
class DayOfPerson:
    """What a person answered on a day.

    products: an image without one counts as one. agreed: images whose first category by the model was chosen.
    """

    day: date
    person: str
    products: int
    images: int
    agreed: int

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        counts = {"products": self.products, "images": self.images, "agreed": self.agreed}
        return {"day": self.day.isoformat(), "author": self.person, **counts}


def read_activity(
    database: Database, source_id: int | None = None, zone: tzinfo | None = None, days: int = DAYS
) -> list[DayOfPerson]:
    """Return what people answered on the last days, the newest day first; what they took back is left out.

    Second answers count, too. source_id: None for all. zone: in which a day begins; None for that of this machine.
    """
    return _counted(database.fetch(_read, source_id, zone, days), zone)


def _read(connection: Connection, source_id: int | None, zone: tzinfo | None, days: int) -> list[AnyRow]:
    today = utc_now(connection).astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    begin = today - timedelta(days=days - 1)
    first = _select(CorrectionRow, CorrectionRow.corrected_at).where(CorrectionRow.corrected_at >= begin)
    second = _select(SecondAnswerRow, SecondAnswerRow.answered_at).where(SecondAnswerRow.answered_at >= begin)
    second = second.join(CorrectionRow, CorrectionRow.id == SecondAnswerRow.correction_id)
    queries = [_with_items(first, CorrectionRow.item_id).order_by(CorrectionRow.id)]
    queries.append(_with_items(second, SecondAnswerRow.item_id))
    mine = [] if source_id is None else [ItemRow.source_id == source_id]
    return [row for query in queries for row in connection.execute(query.where(*mine))]


def _select(table: Any, time: Any) -> Select[Any]:
    answer = (table.author, time.label("answered_at"), table.item_id, table.verdict, table.label)
    return select(*answer, ItemRow.source_id, ItemRow.product_hash, ResultRow.label_1).select_from(table)


def _with_items(query: Select[Any], item_id: Any) -> Select[Any]:
    query = query.join(ItemRow, ItemRow.id == item_id)
    return query.join(ResultRow, ResultRow.id == CorrectionRow.result_id, isouter=True)


def _counted(rows: Sequence[AnyRow], zone: tzinfo | None) -> list[DayOfPerson]:
    last: dict[tuple[date, str], dict[int, AnyRow]] = defaultdict(dict)
    shown_as = spelling_of_each(Counter(row.author for row in rows))
    for row in rows:
        last[_day(row.answered_at, zone), shown_as[row.author]][row.item_id] = row
    found = []
    for (day, person), answers in last.items():
        kept = [row for row in answers.values() if row.verdict != "withdrawn"]
        products = {(row.source_id, row.product_hash or row.item_id) for row in kept}
        agreed = sum(row.label is not None and row.label == row.label_1 for row in kept)
        found.append(DayOfPerson(day, person, len(products), len(kept), agreed))
    shown = [each for each in found if each.images]
    return sorted(shown, key=lambda each: (-each.day.toordinal(), -each.products, each.person))


def _day(time: datetime, zone: tzinfo | None) -> date:
    return time.astimezone(zone).date()
