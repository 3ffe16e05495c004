"""Composition root of `cataloger adapt`: a bundle with a calibration that is learned for one source."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from cataloger.adaptation import (
    Adapted,
    SourceCalibration,
    learn_abstaining,
    learn_adaptation,
    learn_unlabelled,
)
from cataloger.corrections import ShopLabels, SourceScores, corrected_label, read_labelled, read_some_scores
from cataloger.db import AnyRow, Database, DatabaseURL
from cataloger.drift import ANSWERS
from cataloger.errors import UsageError
from cataloger.inference import Scores
from cataloger.ledger import (
    bundle_of,
    find_tagged_source,
    known_calibration,
    known_model,
    load_label_map,
)
from cataloger.model import (
    CARD,
    Bundle,
    Calibration,
    ShopFigures,
    check_files,
    copy_files,
    new_bundle,
    read_bundle,
    resolve_bundle_path,
    seal,
)
from cataloger.training.calibration.shop_labels import listed, query_categories, read_csv_categories
from cataloger.training.evaluation import with_section
from cataloger.training.metrics import Share, wilson

SECTION = "## Adaptation"


@dataclass(frozen=True, slots=True)
class AdaptOptions:
    """What to learn from. source: name or root; None where the ledger has a single one. output: of the new bundle.

    labels: CSV file; query: SELECT in the database `query_db`; without both, the corrections in the ledger.
    unlabelled: from the scores alone. model: folder of the bundle, or its address; None for where the source's was.
    dry_run: write no bundle.
    """

    output: Path | None
    source: str | None = None
    labels: Path | None = None
    query: str | None = None
    query_db: DatabaseURL | None = None
    unlabelled: bool = False
    model: Path | str | None = None
    target: float = 0.95
    dry_run: bool = False

    def __post_init__(self) -> None:
        if sum((self.labels is not None, self.query is not None, self.unlabelled)) > 1:
            raise UsageError("LABELS, --query and --unlabelled exclude each other: labels come from one place")
        if self.output is None and not self.dry_run:
            raise UsageError("name the directory of the adapted bundle with --output, or look first with --dry-run")
        if not 0 < self.target < 1:
            raise UsageError(f"--target-precision must be between 0 and 1, not {self.target}")


@dataclass(frozen=True, slots=True)
class AdaptReport:
    """What was learned. stored: images with scores. output: where the new bundle is; None where none was written.

    adapted: with figures; None for --unlabelled. unknown: categories that mean no label -> images. adapted_bundle: as
    it was or would be written; None where it was refused. recompute: results that `recalibrate` will recompute.
    """

    model: str
    source: str
    stored: int
    output: Path | str | None
    adapted: Adapted | None
    unknown: Counter[str] = field(default_factory=Counter)
    adapted_bundle: Bundle | None = None
    recompute: int | None = None

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values; a share of nothing is null."""
        found = self.adapted
        values: dict[str, Any] = {
            "model": self.model,
            "source": self.source,
            "stored": self.stored,
            "output": None if self.output is None else str(self.output),
            "kind": "prior" if found is None else found.kind,
            "unknown": dict(self.unknown),
            "recompute": self.recompute,
        }
        if found is None:
            return {**values, "labelled": 0, "before": None, "after": None, "chance": None, "categories": []}
        return {
            **values,
            "labelled": found.before.images,
            "before": _figures(found, "before"),
            "after": _figures(found, "after"),
            "chance": found.chance,
            "categories": [{**asdict(each), "needs_more": each.needs_more} for each in found.categories],
        }


def adapt_source(database: Database, options: AdaptOptions) -> AdaptReport:
    """Learn a calibration for a source and write it as a bundle of the same weights.

    Raises UsageError, or TrainingError where there is too little to learn from.
    """
    row = find_tagged_source(database, options.source)
    bundle = _bundle(database, row, options.model)
    shipped, codes = _shipped(database, row, bundle), load_label_map(database, row.id)
    scores = SourceScores(database, row.id, bundle.weights_id, bundle.labels, codes)
    if options.unlabelled:
        calibration = learn_unlabelled(read_some_scores(scores), bundle.labels, shipped)
        report = AdaptReport(bundle.title, row.name, scores.count(), None, None)
        return _finished(bundle, calibration, options, report)
    labels = _labels(scores, options)
    products = Scores(labels.labelled.scores, labels.labelled.familiarity)
    shipped = learn_abstaining(shipped, products, labels.no_product)
    adapted = learn_adaptation(labels.labelled, shipped, target=options.target)
    report = AdaptReport(bundle.title, row.name, scores.count(), None, adapted, labels.unknown)
    if adapted.calibration is None:
        return report
    after = adapted.after
    learned_in = ShopFigures(row.name, after.images, after.accepted, after.accepted_right)
    return _finished(bundle, replace(adapted.calibration, learned_in=learned_in), options, report)


def _finished(bundle: Bundle, calibration: Calibration, options: AdaptOptions, report: AdaptReport) -> AdaptReport:
    """Write the adapted bundle unless it is a dry run. What the source sells stays with the source."""
    adapted = replace(bundle, calibration=replace(calibration, allowed=None))
    report = replace(report, adapted_bundle=adapted)
    if options.dry_run:
        return report
    assert options.output is not None
    _write(adapted, options.output, report.as_json())
    return replace(report, output=options.output)


def _labels(scores: SourceScores, options: AdaptOptions) -> ShopLabels:
    if options.labels is not None:
        return read_labelled(scores, listed(read_csv_categories(options.labels)))
    if options.query is not None:
        assert options.query_db is not None
        return read_labelled(scores, listed(query_categories(options.query_db, options.query)))
    return read_labelled(scores, corrected_label, only_corrected=True)


def _bundle(database: Database, row: AnyRow, model: Path | str | None) -> Bundle:
    known = known_model(database, row.weights_id)
    bundle = bundle_of(known) if model is None else read_bundle(resolve_bundle_path(str(model)))
    if bundle is None:
        raise UsageError(f"{row.name} was tagged with {known.name} {known.version}: name its folder with --model")
    if bundle.weights_id != row.weights_id:
        raise UsageError(
            f"{row.name} was tagged with {known.name} {known.version}, and {bundle.title} has other weights"
        )
    check_files(bundle)
    return bundle


def _shipped(database: Database, row: AnyRow, bundle: Bundle) -> Calibration:
    """Return the calibration of the bundle without an adaptation, for the labels that the source sells."""
    _, selection = known_calibration(database, row.calibration_id, bundle.weights_id)
    plain = replace(bundle.calibration, adaptation=None, allowed=None, learned_in=None)
    return SourceCalibration(plain, bundle.labels, selection).of(None)


def _write(bundle: Bundle, output: Path, figures: dict[str, Any]) -> None:
    """Write the bundle, without the record of old answers."""
    provenance = {name: value for name, value in bundle.provenance.items() if name != ANSWERS}
    figures = {name: value for name, value in figures.items() if name not in ("output", "unknown", "recompute")}
    adapted = replace(bundle, provenance={**provenance, "adaptation": figures})
    with new_bundle(output) as folder:
        copy_files(bundle, folder)
        card = (folder / CARD).read_text(encoding="utf-8")
        (folder / CARD).write_text(with_section(card, SECTION, _section(figures)), encoding="utf-8")
        seal(replace(adapted, path=folder))


def _section(figures: dict[str, Any]) -> str:
    lines = [f"Adapted to one source by {figures['labelled']:,} labelled images ({figures['kind']})."]
    if figures["labelled"]:
        before, after = (figures[name]["right"]["value"] for name in ("before", "after"))
        lines.append(f"Right, in cross-validation by product: {before:.1%} before, {after:.1%} after.")
    lines.append("Not for other shops.")
    return "\n".join(lines) + "\n"


def shares(adapted: Adapted, when: str) -> tuple[Share, Share, float]:
    """Return the share of right answers, that of right ones among the accepted, and the share that is accepted."""
    figures = adapted.before if when == "before" else adapted.after
    accepted = wilson(figures.accepted_right, figures.accepted)
    return wilson(figures.right, figures.images), accepted, figures.accepted / figures.images


def _figures(adapted: Adapted, when: str) -> dict[str, Any]:
    right, accepted_right, coverage = shares(adapted, when)
    figures = adapted.before if when == "before" else adapted.after
    return {
        "right": _plain(right),
        "accepted": coverage,
        "accepted_right": _plain(accepted_right),
        "loss": figures.loss,
    }


def _plain(share: Share) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else value for name, value in asdict(share).items()}


def needing_more(adapted: Adapted) -> Sequence[str]:
    """Return the categories for which more labelled images are likely to help."""
    return [each.label for each in adapted.categories if each.needs_more]
