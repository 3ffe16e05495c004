"""What `cataloger evaluate` does: measure a bundle, or the results in a database, on one split of labelled images."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from cataloger.db import Database
from cataloger.errors import TrainingError, UsageError
from cataloger.model import Bundle
from cataloger.training.data import SPLITS, Example, LabelledImages
from cataloger.training.evaluation.findings import MISTAKES, Findings, assess, plain, require_known
from cataloger.training.evaluation.folding import FoldMap
from cataloger.training.evaluation.known_groups import GroupKindFigures, by_known_groups, trained_groups
from cataloger.training.evaluation.scoring import ScoredImages, predictions_of, score
from cataloger.training.evaluation.stored_results import read_results
from cataloger.training.metrics import Predictions

ALL = "all"


@dataclass(frozen=True, slots=True)
class EvaluateOptions:
    """Options of `cataloger evaluate`.

    labels: where the labels come from, for people. split: train, val, test or all; None means test, or all where the
    labels name no split. mistakes: how many of the most confident ones to list.

    fold: labels that count as older ones.
    """

    labels: Path
    split: str | None = None
    mistakes: int = MISTAKES
    fold: FoldMap | None = None

    def __post_init__(self) -> None:
        if self.split not in (None, ALL, *SPLITS):
            raise UsageError(f"--split must be one of {', '.join(SPLITS)}, {ALL}, not {self.split!r}")
        if self.mistakes < 0:
            raise UsageError(f"--mistakes must not be negative, but is {self.mistakes}")


@dataclass(frozen=True, slots=True)
class Subject:
    """What was measured on what. images: rows of the split. results: the database, if nothing was classified.

    precision: that the images were classified in; None for stored results, of which each has its own. failures:
    images without an answer, one line each. without_result, unlabelled: see `StoredResults`. notes: what a reader of
    the figures must know. folded: labels that count as older ones, each with these; empty without a fold map.
    """

    model: str
    weights_id: str
    calibration_id: str | None
    labels: str
    split: str
    images: int
    results: str | None = None
    precision: str | None = None
    sources: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    without_result: tuple[str, ...] = ()
    unlabelled: int = 0
    unlabelled_keys: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    folded: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """An evaluation. examples: those that were measured, in the order of the labels.

    known_groups: figures of groups that training has seen, and has not ("unseen", "known"); empty unless the labels
    tell of both.
    """

    subject: Subject
    findings: Findings
    examples: tuple[Example, ...]
    known_groups: Mapping[str, GroupKindFigures] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        kinds = {kind: figures.as_json() for kind, figures in self.known_groups.items()}
        return {"subject": plain(asdict(self.subject)), **self.findings.as_json(), "known_groups": kinds}


def evaluate_bundle(
    bundle: Bundle,
    data: LabelledImages,
    options: EvaluateOptions,
    *,
    begin: Callable[[int], Callable[[int], None]] = lambda _: lambda _: None,
) -> Evaluation:
    """Classify the images of a split and measure the answers.

    begin: called with the number of images; returns a callback that receives how many are done.
    Raises TrainingError: no such rows, a label that the model does not know, no image that can be read.
    """
    split, examples = choose_split(data, options)
    examples, notes = _folded(examples, options)
    require_known(examples, options.fold.names(bundle.labels) if options.fold else bundle.labels)
    scored = score(bundle, examples, progress=begin(len(examples)))
    predictions = predictions_of(bundle, scored)
    subject = replace(subject_of(bundle, scored), labels=options.labels.name, split=split, notes=notes)
    return _measured(subject, scored.examples, predictions, options, trained_groups(data.products))


def evaluation_of(
    bundle: Bundle, scored: ScoredImages, *, labels: str, split: str, mistakes: int = MISTAKES
) -> Evaluation:
    """Measure what a bundle has said of images. labels: name of their source."""
    options = EvaluateOptions(Path(labels), mistakes=mistakes)
    subject = replace(subject_of(bundle, scored), labels=labels, split=split)
    return _measured(subject, scored.examples, predictions_of(bundle, scored), options)


def subject_of(bundle: Bundle, scored: ScoredImages) -> Subject:
    """Say what has scored images; where these come from is still to be filled in."""
    return Subject(
        model=bundle.title,
        weights_id=bundle.weights_id,
        calibration_id=bundle.calibration_id,
        labels="",
        split="",
        images=len(scored.examples) + len(scored.failures),
        precision=bundle.precision,
        failures=scored.failures,
    )


def _measured(
    subject: Subject,
    examples: tuple[Example, ...],
    predictions: Predictions,
    options: EvaluateOptions,
    known: frozenset[str] = frozenset(),
) -> Evaluation:
    """Measure predictions, folded where that is asked for. examples: with folded labels. known: trained groups."""
    if options.fold is not None:
        predictions = options.fold.predictions(predictions, examples)
        subject = replace(subject, folded=dict(options.fold.labels))
    subject = replace(subject, notes=(*subject.notes, *_notes(examples, predictions)))
    findings = assess(examples, predictions, mistakes=options.mistakes)
    return Evaluation(subject, findings, examples, by_known_groups(examples, predictions, known))


OF_SEVERAL = "the sources have different calibrations; with --source one of them is measured"


def evaluate_results(
    database: Database, data: LabelledImages, options: EvaluateOptions, *, source: str | None = None
) -> Evaluation:
    """Measure the results of the pinned model in a database. Raises as `read_results`, and TrainingError."""
    split, examples = choose_split(data, options)
    examples, notes = _folded(examples, options)
    stored = read_results(database, examples, source=source)
    subject = Subject(
        model=stored.model,
        weights_id=stored.weights_id,
        calibration_id=stored.calibration_id,
        labels=options.labels.name,
        split=split,
        images=len(examples),
        results=database.name,
        sources=stored.sources,
        failures=stored.failures,
        without_result=stored.without_result,
        unlabelled=stored.unlabelled,
        unlabelled_keys=stored.unlabelled_keys,
        notes=notes if stored.calibration_id else (*notes, OF_SEVERAL),
    )
    return _measured(subject, stored.examples, stored.predictions, options, trained_groups(data.products))


def choose_split(data: LabelledImages, options: EvaluateOptions) -> tuple[str, list[Example]]:
    """Return the name of a split and its examples. Raises TrainingError when it has none."""
    present = {example.split for example in data.examples}
    split = options.split or ("test" if present - {""} else ALL)
    examples = data.products if split == ALL else data.split(split)
    if not examples:
        there = ", ".join(sorted(present - {""})) or "no split at all"
        raise TrainingError(f"{options.labels} has no row with split {split!r}; it has {there}: choose with --split")
    return split, examples


def _folded(examples: list[Example], options: EvaluateOptions) -> tuple[list[Example], tuple[str, ...]]:
    """Return examples with folded labels, if that is asked for, and a note of those that are left out."""
    if options.fold is None:
        return examples, ()
    kept, left = options.fold.examples(examples)
    if not kept:
        raise TrainingError(f"--fold: the labels of all {left:,} images count as none")
    return kept, (f"left out: {left:,} images whose labels count as none",) if left else ()


def _notes(examples: Sequence[Example], predictions: Predictions) -> tuple[str, ...]:
    notes = []
    seen = sum(example.split == "train" for example in examples)
    if seen:
        notes.append(f"{seen:,} images are of the split train: a model that was trained on them looks better here")
    partial = sum(len(example.labels) > 1 for example in examples)
    if partial:
        notes.append(
            f"{partial:,} images have several accepted labels; they count in top-1, top-3, top-5 and coverage only"
        )
    if predictions.depth < min(5, len(predictions.labels)):
        notes.append(f"for some images only the best {predictions.depth} labels were stored; lower ranks are unknown")
    return tuple(notes)
