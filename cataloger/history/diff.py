"""What changed between two runs: the answers for images and products that were current after each of them.

Not only what a run itself recorded is compared, so that a nightly run that tagged three images is compared by all of
them; two models are compared on the images that both have tagged.
"""

import heapq
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import Connection, select

from cataloger.db import AnyRow, Database, slices
from cataloger.errors import UsageError
from cataloger.inference import combine
from cataloger.ledger import ANSWER, answer_of, effective_results, source_model
from cataloger.schema import ItemPresenceRow, ItemRow, ResultRow, RunRow, RunSourceRow, SourceRow, paged_source_id

IDS_PER_READ = 1000
COLUMNS = [getattr(ResultRow, name) for name in ANSWER]


Kind = Literal["image", "product"]
Change = Literal["same", "moved", "new", "gone", "failed", "recovered"]


@dataclass(frozen=True, slots=True)
class PastAnswer:
    """The answer that was current: the best label and its confidence; None for an image that failed."""

    label: str | None
    confidence: float | None


@dataclass(frozen=True, slots=True)
class Difference:
    """One image or product that had an answer after at least one of the runs. key: of a product, its own.

    item_id: of an image.
    """

    kind: Kind
    source: str
    key: str
    product_key: str | None
    before: PastAnswer | None
    after: PastAnswer | None
    item_id: int | None = None

    @property
    def change(self) -> Change:
        """The kind of change. An image that failed before and after is the same."""
        if self.before is None or self.after is None:
            return "new" if self.before is None else "gone"
        if self.before.label == self.after.label:
            return "same"
        if self.before.label is None:
            return "recovered"
        return "failed" if self.after.label is None else "moved"

    @property
    def confidence_change(self) -> float:
        """How the confidence changed, where the label did not."""
        if self.change != "same" or self.before is None or self.after is None or self.before.label is None:
            return 0.0
        return (self.after.confidence or 0.0) - (self.before.confidence or 0.0)

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values, which are the columns of the CSV, too."""
        before, after = self.before or PastAnswer(None, None), self.after or PastAnswer(None, None)
        return {
            "kind": self.kind,
            "change": self.change,
            "source": self.source,
            "key": self.key,
            "product_key": self.product_key,
            "before": before.label,
            "before_confidence": before.confidence,
            "after": after.label,
            "after_confidence": after.confidence,
        }


@dataclass(slots=True)
class Part:
    """The changes of the images, or of the products. moves: (before, after) -> how many."""

    changes: Counter[str] = field(default_factory=Counter)
    before: Counter[str] = field(default_factory=Counter)
    after: Counter[str] = field(default_factory=Counter)
    moves: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, difference: Difference) -> None:
        """Count one more."""
        self.changes[difference.change] += 1
        before = difference.before and difference.before.label
        after = difference.after and difference.after.label
        if before:
            self.before[before] += 1
        if after:
            self.after[after] += 1
        if before and after and before != after:
            self.moves[before, after] += 1

    def churn(self) -> list[dict[str, Any]]:
        """Return for each category how many it had, lost to others, gained from others and has; most churn first."""
        left, arrived = Counter[str](), Counter[str]()
        for (before, after), count in self.moves.items():
            left[before] += count
            arrived[after] += count
        labels = sorted(
            self.before.keys() | self.after.keys(), key=lambda label: (-left[label] - arrived[label], label)
        )
        return [
            {
                "category": label,
                "before": self.before[label],
                "left": left[label],
                "arrived": arrived[label],
                "after": self.after[label],
            }
            for label in labels
        ]

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "compared": self.changes.total(),
            **{name: self.changes[name] for name in ("same", "moved", "new", "gone", "failed", "recovered")},
            "churn": self.churn(),
            "moves": [
                {"before": before, "after": after, "count": count}
                for (before, after), count in self.moves.most_common()
            ],
        }


class DifferenceSummary:
    """The differences between two runs. Keeps `limit` examples, so that memory does not depend on their number."""

    def __init__(self, limit: int) -> None:
        self.parts: dict[Kind, Part] = {"image": Part(), "product": Part()}
        self._limit = limit
        self._moved: list[tuple[float, int, Difference]] = []
        self._shifted: list[tuple[float, int, Difference]] = []
        self._numbers = itertools.count()

    def add(self, difference: Difference) -> None:
        """Count one more."""
        self.parts[difference.kind].add(difference)
        if difference.change == "moved" and difference.after:
            self._push(self._moved, difference.after.confidence or 0.0, difference)
        elif difference.confidence_change:
            self._push(self._shifted, abs(difference.confidence_change), difference)

    @property
    def moved(self) -> list[Difference]:
        """Those whose category moved, the most confident first."""
        return [each for _, _, each in sorted(self._moved, reverse=True)]

    @property
    def shifted(self) -> list[Difference]:
        """The biggest changes of confidence where the category stayed."""
        return [each for _, _, each in sorted(self._shifted, reverse=True)]

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "images": self.parts["image"].as_json(),
            "products": self.parts["product"].as_json(),
            "moved": [each.as_json() for each in self.moved],
            "confidence_changes": [each.as_json() for each in self.shifted],
        }

    def _push(self, heap: list[tuple[float, int, Difference]], weight: float, difference: Difference) -> None:
        entry = (weight, -next(self._numbers), difference)
        if len(heap) < self._limit:
            heapq.heappush(heap, entry)
        elif self._limit:
            heapq.heappushpop(heap, entry)


@dataclass(frozen=True, slots=True)
class RunSide:
    """One of the two runs, over one source."""

    run_id: int
    weights_id: str


def compare(database: Database, before: int, after: int, *, products: bool = True) -> Iterator[Difference]:
    """Yield every image and, if wanted, product of the sources that both runs have worked on. Raises UsageError."""
    shared = database.fetch(_shared, before, after)
    for source_id, (root, old, new) in shared.items():
        yield from _images(database, source_id, root, (old, new))
        if products:
            yield from _products(database, source_id, root, (old, new))


def _shared(connection: Connection, before: int, after: int) -> dict[int, tuple[str, RunSide, RunSide]]:
    sides = {run_id: _sides(connection, run_id) for run_id in (before, after)}
    both = sides[before].keys() & sides[after].keys()
    if not both:
        raise UsageError(f"runs {before} and {after} have no source in common: there is nothing to compare")
    roots = connection.execute(
        select(SourceRow.id, SourceRow.root).where(SourceRow.id.in_(both)).order_by(SourceRow.id)
    )
    return {row.id: (row.root, sides[before][row.id], sides[after][row.id]) for row in roots}


def _sides(connection: Connection, run_id: int) -> dict[int, RunSide]:
    run = connection.execute(select(RunRow.command, RunRow.pruned).where(RunRow.id == run_id)).one_or_none()
    if run is None:
        raise UsageError(f"there is no run {run_id}; `cataloger runs list` shows them")
    rows = connection.execute(
        select(RunSourceRow.source_id, RunSourceRow.weights_id).where(RunSourceRow.run_id == run_id)
    ).all()
    if not rows:
        raise UsageError(f"run {run_id} (`cataloger {run.command}`) has tagged nothing: name a run of tag or sync")
    if run.pruned:
        raise UsageError(f"run {run_id} cannot be compared: `cataloger runs prune` has deleted its history")
    return {row.source_id: RunSide(run_id, row.weights_id) for row in rows}


def _images(database: Database, source_id: int, root: str, sides: tuple[RunSide, RunSide]) -> Iterator[Difference]:
    query = select(ItemRow.id, ItemRow.key, ItemRow.product_key).where(paged_source_id(database) == source_id)
    last = 0
    while True:
        page = query.where(ItemRow.id > last).order_by(ItemRow.id).limit(IDS_PER_READ)
        rows, old, new = database.fetch(_read_page, page, sides)
        if not rows:
            return
        for row in rows:
            before, after = _answer(old.get(row.id)), _answer(new.get(row.id))
            if _is_compared(before, after, sides):
                yield Difference("image", root, row.key, row.product_key, before, after, row.id)
        last = rows[-1].id


def _products(database: Database, source_id: int, root: str, sides: tuple[RunSide, RunSide]) -> Iterator[Difference]:
    """Recompute the answers for products: those that a run recorded may depend on one that was undone since."""
    models = {side: source_model(database, source_id, side.weights_id, until=side.run_id) for side in sides}
    mine = (ItemRow.source_id == source_id) & ItemRow.product_hash.is_not(None)
    hashes = select(ItemRow.product_hash).where(mine).distinct().order_by(ItemRow.product_hash).limit(IDS_PER_READ)
    columns = (
        select(ItemRow.id, ItemRow.product_hash, ItemRow.product_key, ItemRow.department)
        .where(mine)
        .order_by(ItemRow.product_hash, ItemRow.id)
    )
    last = ""
    while products := database.scalars(hashes.where(ItemRow.product_hash > last)):
        page = columns.where(ItemRow.product_hash.in_(products))
        rows, old, new = database.fetch(_read_page, page, sides)
        for _, group in itertools.groupby(rows, key=lambda row: row.product_hash):
            images = list(group)
            before, after = (
                _combined(
                    [current[row.id] for row in images if row.id in current],
                    models[side].labels_of(images[0].department),
                )
                for current, side in zip((old, new), sides, strict=True)
            )
            if _is_compared(before, after, sides):
                key = images[0].product_key
                yield Difference("product", root, key, key, before, after)
        last = products[-1]


def _is_compared(before: PastAnswer | None, after: PastAnswer | None, sides: tuple[RunSide, RunSide]) -> bool:
    """True when there is something to compare: of two models, what both have answered for."""
    if sides[0].weights_id == sides[1].weights_id:
        return before is not None or after is not None
    return before is not None and after is not None


def _answer(row: AnyRow | None) -> PastAnswer | None:
    return None if row is None else PastAnswer(row.label_1, row.confidence_1)


def _combined(rows: Sequence[AnyRow], labels: Sequence[str]) -> PastAnswer | None:
    """Return the answer for a product from the current results of its images; None if none of them is good."""
    good = [answer_of(row) for row in rows if row.error_code is None]
    if not good:
        return None
    answer = combine(good, labels).answer
    return PastAnswer(answer.labels[0], answer.confidences[0])


def _read_page(
    connection: Connection, page: Any, sides: tuple[RunSide, RunSide]
) -> tuple[Sequence[AnyRow], dict[int, AnyRow], dict[int, AnyRow]]:
    """Return the images of a page, and their current results after each run."""
    rows = connection.execute(page).all()
    ids = [row.id for row in rows]
    old, new = (_current_after(connection, ids, side) for side in sides)
    return rows, old, new


def _current_after(connection: Connection, items: Sequence[int], side: RunSide) -> dict[int, AnyRow]:
    """Return the result of each image that was current after a run, if the image was in the views."""
    found: dict[int, AnyRow] = {}
    for page in slices(items, IDS_PER_READ):
        found |= _current_of_page(connection, page, side)
    return found


def _current_of_page(connection: Connection, items: Sequence[int], side: RunSide) -> dict[int, AnyRow]:
    query = (
        select(ResultRow.id, ResultRow.item_id, ResultRow.error_code, ResultRow.content_hash, *COLUMNS)
        .join(RunRow, RunRow.id == ResultRow.run_id)
        .where(ResultRow.item_id.in_(items), ResultRow.weights_id == side.weights_id, _until(ResultRow.run_id, side))
        .order_by(ResultRow.id)
    )
    rows = connection.execute(query).all()
    by_id = {row.id: row for row in rows}
    missing = _missing(connection, items, side)
    current = effective_results.fold(rows).items()
    return {item_id: by_id[result_id] for item_id, (result_id, _) in current if item_id not in missing}


def _missing(connection: Connection, items: Sequence[int], side: RunSide) -> set[int]:
    query = (
        select(ItemPresenceRow.item_id, ItemPresenceRow.is_gone)
        .join(RunRow, RunRow.id == ItemPresenceRow.run_id)
        .where(ItemPresenceRow.item_id.in_(items), _until(ItemPresenceRow.run_id, side))
        .order_by(ItemPresenceRow.run_id)
    )
    last = {row.item_id: row.is_gone for row in connection.execute(query)}
    return {item_id for item_id, is_gone in last.items() if is_gone}


def _until(run_id: Any, side: RunSide) -> Any:
    """Return the condition for what had happened by the end of a run; of runs undone later, only of itself."""
    return (run_id <= side.run_id) & (effective_results.is_effective() | (RunRow.id == side.run_id))
