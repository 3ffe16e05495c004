"""Assignments: parts of the queue that are for one person, such as "Anna: shoes"."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, insert, select

from cataloger.contracts import MAX_LABEL_LENGTH
from cataloger.db import Database, sanitize_text, utc_now
from cataloger.schema import AssignmentRow
from cataloger.utils import same_person


@dataclass(frozen=True, slots=True)
class Assignment:
    """A part of the queue for one person. filters: as the address of the review page contains them."""

    id: int
    person: str
    filters: str
    assigned_by: str

    def is_of(self, person: str) -> bool:
        """True for the one that it is assigned to, however the name is capitalized."""
        return same_person(self.person, person)

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"author": self.person, "filters": self.filters, "assigned_by": self.assigned_by}


def read_assignments(database: Database) -> list[Assignment]:
    """Return all assignments, by person."""
    columns = (AssignmentRow.id, AssignmentRow.person, AssignmentRow.filters, AssignmentRow.assigned_by)
    rows = database.rows(select(*columns).order_by(AssignmentRow.person, AssignmentRow.id))
    return [Assignment(*row) for row in rows]


def assign(database: Database, person: str, filters: str, by: str) -> None:
    """Assign a part of the queue to a person, once."""
    name = sanitize_text(person)[:MAX_LABEL_LENGTH]
    if any(each.is_of(name) and each.filters == filters for each in read_assignments(database)):
        return
    values = {"person": name, "filters": filters, "assigned_by": sanitize_text(by)[:MAX_LABEL_LENGTH]}
    database.write(lambda to: to.execute(insert(AssignmentRow).values(**values, assigned_at=utc_now(to))))


def unassign(database: Database, number: int) -> None:
    """End an assignment; one that has ended already stays so."""
    database.write(lambda to: to.execute(delete(AssignmentRow).where(AssignmentRow.id == number)))
