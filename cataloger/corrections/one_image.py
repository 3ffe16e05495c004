"""What a program says of one image, which it names by key or uri."""

from dataclasses import replace

from sqlalchemy import or_, select

from cataloger.corrections.item_lookup import Image, Lookup
from cataloger.corrections.store import CorrectionInput, Outcome, correct, labels_in_use
from cataloger.db import Database
from cataloger.errors import EditedError, UsageError
from cataloger.schema import CurrentCorrectionRow, CurrentRow, ItemRow, SourceRow
from cataloger.utils import find_label, spellings, visible

ATTEMPTS = 5


def find_image(database: Database, image: str, source: str | None = None) -> tuple[int, int]:
    """Return source and item of an image. Raises UsageError unless exactly one is meant."""
    query = select(SourceRow.id)
    if source is not None:
        query = query.where(or_(SourceRow.root.in_(spellings(source)), SourceRow.name.in_(spellings(source))))
    ids = database.scalars(query)
    if source is not None and not ids:
        raise UsageError(f"there is no source {source}; `cataloger sources list` shows them")
    lookup = Lookup(database, ids)
    names = spellings(image)
    places = (*map(lookup.by_key(names).get, names), *map(lookup.by_uri(names).get, names))
    found: list[Image] = next(filter(None, places), [])
    if not found:
        raise UsageError(f"{visible(image)} is no image of {source or database.name}")
    if len(found) > 1:
        if len({source_id for source_id, _ in found}) == 1:
            raise UsageError(f"{image} is an image of several products: name it by its key")
        raise UsageError(f"{image} is in several sources: name one")
    return found[0]


def correct_image(database: Database, source_id: int, correction: CorrectionInput, author: str) -> Outcome:
    """Record a correction whatever holds; `expected` and `result_id` of it are looked up.

    Raises UsageError when the image has been deleted; EditedError when others correct it all the time.
    """
    for _ in range(ATTEMPTS):
        (outcome,) = correct(database, [_as_seen_now(database, source_id, correction)], author)
        if outcome.status == "saved":
            return outcome
        if outcome.status == "gone":
            raise UsageError("the image has been deleted")
    raise EditedError(f"the image was corrected by {outcome.by} at the same time; try again")


def require_known_label(database: Database, source_id: int, label: str) -> str:
    """Return a label as the model of the source or a person has spelled it. Raises UsageError for an unknown one."""
    known = find_label(label, labels_in_use(database, source_id))
    if known is None:
        raise UsageError(f"nobody knows the label {label!r} there; with new_label=True it is taken all the same")
    return known


def _as_seen_now(database: Database, source_id: int, correction: CorrectionInput) -> CorrectionInput:
    holding = select(CurrentCorrectionRow.correction_id).where(CurrentCorrectionRow.item_id == correction.item_id)
    current = (
        select(CurrentRow.result_id)
        .join(ItemRow, ItemRow.id == CurrentRow.item_id)
        .join(SourceRow, (SourceRow.id == ItemRow.source_id) & (SourceRow.weights_id == CurrentRow.weights_id))
        .where(CurrentRow.item_id == correction.item_id, SourceRow.id == source_id)
    )
    expected, result_id = database.scalar(holding), database.scalar(current)
    return replace(correction, expected=expected, result_id=result_id)
