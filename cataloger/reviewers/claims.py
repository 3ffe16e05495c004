"""Claims: a product that the page of one reviewer has been given is given to no other, on any server of a database.

A page says again and again what it wants to have, a few products ahead of the one that is looked at. What it wants no
more is free at once; what a page has that says nothing any more, since its browser has ended, after CLAIM_SECONDS.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, or_, select, update

from cataloger.db import AnyRow, Database, slices, upsert_rows, utc_now
from cataloger.schema import ClaimRow, ItemRow, key_hash
from cataloger.utils import shown_key

CLAIM_SECONDS = 60
"""Seconds that a claim lasts without being renewed; pages renew theirs every 15."""
AT_ONCE = 200
UNKNOWN = "somebody"
"""Has what was let go of at the same moment, and belongs to nobody yet; it is asked for again."""

Unit = tuple[int, str]
"""Source, and the hash of a product or of an image without one."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a page wants to have. page: names the window. items: an image each. opened: the one that is looked at."""

    page: str
    person: str
    items: tuple[int, ...] = ()
    opened: int | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """What a page has. item: an image of it. name: of the product, or of the image, for people;
    only of one that is looked at."""

    item: int
    page: str
    person: str
    name: str
    is_open: bool
    renewed_at: datetime


class Claims:
    """The claims of a database. Safe to use from several threads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def declare(self, wish: Wish) -> tuple[dict[int, str], list[Claim]]:
        """Give a page what it wants and others do not have; what it had beside that is free.

        Returns item -> person of what others have of it, and the claims of all.
        """
        return self._database.write(_declare, wish)

    def read(self) -> list[Claim]:
        """Return the claims that hold, by person."""
        return self._database.fetch(_read)


def _declare(connection: Connection, wish: Wish) -> tuple[dict[int, str], list[Claim]]:
    now = utc_now(connection)
    units = units_of(connection, wish.items)
    before = _rows(connection)
    _remove(connection, (row for row in before if _is_over(row, now)))
    _remove(connection, (row for row in before if row.page == wish.page and _unit(row) not in units.values()))
    rows = [
        {"source_id": unit[0], "unit_hash": unit[1], "item_id": item, "page": wish.page, "person": wish.person}
        | {"is_open": item == wish.opened, "renewed_at": now}
        for unit, item in sorted((unit, item) for item, unit in units.items())
    ]
    _insert(connection, rows)
    mine = ClaimRow.page == wish.page
    connection.execute(update(ClaimRow).where(mine).values(renewed_at=now, person=wish.person, is_open=False))
    if wish.opened in units:
        connection.execute(update(ClaimRow).where(mine, _is(units[wish.opened])).values(is_open=True))
    after = {_unit(row): row for row in _rows(connection)}
    holders = {item: after.get(unit) for item, unit in units.items()}
    taken = {
        item: row.person if row else UNKNOWN for item, row in holders.items() if not row or row.page != wish.page
    }
    return taken, _shown(connection, after.values())


def _insert(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Insert claims where there is none, in one order on every server, so that no two wait for each other."""
    for _ in range(2):  # another page may have let go of one meanwhile, which then belongs to nobody
        upsert_rows(connection, ClaimRow, rows, keys=["source_id", "unit_hash"], update=[])


def _read(connection: Connection) -> list[Claim]:
    now = utc_now(connection)
    return _shown(connection, [row for row in _rows(connection) if not _is_over(row, now)])


def _rows(connection: Connection) -> Sequence[AnyRow]:
    """Return all claims; people are few, and so are these."""
    return connection.execute(select(ClaimRow.__table__)).all()


def _is_over(row: AnyRow, now: datetime) -> bool:
    """True for one that was not renewed for long, or is from before the clock was put back."""
    return bool(abs(now - row.renewed_at) > timedelta(seconds=CLAIM_SECONDS))


def _unit(row: AnyRow) -> Unit:
    return row.source_id, row.unit_hash


def _is(unit: Unit) -> ColumnElement[bool]:
    return and_(ClaimRow.source_id == unit[0], ClaimRow.unit_hash == unit[1])


def _remove(connection: Connection, rows: Iterable[AnyRow]) -> None:
    """Delete claims that are as they were read: somebody may have renewed one meanwhile."""
    conditions = [and_(_is(_unit(row)), ClaimRow.renewed_at == row.renewed_at) for row in rows]
    for some in slices(conditions, AT_ONCE):
        connection.execute(delete(ClaimRow).where(or_(*some)))


def units_of(connection: Connection, items: Sequence[int]) -> dict[int, Unit]:
    """Return item -> its unit, of those that exist: the product that it shows, else the image alone."""
    found: dict[int, Unit] = {}
    for some in slices(items, AT_ONCE):
        query = select(ItemRow.id, ItemRow.source_id, ItemRow.product_hash).where(ItemRow.id.in_(some))
        found |= {row.id: (row.source_id, row.product_hash or _alone(row.id)) for row in connection.execute(query)}
    return found


def _alone(item: int) -> str:
    """Return the hash of an image without a product; a control character keeps it apart from those of products."""
    return key_hash(f"\x1f{item}")


def _shown(connection: Connection, rows: Iterable[AnyRow]) -> list[Claim]:
    found = sorted(rows, key=lambda row: (row.person, row.page, row.item_id))
    items = [row.item_id for row in found if row.is_open]
    query = select(ItemRow.id, ItemRow.key, ItemRow.product_key).where(ItemRow.id.in_(items))
    names = {row.id: shown_key(row.product_key or row.key) for row in connection.execute(query)}
    return [
        Claim(row.item_id, row.page, row.person, names.get(row.item_id, ""), row.is_open, row.renewed_at)
        for row in found
    ]
