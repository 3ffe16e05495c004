"""The people who review together: what their pages ask for and are shown, as plain JSON values."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta, timezone
from typing import Any
from urllib.parse import parse_qsl

from cataloger.db import Database
from cataloger.errors import UsageError
from cataloger.review_queue import LARGEST_ID, Filters, Queue, assigned_part
from cataloger.reviewers import (
    Assignment,
    Claim,
    Claims,
    Wish,
    assign,
    measure_agreement,
    read_activity,
    read_assignments,
    read_pairs,
    unassign,
)
from cataloger.schema import key_hash
from cataloger.utils import printable

MOST_CLAIMS = 200
MOST_IMAGES = 500
MOST_DISAGREEMENTS = 50
LONGEST_PAGE = 100
MINUTES_OF_A_DAY = 24 * 60


def parse_wish(values: Any, person: str) -> tuple[Wish, list[int]]:
    """Return what a page wants to have, and the images whose corrections it asks for. Raises UsageError."""
    sent = values if isinstance(values, dict) else {}
    page, opened = sent.get("page"), sent.get("open")
    if not isinstance(page, str) or not 0 < len(page) <= LONGEST_PAGE:
        raise UsageError(f"page: send 1 to {LONGEST_PAGE} characters that name the window")
    if opened is not None and not _is_item(opened):
        raise UsageError("open: not the number of an image")
    items, images = _items(sent, "items", MOST_CLAIMS), _items(sent, "images", MOST_IMAGES)
    return Wish(key_hash(page), person, tuple(items), opened), images


def _items(sent: dict[str, Any], name: str, most: int) -> list[int]:
    found = sent.get(name, [])
    if not isinstance(found, list) or len(found) > most or not all(map(_is_item, found)):
        raise UsageError(f"{name}: send a list of up to {most} numbers of images")
    return found


def _is_item(value: Any) -> bool:
    return type(value) is int and 0 < value < LARGEST_ID


def declare(database: Database, queue: Queue, wish: Wish, images: Sequence[int]) -> dict[str, Any]:
    """Give a page what it wants and nobody has; return what others have, who is there, and what holds of images."""
    taken, claims = Claims(database).declare(wish)
    others = [[each.item, each.person] for each in claims if each.page != wish.page]
    return {
        "taken": [[item, person] for item, person in taken.items()],
        "others": others,
        "people": people_of(claims, wish.page),
        "corrections": [[item, correction] for item, correction in queue.corrections(images, wish.person).items()],
    }


def everybody(database: Database, queue: Queue, minutes: str) -> dict[str, Any]:
    """Return who is there, what each has done and is to do. minutes: east of UTC, for where a day begins."""
    zone = timezone(timedelta(minutes=_minutes(minutes)))
    days = [each.as_json() for each in read_activity(database, zone=zone)]
    pairs = read_pairs(database)
    disagreements = [each.as_json() for each in pairs if each.disputed is not None]
    return {
        "people": people_of(Claims(database).read(), ""),
        "days": days,
        "agreement": measure_agreement(pairs).as_json(),
        "disagreements": disagreements[:MOST_DISAGREEMENTS],
        "assignments": [found for each in read_assignments(database) if (found := _assignment(queue, each))],
    }


def assigned_parts(database: Database, person: str) -> dict[bool, list[Filters]]:
    """Return the parts of the queue that are assigned: True -> to this person, False -> to others."""
    found: dict[bool, list[Filters]] = {}
    for each in read_assignments(database):
        if (part := assigned_part(each)) is not None:
            found.setdefault(each.is_of(person), []).append(part)
    return found


def _assignment(queue: Queue, assignment: Assignment) -> dict[str, Any] | None:
    part = assigned_part(assignment)
    if part is None:
        return None
    counted = queue.progress(replace(part, by="product", whose="all"), assignment.person)
    names = {"id": assignment.id, "person": assignment.person, "filters": part.query(), "text": part.text()}
    return {**names, "products": counted.images, "reviewed": counted.reviewed}


def change_assignments(database: Database, values: Any, by: str) -> None:
    """Assign a part of the queue to a person, or end an assignment. Raises UsageError."""
    sent = values if isinstance(values, dict) else {}
    if _is_item(sent.get("remove")):
        unassign(database, sent["remove"])
        return
    person = " ".join(printable(str(sent.get("person") or "")).split())
    part = Filters.parse(parse_qsl(str(sent.get("filters") or ""))).part()
    if not person or part == Filters():
        raise UsageError("assignment: name a person, and set a filter for the part that is theirs")
    assign(database, person, part.query(), by)


def _minutes(text: str) -> int:
    try:
        minutes = int(text or 0)
    except ValueError:
        minutes = MINUTES_OF_A_DAY
    if abs(minutes) >= MINUTES_OF_A_DAY:
        raise UsageError("zone: give the minutes between here and UTC")
    return minutes


def people_of(claims: Sequence[Claim], page: str) -> list[dict[str, Any]]:
    """Return one entry for each page that has something. open: what is looked at, None for a survey."""
    counts = Counter(each.page for each in claims)
    opened = {each.page: each for each in claims if each.is_open}
    names = {each.page: each.person for each in claims}
    return [
        {
            "person": names[each],
            "is_me": each == page,
            "products": count,
            "open": opened[each].name if each in opened else None,
            "item": opened[each].item if each in opened else None,
        }
        for each, count in counts.items()
    ]
