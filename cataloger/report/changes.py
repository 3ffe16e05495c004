"""What changed since an earlier run: in the current results with corrections, or in the model's answers alone.

A correction has priority over the model's answer on both sides, so that a corrected image never seems to have moved
away from it. Changes of the model's answers alone are counted, too.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Select, exists, func, select

from cataloger.db import Database
from cataloger.history import Difference, DifferenceSummary, PastAnswer, compare
from cataloger.ledger import TAGGING, RunRecord, find_run
from cataloger.report.queries import AnswerQueries, CorrectionRef, CurrentAnswers
from cataloger.report.reviewers import corrections_of, corrections_since
from cataloger.schema import CorrectionRow, ItemRow, RunRow, RunSourceRow

MOVED = 12
IMAGES_PER_READ = 500
WEEK = timedelta(days=7) - timedelta(hours=6)
"""A run of each night begins a little earlier or later than a week before."""
NO_PRODUCT = "(no product)"
"""In place of a category: a person has marked the image as no product."""

Progress = Callable[[str, int], None]


@dataclass(frozen=True, slots=True)
class CorrectedAnswer(PastAnswer):
    """The current answer is a correction, without confidence. found: the model's answer."""

    by: str
    found: PastAnswer


@dataclass(frozen=True, slots=True)
class Moved:
    """An image whose category moved. said: its current correction."""

    difference: Difference
    said: CorrectionRef | None

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        said = self.said and {"by": self.said.by, "label": self.said.label}
        return {**self.difference.as_json(), "said": said}


@dataclass(frozen=True, slots=True)
class Moves:
    """What changed since an earlier run. counts: images by kind of change. moves: (before, after, images).

    by_people: images moved by a correction or its withdrawal. kept: images whose model answer has moved, but not the
    result, since it is a correction. corrected: images that people have corrected or confirmed since.
    """

    since: RunRecord
    counts: dict[str, int]
    moves: tuple[tuple[str, str, int], ...]
    examples: tuple[Moved, ...]
    by_people: int = 0
    kept: int = 0
    corrected: int = 0

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "since": self.since.id,
            "counts": self.counts,
            "by_people": self.by_people,
            "kept": self.kept,
            "corrected": self.corrected,
            "moves": [{"before": old, "after": new, "images": count} for old, new, count in self.moves],
            "examples": [each.as_json() for each in self.examples],
        }


def moves_since(
    answers: AnswerQueries, run: RunRecord, latest: RunRecord, progress: Progress
) -> tuple[Moves | None, Moves | None]:
    """Compare a run with the one before, and the latest with that of a week ago; None without a complete history."""
    database, ids = answers.database, [origin.id for origin in answers.origins]
    before = None if run.pruned else database.fetch(_last_run, run, ids)
    week_ago = None if latest.pruned else database.fetch(_run_of_last_week, latest, ids)
    moves = None if before is None else _compared(answers, run, before, progress)
    if week_ago is None or (week_ago == before and run == latest):
        return moves, moves
    return moves, _compared(answers, latest, week_ago, progress)


def _compared(answers: AnswerQueries, run: RunRecord, before: int, progress: Progress) -> Moves:
    database, ids = answers.database, [origin.id for origin in answers.origins]
    since, names = find_run(database, before), {origin.name for origin in answers.origins}
    then = since.ended_at or since.started_at
    differences: Iterator[Difference] = (
        each for each in compare(database, before, run.id, products=False) if each.source in names
    )
    corrected = 0
    if isinstance(answers, CurrentAnswers) and database.fetch(_have_corrections, ids):
        differences = _with_corrections(database, differences, then)
        corrected = database.fetch(corrections_since, ids, then)
    return replace(_summed(database, since, differences, progress), corrected=corrected)


def _summed(database: Database, since: RunRecord, differences: Iterable[Difference], progress: Progress) -> Moves:
    summary, by_people, kept = DifferenceSummary(MOVED), 0, 0
    for number, difference in enumerate(differences):
        summary.add(difference)
        if any(isinstance(each, CorrectedAnswer) for each in (difference.before, difference.after)):
            by_people += difference.change == "moved"
            kept += difference.change != "moved" and _of_model(difference).change == "moved"
        if number % 1000 == 0:
            progress("comparing with the run before", number)
    part = summary.parts["image"]
    return Moves(
        since=since,
        counts=dict(part.changes),
        moves=tuple((old, new, count) for (old, new), count in part.moves.most_common(10)),
        examples=tuple(_with_current(database, summary.moved)),
        by_people=by_people,
        kept=kept,
    )


def _earlier(column: Any, run: RunRecord, sources: Sequence[int]) -> Select[Any]:
    """Select from the runs before one over the same sources whose history is complete."""
    query = select(column).join(RunSourceRow, RunSourceRow.run_id == RunRow.id)
    query = query.where(
        RunRow.id < run.id, RunRow.command.in_(TAGGING), RunRow.undone_by_id.is_(None), RunRow.pruned.is_(False)
    )
    return query.where(RunSourceRow.source_id.in_(sources))


def _last_run(connection: Connection, run: RunRecord, sources: Sequence[int]) -> int | None:
    found: int | None = connection.scalar(_earlier(func.max(RunRow.id), run, sources))
    return found


def _run_of_last_week(connection: Connection, run: RunRecord, sources: Sequence[int]) -> int | None:
    """Return the last run that is a week older; where all are younger, the first of them."""
    old = _earlier(func.max(RunRow.id), run, sources).where(RunRow.started_at <= run.started_at - WEEK)
    found: int | None = connection.scalar(old) or connection.scalar(_earlier(func.min(RunRow.id), run, sources))
    return found


def _have_corrections(connection: Connection, sources: Sequence[int]) -> bool:
    """True if images of some sources were ever corrected."""
    corrected = exists().where(CorrectionRow.item_id == ItemRow.id, ItemRow.source_id.in_(sources))
    return bool(connection.scalar(select(corrected)))


def _with_corrections(database: Database, differences: Iterator[Difference], then: datetime) -> Iterator[Difference]:
    """Replace the model's answers by corrections: those that were current then, and those that are now."""
    while page := list(itertools.islice(differences, IMAGES_PER_READ)):
        ids = [each.item_id for each in page if each.item_id is not None]
        old, new = database.fetch(_corrections, ids, then)
        for each in page:
            before, after = (
                _corrected(answer, corrections.get(each.item_id or 0))
                for answer, corrections in ((each.before, old), (each.after, new))
            )
            yield replace(each, before=before, after=after)


def _corrections(
    connection: Connection, item_ids: Sequence[int], then: datetime
) -> tuple[dict[int, CorrectionRef], dict[int, CorrectionRef]]:
    """Return the corrections that were current at a time, and those that are now, by item."""
    columns = (CorrectionRow.item_id, CorrectionRow.author, CorrectionRow.label, CorrectionRow.verdict)
    query = select(*columns).where(CorrectionRow.item_id.in_(item_ids), CorrectionRow.corrected_at <= then)
    last = {row.item_id: row for row in connection.execute(query.order_by(CorrectionRow.id))}
    old = {item: CorrectionRef(row.author, row.label) for item, row in last.items() if row.verdict != "withdrawn"}
    return old, corrections_of(connection, item_ids)


def _corrected(answer: PastAnswer | None, said: CorrectionRef | None) -> PastAnswer | None:
    """Return the corrected answer of an image that was present and had not failed."""
    if answer is None or answer.label is None or said is None:
        return answer
    return CorrectedAnswer(said.label or NO_PRODUCT, None, said.by, answer)


def _of_model(difference: Difference) -> Difference:
    """Return the change of the model's answers alone."""
    before, after = (
        each.found if isinstance(each, CorrectedAnswer) else each for each in (difference.before, difference.after)
    )
    return replace(difference, before=before, after=after)


def _with_current(database: Database, moved: Sequence[Difference]) -> Iterator[Moved]:
    ids = [each.item_id for each in moved if each.item_id is not None]
    said = database.fetch(corrections_of, ids)
    return (Moved(each, said.get(each.item_id or 0)) for each in moved)
