"""What people say of images: kept for good, and what was said last holds, before anything that a model says.

Two people at once lose nothing: a word says which word its author saw, and is not taken where another one holds now.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, delete, func, insert, select

from cataloger.contracts import MAX_LABEL_LENGTH, VERDICTS, Verdict
from cataloger.db import AnyRow, Database, sanitize_text, upsert_rows, utc_now
from cataloger.ledger import lock_leases, recompute_product_corrections
from cataloger.schema import CorrectionRow, CurrentCorrectionRow, ItemRow, ModelRow, ResultRow, SourceRow

CORRECTIONS_PER_TRANSACTION = 500


@dataclass(frozen=True, slots=True)
class CorrectionInput:
    """What a person says of one image. Raises ValueError unless there is a label exactly where that is the verdict.

    expected: id of the correction that the person saw as holding, None if there was none. result_id: the result that
    the person saw.
    """

    item_id: int
    verdict: Verdict
    label: str | None
    expected: int | None
    result_id: int | None
    note: str | None = None

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise ValueError(f"{self.verdict!r} is no verdict")
        if (self.verdict == "label") != bool(self.label):
            raise ValueError(f"a label belongs to the verdict `label` and to no other, not {self.label!r}")
        if self.label is not None and len(self.label) > MAX_LABEL_LENGTH:
            raise ValueError(f"a label has at most {MAX_LABEL_LENGTH} characters, not {len(self.label)}")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a word: saved; conflict, since another one came first and stands; gone, with its image.

    correction_id, by, label, verdict: of the word that holds now, None if there is none.
    """

    item_id: int
    status: Literal["saved", "conflict", "gone"]
    correction_id: int | None = None
    by: str | None = None
    label: str | None = None
    verdict: str | None = None


def correct(database: Database, words: Sequence[CorrectionInput], author: str) -> list[Outcome]:
    """Record words of one person, a page a transaction; return what became of each, in their order."""
    outcomes: list[Outcome] = []
    name = sanitize_text(author)[:MAX_LABEL_LENGTH]
    for page in _pages([_cleaned(word) for word in words]):
        outcomes += database.write(_record, page, name)
    return outcomes


def labels_in_use(database: Database, source_id: int | None = None) -> list[str]:
    """Return the labels that can be said: of the models of one source or all, and those that people have said."""
    return database.fetch(_labels, source_id)


def _labels(connection: Connection, source_id: int | None) -> list[str]:
    models = select(ModelRow.labels).join(SourceRow, SourceRow.weights_id == ModelRow.weights_id)
    said = select(CorrectionRow.label).where(CorrectionRow.label.is_not(None)).distinct()
    if source_id is not None:
        models = models.where(SourceRow.id == source_id)
        # Not a join: SQLite would go through all images of the source, and there are fewer words.
        said = said.where(
            select(ItemRow.id).where(ItemRow.id == CorrectionRow.item_id, ItemRow.source_id == source_id).exists()
        )
    known = {label for labels in connection.scalars(models) for label in labels}
    return sorted(known.union(str(label) for label in connection.scalars(said)))


def _pages(words: Sequence[CorrectionInput]) -> Iterator[list[CorrectionInput]]:
    """Yield pages in which no image comes twice, so that a second word is judged by what became of the first."""
    page: dict[int, CorrectionInput] = {}
    for word in words:
        if len(page) == CORRECTIONS_PER_TRANSACTION or word.item_id in page:
            yield list(page.values())
            page = {}
        page[word.item_id] = word
    if page:
        yield list(page.values())


def _cleaned(word: CorrectionInput) -> CorrectionInput:
    label, note = (None if text is None else sanitize_text(text) for text in (word.label, word.note))
    return replace(word, label=label, note=note)


def _record(connection: Connection, words: list[CorrectionInput], author: str) -> list[Outcome]:
    items = _items(connection, words)
    # All that writes for a source takes its lease first, and so does this: nobody waits for a lock in a circle.
    lock_leases(connection, {row.source_id for row in items.values()})
    items = _items(connection, words)
    holding = _holding(connection, list(items))
    taken = [word for word in words if word.item_id in items and _is_next(word, holding.get(word.item_id))]
    _append(connection, taken, author, utc_now(connection))
    products: dict[int, set[str]] = {}
    for row in (items[word.item_id] for word in taken):
        if row.product_hash is not None:
            products.setdefault(row.source_id, set()).add(row.product_hash)
    for source_id, hashes in sorted(products.items()):
        recompute_product_corrections(connection, source_id, hashes)
    holding = _holding(connection, list(items))
    return [_outcome(word, word.item_id in items, holding.get(word.item_id), author) for word in words]


def _items(connection: Connection, words: Sequence[CorrectionInput]) -> dict[int, AnyRow]:
    ids = [word.item_id for word in words]
    rows = connection.execute(select(ItemRow.id, ItemRow.source_id, ItemRow.product_hash).where(ItemRow.id.in_(ids)))
    return {row.id: row for row in rows}


def _holding(connection: Connection, item_ids: Sequence[int]) -> dict[int, AnyRow]:
    """Return the words that hold now, by item."""
    columns = (
        CorrectionRow.item_id,
        CorrectionRow.id,
        CorrectionRow.author,
        CorrectionRow.label,
        CorrectionRow.verdict,
    )
    query = select(*columns).join(CurrentCorrectionRow, CurrentCorrectionRow.correction_id == CorrectionRow.id)
    return {row.item_id: row for row in connection.execute(query.where(CurrentCorrectionRow.item_id.in_(item_ids)))}


def _is_next(word: CorrectionInput, holds: AnyRow | None) -> bool:
    """True when the author saw what holds, and there is something to say or to withdraw."""
    return word.expected == (holds.id if holds else None) and (holds is not None or word.verdict != "withdrawn")


def _append(connection: Connection, words: Sequence[CorrectionInput], author: str, now: datetime) -> None:
    """Keep words and have them hold."""
    if not words:
        return
    ids = [word.result_id for word in words if word.result_id is not None]
    there = connection.execute(select(ResultRow.item_id, ResultRow.id).where(ResultRow.id.in_(ids)))
    seen = {(row.item_id, row.id) for row in there}
    rows = [
        {
            "item_id": word.item_id,
            # What was seen may have been pruned since.
            "result_id": word.result_id if (word.item_id, word.result_id) in seen else None,
            "verdict": word.verdict,
            "label": word.label,
            "note": word.note,
            "author": author,
            "corrected_at": now,
        }
        for word in words
    ]
    connection.execute(insert(CorrectionRow), rows)
    withdrawn = [word.item_id for word in words if word.verdict == "withdrawn"]
    if withdrawn:
        connection.execute(delete(CurrentCorrectionRow).where(CurrentCorrectionRow.item_id.in_(withdrawn)))
    said = [word.item_id for word in words if word.verdict != "withdrawn"]
    newest = select(CorrectionRow.item_id, func.max(CorrectionRow.id).label("correction_id"))
    found = connection.execute(
        newest.where(CorrectionRow.item_id.in_(said)).group_by(CorrectionRow.item_id)
    ).mappings()
    upsert_rows(
        connection, CurrentCorrectionRow, [dict(row) for row in found], keys=["item_id"], update=["correction_id"]
    )


def _outcome(word: CorrectionInput, is_there: bool, holds: AnyRow | None, author: str) -> Outcome:
    """Tell what became of a word. One that stands already was said before: its answer may have been lost."""
    if not is_there:
        return Outcome(word.item_id, "gone")
    if holds is None:
        return Outcome(word.item_id, "saved" if word.verdict == "withdrawn" else "conflict")
    is_said = (holds.author, holds.verdict, holds.label) == (author, word.verdict, word.label)
    status: Literal["saved", "conflict"] = "saved" if is_said else "conflict"
    return Outcome(word.item_id, status, holds.id, holds.author, holds.label, holds.verdict)
