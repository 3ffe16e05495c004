"""What a report tells: one run, the answers that hold now or that the run found, samples of them, what moved.

Everything here is plain data, gathered by few queries; `cataloger.report_pictures` adds the pictures and
`cataloger.report_page` makes the page.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, func, select

from cataloger.db.database import Database
from cataloger.db.models import Model, Run, RunSource
from cataloger.db.models import Source as SourceRow
from cataloger.diff import Difference, Summary, compare
from cataloger.errors import UsageError
from cataloger.report_answers import BINS, Answers, Origin, Shown
from cataloger.report_products import Disagreement, disagreements
from cataloger.run_records import RunRecord, find_run

COMMANDS = ("tag", "sync")
THUMBNAILS = 600
LEAST = 24
FAILURES = 20
MOVED = 12
LEAST_SHARE = 2 / 3
"""Of a gallery; the others are spread over the rest of the confidences."""

Progress = Callable[[str, int], None]


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """What to report on. run_id: None for what holds now. source: root of one source of the run. images: thumbnails
    a category.
    """

    run_id: int | None = None
    source: str | None = None
    images: int = 12

    def __post_init__(self) -> None:
        if not 0 <= self.images <= 100:
            raise UsageError(f"--images must be between 0 and 100, not {self.images}")


@dataclass(frozen=True, slots=True)
class Category:
    """Images of a category. decisions: how many answers are accepted, to be reviewed, abstained from."""

    label: str
    images: int
    decisions: dict[str, int]
    shown: tuple[Shown, ...] = ()


@dataclass(frozen=True, slots=True)
class Failures:
    """Images that failed for one reason, and the first of them."""

    code: str
    images: int
    examples: tuple[Shown, ...]


@dataclass(frozen=True, slots=True)
class Moved:
    """An image whose category moved. item_id: None where the image is not there any more."""

    difference: Difference
    item_id: int | None


@dataclass(frozen=True, slots=True)
class Moves:
    """What moved since an earlier run. counts: images by what became of them. moves: (before, after, images)."""

    since: RunRecord
    counts: dict[str, int]
    moves: tuple[tuple[str, str, int], ...]
    examples: tuple[Moved, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """What a page shows. holds_now: the answers are those that hold now, else those that the run found itself.

    histogram: images by confidence, BINS bins from 0 to 1. moves: None if there is no earlier run to compare with.
    """

    run: RunRecord
    holds_now: bool
    sources: tuple[Origin, ...]
    images: int
    failed: int
    decisions: dict[str, int]
    categories: tuple[Category, ...]
    histogram: tuple[int, ...]
    failures: tuple[Failures, ...]
    least: tuple[Shown, ...]
    disagreeing: int
    products: tuple[Disagreement, ...]
    moves: Moves | None

    @property
    def tagged(self) -> int:
        """Images with an answer."""
        return self.images - self.failed

    def coverage(self) -> tuple[float, ...]:
        """Return the shares of the answers with at least the confidences 0, 1 / BINS, ..., 1."""
        total = sum(self.histogram)
        return tuple(sum(self.histogram[start:]) / total if total else 0.0 for start in range(BINS + 1))

    def shown_items(self) -> Iterator[tuple[int, str | None]]:
        """Yield item id and content hash of every image of the page, the least confident first; some come twice."""
        groups = (self.least, *(category.shown for category in self.categories))
        for shown in (each for group in groups for each in group):
            if shown.item_id is not None:
                yield shown.item_id, shown.content_hash
        for product in self.products:
            yield from ((image.item_id, None) for image in product.images)
        for moved in self.moves.examples if self.moves else ():
            if moved.item_id is not None:
                yield moved.item_id, None

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        moves = self.moves and {
            "since": self.moves.since.id,
            "counts": self.moves.counts,
            "moves": [{"before": old, "after": new, "images": count} for old, new, count in self.moves.moves],
            "examples": [each.difference.as_json() for each in self.moves.examples],
        }
        names = ("holds_now", "images", "failed", "decisions", "histogram", "disagreeing")
        lists = ("sources", "categories", "failures", "least", "products")
        return {
            "run": self.run.as_json(),
            **{name: getattr(self, name) for name in names},
            "coverage": self.coverage(),
            **{name: [asdict(each) for each in getattr(self, name)] for name in lists},
            "moves": moves,
        }


def gather(database: Database, options: ReportOptions, progress: Progress = lambda _what, _count: None) -> Report:
    """Return what there is to tell of a run. Raises UsageError for a run that has tagged nothing.

    progress: told what is being done, and of how many images so far.
    """
    run = _run(database, options.run_id)
    origins = _origins(database, run, options)
    answers = Answers(database, origins, options.run_id)
    progress("counting", 0)
    rows = answers.overview()
    failed = Counter[str]()
    for row in rows:
        failed[row.error_code] += row.images if row.status == "failed" else 0
    progress("choosing images", 0)
    total, products = disagreements(database, origins) if options.run_id is None else (0, ())
    return Report(
        run=run,
        holds_now=options.run_id is None,
        sources=origins,
        images=sum(row.images for row in rows),
        failed=failed.total(),
        decisions=_count(rows, "decision"),
        categories=_categories(answers, rows, options.images),
        histogram=_histogram(rows),
        failures=_failures(answers, +failed),
        least=tuple(answers.least_confident(LEAST)),
        disagreeing=total,
        products=tuple(products),
        moves=_moves(database, run, answers, progress),
    )


def _run(database: Database, run_id: int | None) -> RunRecord:
    """Return a run that has tagged something: the newest one that counts, if none is named."""
    query = select(func.max(Run.id)).join(RunSource, RunSource.run_id == Run.id)
    newest = query.where(Run.command.in_(COMMANDS), Run.undone_by_id.is_(None))
    wanted = run_id or database.run(lambda connection: connection.scalar(newest), read_only=True)
    if wanted is None:
        raise UsageError("there is no run of `cataloger tag` or `sync` to report on yet")
    run = find_run(database, wanted)
    if run.command not in COMMANDS or not run.sources:
        raise UsageError(f"run {run.id} (`cataloger {run.command}`) has tagged nothing: name a run of tag or sync")
    return run


def _origins(database: Database, run: RunRecord, options: ReportOptions) -> tuple[Origin, ...]:
    """Return the sources of a run, each with the model that is pinned now, or that the run pinned."""
    weights = RunSource.weights_id if options.run_id is not None else SourceRow.weights_id
    query = (
        select(
            SourceRow.id, SourceRow.kind, SourceRow.name, Model.weights_id, Model.name.label("model"), Model.version
        )
        .join(RunSource, RunSource.source_id == SourceRow.id)
        .join(Model, Model.weights_id == weights)
        .where(RunSource.run_id == run.id)
        .order_by(SourceRow.id)
    )
    rows = database.run(lambda connection: connection.execute(query).all(), read_only=True)
    origins = [Origin(row.id, row.kind, row.name, row.weights_id, f"{row.model} {row.version}") for row in rows]
    found = tuple(each for each in origins if options.source in (None, each.name))
    if not found:
        names = ", ".join(each.name for each in origins)
        raise UsageError(f"run {run.id} has no source {options.source}; it has {names}")
    return found


def _count(rows: Sequence[Any], name: str) -> dict[str, int]:
    """Count the images with an answer by a column."""
    counted = Counter[str]()
    for row in rows:
        if row.status == "ok" and getattr(row, name) is not None:
            counted[getattr(row, name)] += row.images
    return dict(counted.most_common())


def _histogram(rows: Sequence[Any]) -> tuple[int, ...]:
    counted = Counter[int]()
    for row in rows:
        if row.status == "ok" and row.bin is not None:
            counted[int(row.bin)] += row.images
    return tuple(counted[number] for number in range(BINS))


def _categories(answers: Answers, rows: Sequence[Any], images: int) -> tuple[Category, ...]:
    counts = _count(rows, "label_1")
    shown = min(images, max(1, THUMBNAILS // max(1, len(counts))))
    with_gallery = list(counts.items())[:THUMBNAILS]
    galleries = answers.at_places({label: places(count, shown) for label, count in with_gallery})
    decisions = {label: _count([row for row in rows if row.label_1 == label], "decision") for label in counts}
    return tuple(
        Category(label, count, decisions[label], tuple(galleries.get(label, ()))) for label, count in counts.items()
    )


def places(count: int, shown: int) -> list[int]:
    """Return which of `count` images, sorted by confidence, a gallery shows: the first, and some evenly spread."""
    if count <= shown:
        return list(range(1, count + 1))
    first = round(shown * LEAST_SHARE)
    spread = shown - first
    return [*range(1, first + 1), *(first + (count - first) * number // spread for number in range(1, spread + 1))]


def _failures(answers: Answers, counts: Counter[str]) -> tuple[Failures, ...]:
    examples: dict[str, list[Shown]] = {}
    for shown in answers.failures(FAILURES) if counts else ():
        examples.setdefault(str(shown.error_code), []).append(shown)
    return tuple(Failures(code, count, tuple(examples.get(code, ()))) for code, count in counts.most_common())


def _moves(database: Database, run: RunRecord, answers: Answers, progress: Progress) -> Moves | None:
    """Compare with the run before; None where there is none whose history is whole."""
    ids = [origin.id for origin in answers.origins]
    before = database.run(lambda connection: _run_before(connection, run.id, ids), read_only=True)
    if before is None or run.pruned:
        return None
    summary, names = Summary(MOVED), {origin.name for origin in answers.origins}
    for number, difference in enumerate(compare(database, before, run.id, products=False)):
        if difference.source in names:
            summary.add(difference)
        if number % 1000 == 0:
            progress("comparing with the run before", number)
    part = summary.parts["image"]
    items = answers.named([(each.source, each.key) for each in summary.moved])
    return Moves(
        since=find_run(database, before),
        counts=dict(part.changes),
        moves=tuple((old, new, count) for (old, new), count in part.moves.most_common(10)),
        examples=tuple(Moved(each, items.get((each.source, each.key))) for each in summary.moved),
    )


def _run_before(connection: Connection, run_id: int, sources: Sequence[int]) -> int | None:
    query = (
        select(func.max(Run.id))
        .join(RunSource, RunSource.run_id == Run.id)
        .where(Run.id < run_id, Run.command.in_(COMMANDS), Run.undone_by_id.is_(None), Run.pruned.is_(False))
    )
    return connection.scalar(query.where(RunSource.source_id.in_(sources)))
