"""Labelled images of a source, as scores that the ledger stores: from corrections, a CSV, or a query of categories.

A category is a label of the model, or one that the shop's label map translates: a code, a name, or the code of a
category above, which means all labels below it. Then several labels are right.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import select

from cataloger.adaptation import LabelledScores
from cataloger.db import Database, DatabaseURL, row_pages
from cataloger.errors import TrainingError, UsageError
from cataloger.inference import STORED
from cataloger.ledger import LabelCode
from cataloger.records import Floats
from cataloger.schema import (
    IS_UNCHANGED,
    CorrectionRow,
    CurrentRow,
    ItemRow,
    ResultRow,
    open_source,
    with_corrections,
    with_seen,
)
from cataloger.sources import clean_values, join_keys
from cataloger.tabular import RowProblem, TableFormatError, find_column, open_csv
from cataloger.training.data import one_select
from cataloger.utils import clean_label, find_label

ROWS_PER_READ = 5000
KEYS = ("file", "path", "key", "image", "uri", "product", "sku", "id")
LABELS = ("label", "labels", "category", "code")

Categories = Mapping[str, str]
"""Key of an image or a product, or address of an image -> its category as it is written."""


@dataclass(slots=True)
class ShopLabels:
    """What was found. unknown: categories that are no label and no code, with the number of their images."""

    labelled: LabelledScores
    unknown: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class StoredScores:
    """The scores of a source. rows: key, address, product and correction of each image.

    scores: float32 N x labels. familiarity: float64 N; None if the model has none.
    """

    rows: Sequence[tuple[str, str, str | None, str | None]]
    scores: Floats
    familiarity: Floats | None


def read_scores(database: Database, source_id: int, weights_id: str, labels: int) -> StoredScores:
    """Read the current good results of a source that have all scores, with the corrections of their images."""
    columns: tuple[Any, ...] = (
        ItemRow.id, ItemRow.key, ItemRow.uri, ItemRow.product_key, ResultRow.scores, ResultRow.familiarity,
        CorrectionRow.label, CorrectionRow.verdict, IS_UNCHANGED.label("is_unchanged"),
    )  # fmt: skip
    query = (
        select(*columns)
        .select_from(ItemRow)
        .join(CurrentRow, (CurrentRow.item_id == ItemRow.id) & (CurrentRow.weights_id == weights_id))
        .join(ResultRow, ResultRow.id == CurrentRow.result_id)
        .where(ItemRow.source_id == source_id, ItemRow.gone_run_id.is_(None), ResultRow.status == "ok")
    )
    rows: list[tuple[str, str, str | None, str | None]] = []
    blobs: list[bytes] = []
    familiarity: list[float | None] = []
    for page in row_pages(database, with_seen(with_corrections(query)), ItemRow.id, ROWS_PER_READ):
        for row in page:
            if row.scores is None or len(row.scores) != labels * STORED.itemsize:
                continue
            said = row.label if row.verdict == "label" and row.is_unchanged else None
            rows.append((row.key, row.uri, row.product_key, said))
            blobs.append(row.scores)
            familiarity.append(row.familiarity)
    scores = np.frombuffer(b"".join(blobs), STORED).reshape(len(rows), labels)
    known = None if None in familiarity else np.array(familiarity, dtype=np.float64)
    return StoredScores(rows, scores, known)


def corrected(stored: StoredScores) -> Iterator[str | None]:
    """Yield what people have said of each image; None where nobody has."""
    return (said for *_, said in stored.rows)


def listed(stored: StoredScores, categories: Categories) -> Iterator[str | None]:
    """Yield the category of each image: that of its key, else of its address, else of its product."""
    for key, uri, product, _ in stored.rows:
        names = (key, uri, Path(uri).name, product or "")
        yield next((categories[name] for name in names if name in categories), None)


def label_scores(
    stored: StoredScores, written: Iterable[str | None], labels: Sequence[str], codes: Sequence[LabelCode]
) -> ShopLabels:
    """Join scores with categories. labels: of the model. codes: of the source. Raises TrainingError for no match."""
    meanings = _Meanings(labels, codes)
    chosen, accepted, products = [], [], []
    unknown: Counter[str] = Counter()
    for number, category in enumerate(written):
        if category is None:
            continue
        right = meanings.of(category)
        if not right:
            unknown[category] += 1
            continue
        chosen.append(number)
        accepted.append(right)
        key, _, product, _ = stored.rows[number]
        products.append(f"p{product}" if product is not None else f"i{key}")
    if not chosen:
        some = f"; unknown categories: {', '.join(map(repr, list(unknown)[:5]))}" if unknown else ""
        raise TrainingError(f"none of {len(stored.rows):,} tagged images has a label{some}")
    matrix = np.zeros((len(chosen), len(labels)), np.bool_)
    for number, right in enumerate(accepted):
        matrix[number, list(right)] = True
    _, groups = np.unique(products, return_inverse=True)
    familiarity = None if stored.familiarity is None else stored.familiarity[chosen]
    found = LabelledScores(tuple(labels), stored.scores[chosen], matrix, groups.astype(np.int64), familiarity)
    return ShopLabels(found, unknown)


def read_csv_categories(path: Path) -> dict[str, str]:
    """Read a CSV file with a column of images or products and one of categories. Raises UsageError."""
    try:
        with open_csv(path, (*KEYS, *LABELS)) as table:
            key, label = (_column(path, table.names, names) for names in (KEYS, LABELS))
            rows = [row.cells for row in table.rows() if not isinstance(row, RowProblem)]
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except TableFormatError as error:
        raise UsageError(f"{path} {error}") from error
    whole = [cells for cells in rows if len(cells) > max(key, label)]
    return {cells[key].strip(): cells[label].strip() for cells in whole if cells[label].strip()}


def query_categories(url: DatabaseURL, query: str) -> dict[str, str]:
    """Run one SELECT: the columns that identify a product, then its category. Raises UsageError, DatabaseError."""
    statement = one_select(query)
    with closing(open_source(url)) as shop, shop.read() as connection:
        streaming = connection.execution_options(stream_results=True, yield_per=ROWS_PER_READ, no_parameters=True)
        result = streaming.exec_driver_sql(statement)
        if len(result.keys()) < 2:
            raise UsageError("--query must select what identifies a product and, as its last column, its category")
        return dict(_pairs(result))


def _pairs(rows: Iterable[Any]) -> Iterator[tuple[str, str]]:
    for *product, category in rows:
        if category is not None and str(category).strip():
            yield join_keys(clean_values(product)), str(category).strip()


def _column(path: Path, names: Sequence[str], wanted: Sequence[str]) -> int:
    for name in wanted:
        if (place := find_column(name, names)) is not None:
            return place
    raise UsageError(f"{path} has no column {' or '.join(wanted)}")


class _Meanings:
    """What categories of the shop mean: positions of labels."""

    def __init__(self, labels: Sequence[str], codes: Sequence[LabelCode]) -> None:
        self._labels = labels
        self._codes: dict[str, set[int]] = defaultdict(set)
        positions = {label: position for position, label in enumerate(labels)}
        for each in codes:
            for name in filter(None, (each.code, each.name, each.parent)):
                if each.label in positions:
                    self._codes[clean_label(name).casefold()].add(positions[each.label])

    def of(self, category: str) -> set[int]:
        """Return the positions of the labels that are right; several are separated by |."""
        return {position for part in category.split("|") for position in self._of(part)}

    def _of(self, name: str) -> set[int]:
        label = find_label(name, self._labels)
        if label is not None:
            return {self._labels.index(label)}
        return self._codes.get(clean_label(name).casefold(), set())
