"""What a page of the queue is to hold: its filters, and what its reader is to see of it."""

from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import parse_qsl

from cataloger.errors import UsageError
from cataloger.review_queue.filters import Filters
from cataloger.reviewers import Assignment, ReviewSample

NOBODY_TWICE = ReviewSample()


@dataclass(frozen=True, slots=True)
class QueuePart:
    """A part of the queue. sources: those that the filters name, None for all."""

    filters: Filters
    sources: Collection[int] | None = None


def assigned_part(assignment: Assignment) -> Filters | None:
    """Return the filters of an assignment; None where a newer version has written what this one does not know."""
    try:
        return Filters.parse(parse_qsl(assignment.filters)).part()
    except UsageError:
        return None


@dataclass(frozen=True, slots=True)
class Wanted:
    """A part of the queue for one person. author: the person. sample: of which two people answer.

    mine, others: parts that are assigned to the person, and to others; what is in the latter alone is left out.
    """

    part: QueuePart
    author: str = ""
    sample: ReviewSample = NOBODY_TWICE
    mine: tuple[QueuePart, ...] = ()
    others: tuple[QueuePart, ...] = ()

    @property
    def filters(self) -> Filters:
        """The filters of the part."""
        return self.part.filters
