"""The content of a report: one run, the current answers or those of the run, samples of them, changes.

Everything here is plain data, gathered by few queries; `cataloger.report.images` adds the pictures and
`cataloger.report.html` makes the page.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import exists, select

from cataloger.corrections import MeasuredAccept, measure_accept
from cataloger.db import Database
from cataloger.errors import UsageError
from cataloger.ledger import TAGGING, RunRecord, find_run, source_model
from cataloger.report.changes import Moves, Progress, moves_since
from cataloger.report.disagreements import Disagreement, disagreements
from cataloger.report.queries import BINS, AnswerQueries, CurrentAnswers, Origin, ReportImage, RunAnswers
from cataloger.report.reviewers import Author, CategoryAccuracy, accuracy_by_category, authors
from cataloger.schema import ModelRow, RunRow, RunSourceRow, SourceRow

THUMBNAILS = 600
LEAST = 24
FAILURES = 20
RUNS = 1000
"""How far back the last run that has found something is looked for."""
FOUND = ("done", "failed", "gone", "returned", "forgotten", "recomputed")
"""Counts of a run, of which one is not 0 where it has found something."""
LEAST_SHARE = 2 / 3
"""Of a gallery; the others are spread over the rest of the confidences."""


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """What to report on. run_id: None for current results. source: root of one source of the run. images: thumbnails
    per category.
    """

    run_id: int | None = None
    source: str | None = None
    images: int = 12

    def __post_init__(self) -> None:
        if not 0 <= self.images <= 100:
            raise UsageError(f"--images must be between 0 and 100, not {self.images}")


@dataclass(frozen=True, slots=True)
class ReportCategory:
    """Images of a category. decisions: how many answers are accepted, to be reviewed, abstained from.

    accuracy: of the model in this category, by corrections; None without one.
    """

    label: str
    images: int
    decisions: dict[str, int]
    shown: tuple[ReportImage, ...] = ()
    accuracy: CategoryAccuracy | None = None


@dataclass(frozen=True, slots=True)
class Failures:
    """Images that failed for one reason, and the first of them."""

    code: str
    images: int
    examples: tuple[ReportImage, ...]


@dataclass(frozen=True, slots=True)
class CatalogReport:
    """What a page shows. holds_now: the answers are the current ones, else those of the run.

    no_product: images marked as no product. said: images corrected to a category. histogram: the others by
    confidence, BINS bins from 0 to 1. authors: of the current corrections. moves: None if there is no earlier run
    to compare with; week: those of a week, up to the latest run. measured: what is known of accept in each source,
    where its current results have decisions. latest: the latest run, if it is another one, which has found nothing.
    """

    run: RunRecord
    holds_now: bool
    sources: tuple[Origin, ...]
    images: int
    failed: int
    no_product: int
    said: int
    decisions: dict[str, int]
    categories: tuple[ReportCategory, ...]
    histogram: tuple[int, ...]
    failures: tuple[Failures, ...]
    least: tuple[ReportImage, ...]
    disagreeing: int
    products: tuple[Disagreement, ...]
    authors: tuple[Author, ...]
    moves: Moves | None
    measured: tuple[MeasuredAccept, ...] = ()
    week: Moves | None = None
    latest: RunRecord | None = None

    @property
    def tagged(self) -> int:
        """Images with a category."""
        return self.images - self.failed - self.no_product

    @property
    def everybody(self) -> Author:
        """All authors together."""
        sums = (sum(getattr(each, name) for each in self.authors) for name in Author.__slots__[1:])
        return Author("all", *sums)

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
            if moved.difference.item_id is not None:
                yield moved.difference.item_id, None

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        names = ("holds_now", "images", "failed", "no_product", "said", "decisions", "histogram", "disagreeing")
        lists = ("sources", "categories", "failures", "least", "products")
        return {
            "run": self.run.as_json(),
            **{name: getattr(self, name) for name in names},
            "coverage": self.coverage(),
            **{name: [asdict(each) for each in getattr(self, name)] for name in lists},
            "authors": [each.as_json() for each in self.authors],
            "moves": self.moves and self.moves.as_json(),
            "week": self.week and self.week.as_json(),
            "latest": self.latest and self.latest.as_json(),
            "measured": [each.as_json() for each in self.measured],
        }


def gather_report(
    database: Database, options: ReportOptions, progress: Progress = lambda _what, _count: None
) -> CatalogReport:
    """Gather the report of a run. Raises UsageError for a run that has tagged nothing.

    progress: callback that receives the current step, and the number of images so far.
    """
    run, latest = _runs(database, options.run_id)
    origins = _origins(database, run, options)
    answers = _answers(database, origins, options.run_id)
    progress("counting", 0)
    rows = answers.overview()
    failed = Counter[str]()
    for row in rows:
        failed[row.error_code] += row.images if row.status == "failed" else 0
    progress("choosing images", 0)
    total, products = disagreements(answers)
    decisions = _count(rows, "decision")
    moves, week = moves_since(answers, run, latest or run, progress)
    return CatalogReport(
        run=run,
        holds_now=options.run_id is None,
        sources=origins,
        images=sum(row.images for row in rows),
        failed=failed.total(),
        no_product=sum(row.images for row in rows if row.status == "ok" and row.label_1 is None),
        said=sum(row.images for row in rows if row.status == "ok" and row.label_1 is not None and row.is_said),
        decisions=decisions,
        categories=_categories(answers, rows, options.images),
        histogram=_histogram(rows),
        failures=_failures(answers, +failed),
        least=tuple(answers.least_confident(LEAST)),
        disagreeing=total,
        products=tuple(products),
        authors=authors(answers),
        moves=moves,
        measured=_measured(database, origins) if decisions and options.run_id is None else (),
        week=week,
        latest=latest,
    )


def _measured(database: Database, origins: Sequence[Origin]) -> tuple[MeasuredAccept, ...]:
    """Measure what is accepted in each source whose model has thresholds, or may have some."""
    models = ((each.id, source_model(database, each.id, each.weights_id)) for each in origins)
    return tuple(
        measure_accept(database, source_id, model)
        for source_id, model in models
        if model.calibration is None or model.calibration.base.target_precision is not None
    )


def _answers(database: Database, origins: Sequence[Origin], run_id: int | None) -> AnswerQueries:
    return CurrentAnswers(database, origins) if run_id is None else RunAnswers(database, origins, run_id)


def _runs(database: Database, run_id: int | None) -> tuple[RunRecord, RunRecord | None]:
    """Return a run that has tagged something: without a number, the newest that found anything and is not undone.

    Second: the newest of all where that found nothing, as after a night in which nothing was new.
    """
    if run_id is not None:
        return _tagging(find_run(database, run_id)), None
    query = select(RunRow.id, RunRow.counts).where(RunRow.command.in_(TAGGING), RunRow.undone_by_id.is_(None))
    query = query.where(exists().where(RunSourceRow.run_id == RunRow.id)).order_by(RunRow.id.desc())
    runs = database.rows(query.limit(RUNS))
    if not runs:
        raise UsageError("there is no run of `cataloger tag` or `sync` to report on yet")
    newest = runs[0].id
    found = next((row.id for row in runs if _has_found_something(row.counts)), newest)
    return find_run(database, found), None if found == newest else find_run(database, newest)


def _has_found_something(counts: dict[str, Any] | None) -> bool:
    """True for a run that has changed an answer or what is present, or is not over yet; not for one that only tried
    again what had failed before."""
    if counts is None:
        return True
    failed_again = "failed" if set(counts.get("planned_by_reason") or ()) == {"retry"} else None
    return any(counts.get(name) for name in FOUND if name != failed_again)


def _tagging(run: RunRecord) -> RunRecord:
    if run.command not in TAGGING or not run.sources:
        raise UsageError(f"run {run.id} (`cataloger {run.command}`) has tagged nothing: name a run of tag or sync")
    return run


def _origins(database: Database, run: RunRecord, options: ReportOptions) -> tuple[Origin, ...]:
    """Return the sources of a run, each with the model that is pinned now, or that the run pinned."""
    weights = RunSourceRow.weights_id if options.run_id is not None else SourceRow.weights_id
    query = (
        select(
            SourceRow.id,
            SourceRow.kind,
            SourceRow.name,
            ModelRow.weights_id,
            ModelRow.name.label("model"),
            ModelRow.version,
        )
        .join(RunSourceRow, RunSourceRow.source_id == SourceRow.id)
        .join(ModelRow, ModelRow.weights_id == weights)
        .where(RunSourceRow.run_id == run.id)
        .order_by(SourceRow.id)
    )
    origins = [
        Origin(row.id, row.kind, row.name, row.weights_id, f"{row.model} {row.version}")
        for row in database.rows(query)
    ]
    found = tuple(each for each in origins if options.source in (None, each.name))
    if not found:
        names = ", ".join(each.name for each in origins)
        raise UsageError(f"run {run.id} has no source {options.source}; it has {names}")
    return found


def _count(rows: Sequence[Any], name: str) -> dict[str, int]:
    """Count the images with a category by a column."""
    counted = Counter[str]()
    for row in rows:
        if row.status == "ok" and row.label_1 is not None and getattr(row, name) is not None:
            counted[getattr(row, name)] += row.images
    return dict(_most_first(counted))


def _most_first(counted: Counter[str]) -> list[tuple[str, int]]:
    """Sort counts, equal ones by name: databases give groups in an order of their own."""
    return sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))


def _histogram(rows: Sequence[Any]) -> tuple[int, ...]:
    counted = Counter[int]()
    for row in rows:
        if row.status == "ok" and row.bin is not None and not row.is_said:
            counted[int(row.bin)] += row.images
    return tuple(counted[number] for number in range(BINS))


def _categories(answers: AnswerQueries, rows: Sequence[Any], images: int) -> tuple[ReportCategory, ...]:
    counts = _count(rows, "label_1")
    shown = min(images, max(1, THUMBNAILS // max(1, len(counts))))
    with_gallery = list(counts.items())[:THUMBNAILS]
    galleries = answers.at_places({label: places(count, shown) for label, count in with_gallery})
    decisions = {label: _count([row for row in rows if row.label_1 == label], "decision") for label in counts}
    accuracy = accuracy_by_category(answers)
    return tuple(
        ReportCategory(label, count, decisions[label], tuple(galleries.get(label, ())), accuracy.get(label))
        for label, count in counts.items()
    )


def places(count: int, shown: int) -> list[int]:
    """Return which of `count` images, sorted by confidence, a gallery shows: the first, and some evenly spread."""
    if count <= shown:
        return list(range(1, count + 1))
    first = round(shown * LEAST_SHARE)
    spread = shown - first
    return [*range(1, first + 1), *(first + (count - first) * number // spread for number in range(1, spread + 1))]


def _failures(answers: AnswerQueries, counts: Counter[str]) -> tuple[Failures, ...]:
    examples: dict[str, list[ReportImage]] = {}
    for shown in answers.failures(FAILURES) if counts else ():
        examples.setdefault(str(shown.error_code), []).append(shown)
    return tuple(Failures(code, count, tuple(examples.get(code, ()))) for code, count in _most_first(counts))
