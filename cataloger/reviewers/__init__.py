"""People who review one catalog together: who has what, what each has done, and how far they agree.

Imports `corrections`, `ledger`, `schema`, `db`, `utils`.
"""

from cataloger.reviewers.activity import DayOfPerson, read_activity
from cataloger.reviewers.agreement import Agreement, AnsweredTwice, measure_agreement, read_pairs
from cataloger.reviewers.assignments import Assignment, assign, read_assignments, unassign
from cataloger.reviewers.claims import CLAIM_SECONDS, Claim, Claims, Wish
from cataloger.reviewers.sample import ReviewSample
from cataloger.reviewers.second_answers import SecondAnswer, SecondAnswers, read_answered

__all__ = [
    "CLAIM_SECONDS",
    "Agreement",
    "AnsweredTwice",
    "Assignment",
    "Claim",
    "Claims",
    "DayOfPerson",
    "ReviewSample",
    "SecondAnswer",
    "SecondAnswers",
    "Wish",
    "assign",
    "measure_agreement",
    "read_activity",
    "read_answered",
    "read_assignments",
    "read_pairs",
    "unassign",
]
