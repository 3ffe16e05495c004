"""Queries of the current results of the images in the views: answers of the pinned models, and corrections."""

from typing import Any

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import aliased

from cataloger.db import Database
from cataloger.schema.models import CorrectionRow, CurrentCorrectionRow, CurrentRow, ItemRow, ResultRow, SourceRow

SEEN = aliased(ResultRow, name="seen")
"""The result that the author of the current correction saw."""
IS_UNCHANGED = func.coalesce(SEEN.content_hash, ResultRow.content_hash) == ResultRow.content_hash
"""The image is the one that the author saw; assumed where that is not recorded. For results that are ok."""


def select_current(*columns: Any) -> Select[Any]:
    """Select from the items in the views, their sources, and the current results of the sources' models."""
    return (
        select(*columns)
        .select_from(ItemRow)
        .join(SourceRow, SourceRow.id == ItemRow.source_id)
        .join(CurrentRow, (CurrentRow.item_id == ItemRow.id) & (CurrentRow.weights_id == SourceRow.weights_id))
        .join(ResultRow, ResultRow.id == CurrentRow.result_id)
        .where(ItemRow.gone_run_id.is_(None))
    )


def with_corrections(query: Select[Any], *, only: bool = False) -> Select[Any]:
    """Add the current corrections of the items of a query, as `CorrectionRow`. only: leave out items without one."""
    query = query.join(CurrentCorrectionRow, CurrentCorrectionRow.item_id == ItemRow.id, isouter=not only)
    return query.join(CorrectionRow, CorrectionRow.id == CurrentCorrectionRow.correction_id, isouter=not only)


def with_seen(query: Select[Any]) -> Select[Any]:
    """Add the results that the authors of the corrections in a query saw, as SEEN, where they are known."""
    return query.join(SEEN, SEEN.id == CorrectionRow.result_id, isouter=True)


def paged_source_id(database: Database) -> ColumnElement[int]:
    """Return `Item.source_id` for conditions of pages in the order of the items' ids.

    For a condition on the plain column SQLite takes the index on sources, reads all that fulfils it for every page,
    and sorts that. The others estimate what each way costs, and must see the plain one for that.
    """
    column = ItemRow.source_id.expression
    return column + 0 if database.engine.dialect.name == "sqlite" else column
