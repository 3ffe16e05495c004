"""Which images teach most about a shop when people label them: few, spread over the answers and where they waver.

The answers of the model take turns, and those with the fewest labels so far come first: so rare ones get as many as
frequent ones. Of each answer there are in turn an image that is drawn by chance from one of the bands of margin (the
difference of the best two confidences), band after band, and the one that wavers most between the answer and another,
each time another. A product is asked for once, and not at all if one of its images has a label.

All results are read once, page by page. What is kept of them is bounded by the number of images that are wanted and
by the number of labels of the model, not by that of the images.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Select, case, func, literal, select

from cataloger.corrections.labelled_images import corrected_label, group_of, of_good_results
from cataloger.db import AnyRow, Database, row_pages
from cataloger.schema import (
    IS_UNCHANGED,
    CorrectionRow,
    ItemRow,
    ResultRow,
    with_corrections,
    with_seen,
)

EDGES = (0.1, 0.3, 0.6, 0.9)
"""Margins between the bands."""
WAVERING = 8
"""Images that are kept for each pair of answers."""
ROWS_PER_READ = 10_000

Found = tuple[float, int, str]
"""Rank, item, group."""


def band_of(margin: float) -> int:
    """Return the number of a margin's band."""
    return sum(margin >= edge for edge in EDGES)


def band_column() -> ColumnElement[int]:
    """Return the same in SQL."""
    margin = ResultRow.confidence_1 - func.coalesce(ResultRow.confidence_2, 0.0)
    falling = sorted(enumerate(EDGES, start=1), reverse=True)
    return case(*((margin >= edge, literal(number)) for number, edge in falling), else_=0)


def choose_for_adapting(database: Database, source: AnyRow, count: int) -> list[int]:
    """Return the items of at most `count` images of a source to label, in the order in which they teach most.

    source: row of a tagged source. The same ledger gives the same images.
    """
    labelled, done = set[str](), Counter[str]()
    for row in _pages(database, with_seen(with_corrections(_results(database, source), only=True))):
        if corrected_label(row) is not None:
            labelled.add(group_of(row))
            done[row.label_1] += 1
    answers = _read(database, source, labelled, count)
    return _take_turns(answers, done, count)


def count_by_kind(database: Database, source: AnyRow) -> tuple[Counter[Any], Counter[Any]]:
    """Count the images of a source by their answer, and by their band."""
    band = band_column().label("band")
    columns: tuple[Any, ...] = (ResultRow.label_1, band, func.count().label("images"))
    query = of_good_results(select(*columns), database, source.id, source.weights_id)
    answers, bands = Counter[Any](), Counter[Any]()
    for row in database.rows(query.group_by(ResultRow.label_1, band)):
        answers[row.label_1] += row.images
        bands[int(row.band)] += row.images
    return answers, bands


def _results(database: Database, source: AnyRow) -> Select[Any]:
    columns: tuple[Any, ...] = (
        ItemRow.id, ItemRow.product_hash, ItemRow.key_hash, ResultRow.label_1, ResultRow.label_2,
        ResultRow.confidence_1, ResultRow.confidence_2,
        CorrectionRow.label, CorrectionRow.verdict, IS_UNCHANGED.label("is_unchanged"),
    )  # fmt: skip
    return of_good_results(select(*columns), database, source.id, source.weights_id)


def _pages(database: Database, query: Select[Any]) -> Iterator[AnyRow]:
    for page in row_pages(database, query, ItemRow.id, ROWS_PER_READ):
        yield from page


class _Smallest:
    """Keeps the images of smallest rank, one of a group; of those that are equal the one that came first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._found: dict[str, Found] = {}

    def add(self, rank: float, item: int, group: str) -> None:
        known = self._found.get(group)
        if known is None or rank < known[0]:
            self._found[group] = (rank, item, group)
        if len(self._found) > 2 * self._most + 16:
            self._found = {each[2]: each for each in self.ranked}

    @property
    def ranked(self) -> list[Found]:
        return sorted(self._found.values())[: self._most]


@dataclass(slots=True)
class _Answer:
    """What there is of one answer. drawn: by band. wavering: by the other answer. images: how many.

    most: images that may be wanted of it.
    """

    most: int
    images: int = 0
    drawn: dict[int, _Smallest] = field(default_factory=dict)
    wavering: dict[str, _Smallest] = field(default_factory=dict)
    rivals: Counter[str] = field(default_factory=Counter)

    def add(self, row: AnyRow) -> None:
        margin, group = row.confidence_1 - (row.confidence_2 or 0.0), group_of(row)
        self.images += 1
        # The beginning of a hash is as good as a draw, and the same tomorrow.
        draw = float(int(group[:12], 16))
        self.drawn.setdefault(band_of(margin), _Smallest(self.most)).add(draw, row.id, group)
        if row.label_2 is not None:
            self.rivals[row.label_2] += 1
            self.wavering.setdefault(row.label_2, _Smallest(WAVERING)).add(margin, row.id, group)

    def in_turn(self) -> Iterator[Found]:
        """Return the images in the order in which they are to be taken; some come twice."""
        bands = [self.drawn[band].ranked for band in sorted(self.drawn)]
        pairs = [self.wavering[rival].ranked for rival, _ in sorted(self.rivals.items(), key=_most_first)]
        return _alternate(_round_robin(bands), _round_robin(pairs))


def _most_first(pair: tuple[str, int]) -> tuple[int, str]:
    return -pair[1], pair[0]


def _round_robin(lists: Sequence[Sequence[Found]]) -> Iterator[Found]:
    for place in range(max(map(len, lists), default=0)):
        for each in lists:
            if place < len(each):
                yield each[place]


def _alternate(first: Iterator[Found], second: Iterator[Found]) -> Iterator[Found]:
    """Yield from both in turn, and what is left of the first."""
    for each in first:
        yield each
        yield from (other for other in [next(second, None)] if other is not None)


def _read(database: Database, source: AnyRow, labelled: set[str], count: int) -> dict[str, _Answer]:
    answers: dict[str, _Answer] = defaultdict(lambda: _Answer(count))
    query = with_seen(with_corrections(_results(database, source)))
    for row in _pages(database, query):
        is_open = row.verdict is None or not row.is_unchanged  # or it has changed since
        if is_open and group_of(row) not in labelled:
            answers[row.label_1].add(row)
    return answers


def _take_turns(answers: dict[str, _Answer], done: Counter[str], count: int) -> list[int]:
    turns = {label: answer.in_turn() for label, answer in answers.items()}
    taken: dict[str, int] = {}
    while turns and len(taken) < count:
        label = min(turns, key=lambda each: (done[each], -answers[each].images, each))
        found = next((each for each in turns[label] if each[2] not in taken), None)
        if found is None:
            del turns[label]
            continue
        taken[found[2]] = found[1]
        done[label] += 1
    return list(taken.values())
