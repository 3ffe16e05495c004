"""What people have said of the images that a report is about: who, of how many, and how often the model was right."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, and_, case, func, select

from cataloger.report.queries import Answers, Said
from cataloger.schema.current_results import IS_UNCHANGED, with_seen, with_words
from cataloger.schema.models import Corrected, Correction, Result


@dataclass(frozen=True, slots=True)
class Author:
    """Words of one person that hold. no_product: of these, how many say that the image shows none.

    judged: those that name the category of an image that has an answer and has not changed since. agreed: of these,
    how many name the model's best label.
    """

    name: str
    words: int
    no_product: int
    judged: int
    agreed: int


def authors(answers: Answers) -> tuple[Author, ...]:
    """Count the words that hold now on the images of a report against its answers; most words first."""
    is_judged = and_(Correction.verdict == "label", Result.status == "ok", IS_UNCHANGED)
    counted = {
        "no_product": Correction.verdict == "not_product",
        "judged": is_judged,
        "agreed": and_(is_judged, Correction.label == Result.label_1),
    }
    sums = [func.sum(case((condition, 1), else_=0)).label(name) for name, condition in counted.items()]
    said = with_words(answers.results(Correction.author, func.count().label("words"), *sums), only=True)
    query = with_seen(said).group_by(Correction.author)
    found = [
        Author(row.author, row.words, *(int(row._mapping[name]) for name in counted))
        for row in answers.database.rows(query)
    ]
    return tuple(sorted(found, key=lambda each: (-each.words, each.name)))


def words_on(connection: Connection, item_ids: Sequence[int]) -> dict[int, Said]:
    """Return the words that hold now of some images, by item."""
    query = select(Correction.item_id, Correction.author, Correction.label)
    query = query.join(Corrected, Corrected.correction_id == Correction.id).where(Corrected.item_id.in_(item_ids))
    return {row.item_id: Said(row.author, row.label) for row in connection.execute(query)}
