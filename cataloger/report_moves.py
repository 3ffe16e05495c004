"""What moved since an earlier run: of what holds now, people's words included, or of what models say alone.

A word that holds goes before the model's answer on both sides, so that an image of which a person has spoken never
seems to have moved against that. What the model alone did is counted, too.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, exists, func, select

from cataloger.db.database import Database
from cataloger.db.models import Correction, Item, Run, RunSource
from cataloger.diff import Answer, Difference, Summary, compare
from cataloger.report_answers import Answers, HeldAnswers, Said
from cataloger.report_words import words_on
from cataloger.run_records import TAGGING, RunRecord, find_run

MOVED = 12
IMAGES_PER_READ = 500
NO_PRODUCT = "(no product)"
"""In place of a category: a person has said that the image shows none."""

Progress = Callable[[str, int], None]


@dataclass(frozen=True, slots=True)
class Spoken(Answer):
    """What held since a person had said it, without confidence. found: what the model said."""

    by: str
    found: Answer


@dataclass(frozen=True, slots=True)
class Moved:
    """An image whose category moved. said: the word that holds of it now."""

    difference: Difference
    said: Said | None

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        said = self.said and {"by": self.said.by, "label": self.said.label}
        return {**self.difference.as_json(), "said": said}


@dataclass(frozen=True, slots=True)
class Moves:
    """What moved since an earlier run. counts: images by what became of them. moves: (before, after, images).

    by_people: of the moved ones, how many a person's word moved, or its withdrawal. kept: how many others the model
    alone has moved, since a person's word holds.
    """

    since: RunRecord
    counts: dict[str, int]
    moves: tuple[tuple[str, str, int], ...]
    examples: tuple[Moved, ...]
    by_people: int = 0
    kept: int = 0

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "since": self.since.id,
            "counts": self.counts,
            "by_people": self.by_people,
            "kept": self.kept,
            "moves": [{"before": old, "after": new, "images": count} for old, new, count in self.moves],
            "examples": [each.as_json() for each in self.examples],
        }


def moves_since(answers: Answers, run: RunRecord, progress: Progress) -> Moves | None:
    """Compare with the run before; None where there is none whose history is whole."""
    database, ids = answers.database, [origin.id for origin in answers.origins]
    before = database.fetch(_run_before, run.id, ids)
    if before is None or run.pruned:
        return None
    since, names = find_run(database, before), {origin.name for origin in answers.origins}
    differences: Iterator[Difference] = (
        each for each in compare(database, before, run.id, products=False) if each.source in names
    )
    are_there = database.fetch(_are_there, ids)
    if are_there and isinstance(answers, HeldAnswers):
        differences = _as_held(database, differences, since.ended_at or since.started_at)
    return _summed(database, since, differences, progress)


def _summed(database: Database, since: RunRecord, differences: Iterable[Difference], progress: Progress) -> Moves:
    summary, by_people, kept = Summary(MOVED), 0, 0
    for number, difference in enumerate(differences):
        summary.add(difference)
        if any(isinstance(each, Spoken) for each in (difference.before, difference.after)):
            by_people += difference.change == "moved"
            kept += difference.change != "moved" and _as_found(difference).change == "moved"
        if number % 1000 == 0:
            progress("comparing with the run before", number)
    part = summary.parts["image"]
    return Moves(
        since=since,
        counts=dict(part.changes),
        moves=tuple((old, new, count) for (old, new), count in part.moves.most_common(10)),
        examples=tuple(_with_words(database, summary.moved)),
        by_people=by_people,
        kept=kept,
    )


def _run_before(connection: Connection, run_id: int, sources: Sequence[int]) -> int | None:
    query = (
        select(func.max(Run.id))
        .join(RunSource, RunSource.run_id == Run.id)
        .where(Run.id < run_id, Run.command.in_(TAGGING), Run.undone_by_id.is_(None), Run.pruned.is_(False))
    )
    return connection.scalar(query.where(RunSource.source_id.in_(sources)))


def _are_there(connection: Connection, sources: Sequence[int]) -> bool:
    """True when anything was ever said of images of some sources."""
    words = exists().where(Correction.item_id == Item.id, Item.source_id.in_(sources))
    return bool(connection.scalar(select(words)))


def _as_held(database: Database, differences: Iterator[Difference], then: datetime) -> Iterator[Difference]:
    """Put people's words before the model's answers: those that held then, and those that hold now."""
    while page := list(itertools.islice(differences, IMAGES_PER_READ)):
        ids = [each.item_id for each in page if each.item_id is not None]
        old, new = database.fetch(_words, ids, then)
        for each in page:
            before, after = (
                _spoken_of(answer, words.get(each.item_id or 0))
                for answer, words in ((each.before, old), (each.after, new))
            )
            yield replace(each, before=before, after=after)


def _words(
    connection: Connection, item_ids: Sequence[int], then: datetime
) -> tuple[dict[int, Said], dict[int, Said]]:
    """Return the words that held at a time, and those that hold now, by item."""
    columns = (Correction.item_id, Correction.author, Correction.label, Correction.verdict)
    query = select(*columns).where(Correction.item_id.in_(item_ids), Correction.corrected_at <= then)
    last = {row.item_id: row for row in connection.execute(query.order_by(Correction.id))}
    old = {item: Said(row.author, row.label) for item, row in last.items() if row.verdict != "withdrawn"}
    return old, words_on(connection, item_ids)


def _spoken_of(answer: Answer | None, said: Said | None) -> Answer | None:
    """Return what held of an image that was there and had not failed."""
    if answer is None or answer.label is None or said is None:
        return answer
    return Spoken(said.label or NO_PRODUCT, None, said.by, answer)


def _as_found(difference: Difference) -> Difference:
    """Return what became of the model's answers alone."""
    before, after = (
        each.found if isinstance(each, Spoken) else each for each in (difference.before, difference.after)
    )
    return replace(difference, before=before, after=after)


def _with_words(database: Database, moved: Sequence[Difference]) -> Iterator[Moved]:
    ids = [each.item_id for each in moved if each.item_id is not None]
    said = database.fetch(words_on, ids)
    return (Moved(each, said.get(each.item_id or 0)) for each in moved)
