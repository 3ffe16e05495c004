"""What is recorded of pictures that the same model has classified: the same bytes need not be decoded again."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from sqlalchemy import ColumnElement, func, select

from cataloger.db import Database, is_among
from cataloger.inference import STORED
from cataloger.ledger import ModelRef
from cataloger.records import PictureScores
from cataloger.schema import ResultRow


class KnownPictures:
    """Finds pictures by the hash of their bytes, whatever item and source they are of.

    Only what would be found again is used: results of the same weights, precision and decoder. Confidences are not,
    they follow from the scores by the calibration of the source. decoder: see `decoder_identity`.
    """

    def __init__(self, database: Database, model: ModelRef, decoder: str) -> None:
        self._database = database
        self._model = model
        self._decoder = decoder

    @cached_property
    def has_any(self) -> bool:
        """False where nothing was recorded when this was first asked for."""
        return self._database.scalar(select(func.max(ResultRow.id))) is not None

    def find(self, hashes: Sequence[str]) -> dict[str, PictureScores]:
        """Return the pictures that are known, by hash; one short read."""
        same = is_among(self._database.engine.dialect.name, ResultRow.content_hash, hashes)
        one_each = select(func.max(ResultRow.id).label("id")).where(same, self._is_usable())
        newest = one_each.group_by(ResultRow.content_hash).subquery()
        columns: tuple[Any, ...] = (
            ResultRow.content_hash, ResultRow.width, ResultRow.height, ResultRow.log_sum_exp, ResultRow.scores,
            ResultRow.familiarity, ResultRow.decoder,
        )  # fmt: skip
        rows = self._database.rows(select(*columns).join(newest, newest.c.id == ResultRow.id))
        return {row.content_hash: PictureScores(*row) for row in rows if len(row.scores) == self._size}

    @property
    def _size(self) -> int:
        return len(self._model.labels) * STORED.itemsize

    def _is_usable(self) -> ColumnElement[bool]:
        same_model = (ResultRow.weights_id == self._model.weights_id) & (ResultRow.precision == self._model.precision)
        return same_model & (ResultRow.decoder == self._decoder) & ResultRow.scores.is_not(None)
