"""Whether the answers of a run have drifted: compared with an earlier run, or with a model's own data.

Only what a run itself has tagged is compared. The database counts: what comes out of it does not grow
with the catalog.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, case, exists, func, or_, select

from cataloger.db import AnyRow, Database
from cataloger.drift.statistics import ANSWERS, CELLS, EDGES, CategoryShift, Measure, Profile, categories, judge
from cataloger.errors import UsageError
from cataloger.ledger import TAGGING, RunRecord, find_run, known_model
from cataloger.model import MANIFEST, Bundle, read_bundle, refusal, resolve_bundle_path
from cataloger.options import DriftLimits
from cataloger.schema import ItemRow, ResultRow, RunRow, RunSourceRow, SourceRow

PREVIOUS = "previous"
NAMED = 10


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """What to compare. against: PREVIOUS, the number of a run, or a model. run: None for the newest finished one.

    source: only this one of the run's; None for all of them.
    """

    against: str = PREVIOUS
    run: int | None = None
    source: str | None = None
    limits: DriftLimits = field(default_factory=DriftLimits)


@dataclass(frozen=True, slots=True)
class ComparedSide:
    """One of the two that are compared. run: its number, None for a model. identities: weights and calibrations."""

    title: str
    run: int | None
    models: tuple[str, ...]
    labels: frozenset[str]
    profile: Profile
    identities: frozenset[tuple[str, str]]

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"title": self.title, "run": self.run, "models": list(self.models), **self.profile.to_json()}


@dataclass(frozen=True, slots=True)
class CheckReport:
    """The result of a comparison. reference: None if there is none yet. categories: those that moved most, first."""

    now: ComparedSide
    reference: ComparedSide | None
    measures: tuple[Measure, ...] = ()
    categories: tuple[CategoryShift, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def drifted(self) -> tuple[Measure, ...]:
        """The measures that are over their limits, and not by chance."""
        return tuple(measure for measure in self.measures if measure.verdict == "drifted")

    @property
    def verdict(self) -> str:
        """The result in one line."""
        if self.reference is None:
            return (
                f"{self.now.title}: nothing to compare with yet: no earlier run of the same sources has tagged images"
            )
        pair = f"{self.now.title} against {self.reference.title}"
        if self.drifted:
            return f"{pair}: drifted: {'; '.join(measure.reason for measure in self.drifted)}"
        judged = [measure for measure in self.measures if measure.drift is not None]
        return f"{pair}: {'no drift' if judged else 'too few images to judge'}"

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "verdict": self.verdict,
            "drifted": [measure.name for measure in self.drifted],
            "now": self.now.as_json(),
            "reference": self.reference and self.reference.as_json(),
            "measures": [asdict(measure) for measure in self.measures],
            "categories": [asdict(category) for category in self.categories],
            "notes": list(self.notes),
        }


def check_run(database: Database, options: CheckOptions) -> CheckReport:
    """Compare a run with a reference. Raises UsageError or BundleError for what cannot be compared."""
    run = _run_to_check(database, options)
    sources = _sources(database, run, options.source)
    notes = _newer(database, run, sources) if options.run is None else []
    if options.against == PREVIOUS or options.against.isdecimal():
        other = _reference_run(database, run, sources, options)
        if other is None:
            return CheckReport(_side(database, run, sources), None, notes=tuple(notes))
        sources, left_out = _shared(database, other, sources)
        notes += [f"not in run {other.id}, and left out: {root}" for root in left_out]
        reference = _side(database, other, sources)
    else:
        reference = side_of_bundle(read_bundle(resolve_bundle_path(options.against), check=()))
    now = _side(database, run, sources)
    return CheckReport(
        now,
        reference,
        judge(reference.profile, now.profile, options.limits),
        tuple(categories(reference.profile, now.profile)),
        (*notes, *_differences(reference, now)),
    )


def side_of_bundle(bundle: Bundle) -> ComparedSide:
    """Return what a bundle records of its answers. Raises UsageError if it does not, BundleError if it is damaged."""
    if ANSWERS not in bundle.provenance:
        raise UsageError(
            f"{bundle.title} in {bundle.path} has no record of its answers, because an older version made "
            f"it: `cataloger calibrate LABELS --model {bundle.path} --output DIR` makes a copy that has one; or "
            "compare with a run"
        )
    try:
        profile = Profile.from_json(bundle.provenance[ANSWERS])
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        remedy = "its record of answers is damaged, calibrate it again"
        raise refusal(bundle.path / MANIFEST, repr(error), field=f"provenance.{ANSWERS}", remedy=remedy) from error
    identity = bundle.weights_id, bundle.calibration_id
    title = f"the labelled images of {bundle.title}"
    return ComparedSide(title, None, (bundle.title,), frozenset(bundle.labels), profile, frozenset([identity]))


def _run_to_check(database: Database, options: CheckOptions) -> RunRecord:
    if options.run is not None:
        return _usable(find_run(database, options.run))
    query = _finished().order_by(RunRow.id.desc()).limit(1)
    if options.source is not None:
        query = query.where(RunRow.id.in_(_runs_of(_is_source(options.source))))
    newest = database.scalar(query.where(_found_something()))
    if newest is None:  # no run has: the newest one says that there is nothing to compare
        newest = database.scalar(query)
    if newest is None:
        where = f" of {options.source}" if options.source is not None else ""
        raise UsageError(
            f"{database.name} has no finished run of tag or sync{where} to check; `cataloger runs list` shows all"
        )
    return find_run(database, newest)


def _usable(run: RunRecord) -> RunRecord:
    """Return a run that a person has named. Raises UsageError for one whose own answers cannot be compared."""
    reasons = (
        (run.command not in TAGGING, f"`cataloger {run.command}` tags no images"),
        (run.outcome is None, "it is still running"),
        (run.outcome != "done", f"it ended as {run.outcome}, so part of its images is missing"),
        (run.undone_by is not None, f"run {run.undone_by} has undone it, so its answers are not current any more"),
        (run.pruned, "`cataloger runs prune` has deleted its history"),
    )
    for applies, reason in reasons:
        if applies:
            raise UsageError(f"run {run.id} cannot be compared: {reason}; `cataloger runs list` shows the others")
    return run


def _sources(database: Database, run: RunRecord, wanted: str | None) -> dict[int, str]:
    """Return the sources of a run, or the wanted one of them: id -> root."""
    query = (
        select(SourceRow.id, SourceRow.root)
        .join(RunSourceRow)
        .where(RunSourceRow.run_id == run.id)
        .order_by(SourceRow.id)
    )
    if wanted is not None:
        query = query.where(_is_source(wanted))
    rows = database.rows(query)
    if not rows:
        known = ", ".join(root for root, _ in run.sources) or "none"
        raise UsageError(f"run {run.id} has not worked on {wanted or 'any source'}; its sources: {known}")
    return {row.id: row.root for row in rows}


def _reference_run(
    database: Database, run: RunRecord, sources: Collection[int], options: CheckOptions
) -> RunRecord | None:
    if options.against != PREVIOUS:
        other = _usable(find_run(database, int(options.against)))
        if other.id == run.id:
            raise UsageError(
                f"run {run.id} cannot be checked against itself; name another one with --against or --run"
            )
        return other
    found = database.fetch(_previous, run.id, sources, options)
    return None if found is None else find_run(database, found)


def _previous(connection: Connection, run_id: int, sources: Collection[int], options: CheckOptions) -> int | None:
    """Return the newest earlier run of all these sources with enough images to judge by, else the newest with any."""
    query = _finished().where(RunRow.id < run_id, _found_something()).order_by(RunRow.id.desc())
    for source_id in sources:
        query = query.where(RunRow.id.in_(_runs_of(RunSourceRow.source_id == source_id)))
    candidates = connection.scalars(query).all()
    for candidate in candidates:
        images = (
            _results(candidate, sources).with_only_columns(ResultRow.id).limit(options.limits.min_images).subquery()
        )
        if (connection.scalar(select(func.count()).select_from(images)) or 0) >= options.limits.min_images:
            return candidate
    return candidates[0] if candidates else None


def _shared(database: Database, other: RunRecord, sources: dict[int, str]) -> tuple[dict[int, str], list[str]]:
    """Return those sources that another run has worked on, too, and the roots of the rest."""
    query = select(RunSourceRow.source_id).where(RunSourceRow.run_id == other.id)
    known = set(database.scalars(query))
    shared = {source_id: root for source_id, root in sources.items() if source_id in known}
    if not shared:
        raise UsageError(f"run {other.id} has none of the sources: {', '.join(sources.values())}")
    return shared, [root for source_id, root in sources.items() if source_id not in known]


def _newer(database: Database, run: RunRecord, sources: Collection[int]) -> list[str]:
    """Return notes on newer runs of the same sources that have not ended as done."""
    query = (
        select(RunRow.id, RunRow.outcome)
        .where(RunRow.id > run.id, RunRow.command.in_(TAGGING), RunRow.undone_by_id.is_(None))
        .where(RunRow.id.in_(_runs_of(RunSourceRow.source_id.in_(list(sources)))))
        .order_by(RunRow.id.desc())
        .limit(1)
    )
    rows = database.rows(query)
    states = [(row.id, "tagged nothing" if row.outcome == "done" else row.outcome or "still running") for row in rows]
    return [f"run {newer} is newer, but {state}; it was not compared" for newer, state in states]


def _side(database: Database, run: RunRecord, sources: Collection[int]) -> ComparedSide:
    rows = database.rows(_counts(run.id, sources))
    used = select(RunSourceRow.weights_id).where(
        RunSourceRow.run_id == run.id, RunSourceRow.source_id.in_(list(sources))
    )
    models = [known_model(database, weights_id) for weights_id in sorted(set(database.scalars(used)))]
    return ComparedSide(
        title=f"run {run.id} of {run.started_at:%Y-%m-%d %H:%M}",
        run=run.id,
        models=tuple(f"{model.name} {model.version}" for model in models),
        labels=frozenset(label for model in models for label in model.labels),
        profile=_profile(rows),
        identities=frozenset((row.weights_id, row.calibration_id) for row in rows),
    )


def _results(run_id: int, sources: Collection[int]) -> Select[Any]:
    """Return a query of the results of a run for the images of some sources."""
    query = select(ResultRow).join(ItemRow, ItemRow.id == ResultRow.item_id)
    return query.where(ResultRow.run_id == run_id, ItemRow.source_id.in_(list(sources)))


def _counts(run_id: int, sources: Collection[int]) -> Select[Any]:
    """Return a query that counts results by all that a profile distinguishes."""
    keys = (ResultRow.status, ResultRow.label_1, ResultRow.decision, ResultRow.weights_id, ResultRow.calibration_id)
    value = ResultRow.confidence_1
    cell = case(*((value < edge, number) for number, edge in enumerate(EDGES)), else_=CELLS - 1)
    # The cells are computed within: PostgreSQL does not see that an expression with parameters is one it groups by.
    results = _results(run_id, sources).with_only_columns(*keys, value, cell.label("cell")).subquery()
    grouped = [results.c[key.name] for key in keys] + [results.c.cell]
    confidence = results.c.confidence_1
    sums = func.count().label("images"), func.sum(confidence).label("total")
    return select(*grouped, *sums, func.sum(confidence * confidence).label("squares")).group_by(*grouped)


def _profile(rows: Sequence[AnyRow]) -> Profile:
    labels, decisions, cells = Counter[str](), Counter[str](), Counter[int]()
    good = [row for row in rows if row.status == "ok"]
    for row in good:
        labels[row.label_1] += row.images
        cells[row.cell] += row.images
        if row.decision is not None:
            decisions[row.decision] += row.images
    return Profile(
        labels=dict(labels),
        confidences=tuple(cells[cell] for cell in range(CELLS)),
        total=sum(float(row.total) for row in good),
        squares=sum(float(row.squares) for row in good),
        decisions=dict(decisions),
        failed=sum(row.images for row in rows if row.status != "ok"),
    )


def _differences(reference: ComparedSide, now: ComparedSide) -> list[str]:
    """Return notes on other differences between the two, which may explain a drift."""
    weights = [{weights for weights, _ in side.identities} for side in (reference, now)]
    notes = []
    if all(weights) and weights[0] != weights[1]:
        notes.append(f"another model: {', '.join(reference.models)} -> {', '.join(now.models)}")
    elif reference.identities and now.identities and reference.identities != now.identities:
        notes.append("another calibration of the same model: confidences and decisions differ for that alone")
    for labels, side in ((reference.labels - now.labels, reference), (now.labels - reference.labels, now)):
        if labels:
            more = f" and {len(labels) - NAMED} more" if len(labels) > NAMED else ""
            notes.append(f"categories that only {side.title} can have: {', '.join(sorted(labels)[:NAMED])}{more}")
    return notes


def _finished() -> Select[int]:
    return select(RunRow.id).where(
        RunRow.command.in_(TAGGING),
        RunRow.outcome == "done",
        RunRow.undone_by_id.is_(None),
        RunRow.pruned.is_(False),
    )


def _found_something() -> ColumnElement[bool]:
    """Return the condition that a run has results of its own: a night without news says nothing about drift."""
    return exists().where(ResultRow.run_id == RunRow.id)


def _runs_of(condition: ColumnElement[bool]) -> Select[int]:
    return select(RunSourceRow.run_id).join(SourceRow, SourceRow.id == RunSourceRow.source_id).where(condition)


def _is_source(wanted: str) -> ColumnElement[bool]:
    """Return the condition for a source as `cataloger sources list` shows it, or a path to it."""
    return or_(SourceRow.root.in_([wanted, str(Path(wanted).resolve())]), SourceRow.name == wanted)
