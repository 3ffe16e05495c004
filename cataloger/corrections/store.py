"""Corrections of images: all are kept, the last one is current, and it has priority over the model's answer.

Concurrent authors lose nothing: a correction names the one that its author saw, and is refused if another is current.
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
from cataloger.utils import same_person

CORRECTIONS_PER_TRANSACTION = 500


@dataclass(frozen=True, slots=True)
class CorrectionInput:
    """A correction of one image. Raises ValueError unless it has a label exactly if the verdict is `label`.

    expected: id of the correction that the person saw as current, None if there was none. result_id: the result that
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
    """What became of a correction: saved; conflict, if another one came first; gone, if its image was removed.

    correction_id, by, label, verdict: of the current correction, None if there is none.
    """

    item_id: int
    status: Literal["saved", "conflict", "gone"]
    correction_id: int | None = None
    by: str | None = None
    label: str | None = None
    verdict: str | None = None


def correct(database: Database, corrections: Sequence[CorrectionInput], author: str) -> list[Outcome]:
    """Record corrections of one person, one page per transaction; return their outcomes in the same order."""
    outcomes: list[Outcome] = []
    name = sanitize_text(author)[:MAX_LABEL_LENGTH]
    for page in _pages([_cleaned(correction) for correction in corrections]):
        outcomes += database.write(_record, page, name)
    return outcomes


def labels_in_use(database: Database, source_id: int | None = None) -> list[str]:
    """Return the labels in use: of the models of one source or all, and of corrections."""
    return database.fetch(_labels, source_id)


def _labels(connection: Connection, source_id: int | None) -> list[str]:
    models = select(ModelRow.labels).join(SourceRow, SourceRow.weights_id == ModelRow.weights_id)
    said = select(CorrectionRow.label).where(CorrectionRow.label.is_not(None)).distinct()
    if source_id is not None:
        models = models.where(SourceRow.id == source_id)
        # Not a join: SQLite would go through all images of the source, and there are fewer corrections.
        said = said.where(
            select(ItemRow.id).where(ItemRow.id == CorrectionRow.item_id, ItemRow.source_id == source_id).exists()
        )
    known = {label for labels in connection.scalars(models) for label in labels}
    return sorted(known.union(str(label) for label in connection.scalars(said)))


def _pages(corrections: Sequence[CorrectionInput]) -> Iterator[list[CorrectionInput]]:
    """Yield pages without repeated images: a second correction is checked against the outcome of the first."""
    page: dict[int, CorrectionInput] = {}
    for correction in corrections:
        if len(page) == CORRECTIONS_PER_TRANSACTION or correction.item_id in page:
            yield list(page.values())
            page = {}
        page[correction.item_id] = correction
    if page:
        yield list(page.values())


def _cleaned(correction: CorrectionInput) -> CorrectionInput:
    label, note = (None if text is None else sanitize_text(text) for text in (correction.label, correction.note))
    return replace(correction, label=label, note=note)


def _record(connection: Connection, corrections: list[CorrectionInput], author: str) -> list[Outcome]:
    items = _items(connection, corrections)
    # Every writer of a source locks its lease first, and so does this: that prevents deadlocks.
    lock_leases(connection, {row.source_id for row in items.values()})
    items = _items(connection, corrections)
    current = _current(connection, list(items))
    taken = [
        correction
        for correction in corrections
        if correction.item_id in items and _is_next(correction, current.get(correction.item_id))
    ]
    _append(connection, taken, author, utc_now(connection))
    products: dict[int, set[str]] = {}
    for row in (items[correction.item_id] for correction in taken):
        if row.product_hash is not None:
            products.setdefault(row.source_id, set()).add(row.product_hash)
    for source_id, hashes in sorted(products.items()):
        recompute_product_corrections(connection, source_id, hashes)
    current = _current(connection, list(items))
    return [
        _outcome(correction, correction.item_id in items, current.get(correction.item_id), author)
        for correction in corrections
    ]


def _items(connection: Connection, corrections: Sequence[CorrectionInput]) -> dict[int, AnyRow]:
    ids = [correction.item_id for correction in corrections]
    rows = connection.execute(select(ItemRow.id, ItemRow.source_id, ItemRow.product_hash).where(ItemRow.id.in_(ids)))
    return {row.id: row for row in rows}


def _current(connection: Connection, item_ids: Sequence[int]) -> dict[int, AnyRow]:
    """Return the current corrections by item."""
    columns = (
        CorrectionRow.item_id,
        CorrectionRow.id,
        CorrectionRow.author,
        CorrectionRow.label,
        CorrectionRow.verdict,
    )
    query = select(*columns).join(CurrentCorrectionRow, CurrentCorrectionRow.correction_id == CorrectionRow.id)
    return {row.item_id: row for row in connection.execute(query.where(CurrentCorrectionRow.item_id.in_(item_ids)))}


def _is_next(correction: CorrectionInput, current: AnyRow | None) -> bool:
    """True if the author saw the current correction, and there is something to record or to withdraw."""
    return correction.expected == (current.id if current else None) and (
        current is not None or correction.verdict != "withdrawn"
    )


def _append(connection: Connection, corrections: Sequence[CorrectionInput], author: str, now: datetime) -> None:
    """Store corrections and make them current."""
    if not corrections:
        return
    ids = [correction.result_id for correction in corrections if correction.result_id is not None]
    there = connection.execute(select(ResultRow.item_id, ResultRow.id).where(ResultRow.id.in_(ids)))
    seen = {(row.item_id, row.id) for row in there}
    rows = [
        {
            "item_id": correction.item_id,
            # What was seen may have been pruned since.
            "result_id": correction.result_id if (correction.item_id, correction.result_id) in seen else None,
            "verdict": correction.verdict,
            "label": correction.label,
            "note": correction.note,
            "author": author,
            "corrected_at": now,
        }
        for correction in corrections
    ]
    connection.execute(insert(CorrectionRow), rows)
    withdrawn = [correction.item_id for correction in corrections if correction.verdict == "withdrawn"]
    if withdrawn:
        connection.execute(delete(CurrentCorrectionRow).where(CurrentCorrectionRow.item_id.in_(withdrawn)))
    labelled = [correction.item_id for correction in corrections if correction.verdict != "withdrawn"]
    newest = select(CorrectionRow.item_id, func.max(CorrectionRow.id).label("correction_id"))
    found = connection.execute(
        newest.where(CorrectionRow.item_id.in_(labelled)).group_by(CorrectionRow.item_id)
    ).mappings()
    upsert_rows(
        connection, CurrentCorrectionRow, [dict(row) for row in found], keys=["item_id"], update=["correction_id"]
    )


def _outcome(correction: CorrectionInput, exists: bool, current: AnyRow | None, author: str) -> Outcome:
    """Return the outcome. An identical current correction counts as saved: its response may have been lost."""
    if not exists:
        return Outcome(correction.item_id, "gone")
    if current is None:
        return Outcome(correction.item_id, "saved" if correction.verdict == "withdrawn" else "conflict")
    is_same = (current.verdict, current.label) == (correction.verdict, correction.label)
    is_identical = is_same and same_person(current.author, author)
    status: Literal["saved", "conflict"] = "saved" if is_identical else "conflict"
    return Outcome(correction.item_id, status, current.id, current.author, current.label, current.verdict)
