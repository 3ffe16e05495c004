"""Everything that `cataloger evaluate` finds out: figures, classes, confusions, confidences, likely wrong labels."""

import difflib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from cataloger.contracts import DECISIONS
from cataloger.errors import TrainingError
from cataloger.training.data import Example, accepted_matrix
from cataloger.training.metrics import (
    UNKNOWN,
    Bools,
    ClassReport,
    CoveragePoint,
    ImageGroups,
    Ints,
    MetricsReport,
    Predictions,
    ReliabilityBin,
    Share,
    Single,
    at_confidence,
    class_reports,
    coverage_curve,
    measure_predictions,
    reliability,
    wilson,
)

SURE = 0.9
THRESHOLDS = (0.5, 0.6, 0.7, 0.8, SURE, 0.95, 0.99)
MISTAKES = 50


@dataclass(frozen=True, slots=True)
class Mistake:
    """An image whose best label is not accepted. given_confidence: of the best accepted one; None if not known.

    index: of its example.
    """

    index: int
    file: str
    given: tuple[str, ...]
    predicted: str
    confidence: float
    given_confidence: float | None


@dataclass(frozen=True, slots=True)
class Confusion:
    """Images of one class that were taken for another."""

    given: str
    predicted: str
    images: int


@dataclass(frozen=True, slots=True)
class DecisionFigures:
    """How good the decisions are. coverage: accepted share of all images. precision: share of these that is right."""

    images: dict[str, int]
    coverage: Share
    precision: Share


@dataclass(frozen=True, slots=True)
class GroupedFigures:
    """Shares with intervals over groups. groups: their number. coverage, precision: of the accepted answers."""

    groups: int
    top1: Share
    top3: Share
    top5: Share
    coverage: Share
    precision: Share

    @classmethod
    def of(cls, groups: ImageGroups, hits: Bools, depth: int, taken: Bools | None) -> "GroupedFigures":
        """Measure. hits: bool N x ranks. depth: ranks known of every image. taken: accepted answers, if any are."""

        def top(k: int) -> Share:
            return groups.share(np.asarray(hits[:, :k].any(axis=1))) if depth >= min(k, hits.shape[1]) else UNKNOWN

        coverage, precision = UNKNOWN, UNKNOWN
        if taken is not None:
            coverage, precision = groups.share(taken), groups.share(taken & hits[:, 0], taken)
        return cls(groups.count, top(1), top(3), top(5), coverage, precision)


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found. labels: the classes that occur; matrix: int64 of these, row = given, column = predicted.

    thresholds: what is left above each of THRESHOLDS. decided: None if no image has a decision.
    mistakes: the most confident ones first, at most as many as were asked for; mistakes_in_all: how many there are.
    over_groups: figures with intervals over shops, senders or products, by the names of `groups` and "all"; empty
    where no images belong together.
    """

    overall: MetricsReport
    groups: dict[str, MetricsReport]
    classes: tuple[ClassReport, ...]
    matrix: Ints
    confusions: tuple[Confusion, ...]
    reliability: tuple[ReliabilityBin, ...]
    coverage: tuple[CoveragePoint, ...]
    thresholds: tuple[CoveragePoint, ...]
    decided: DecisionFigures | None
    mistakes: tuple[Mistake, ...]
    mistakes_in_all: int
    over_groups: dict[str, GroupedFigures] = field(default_factory=dict)

    @property
    def reports(self) -> dict[str, MetricsReport]:
        """Return the figures of each group, and of "all"."""
        return {**self.groups, "all": self.overall}

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes that occur, in the order of the model."""
        return tuple(each.label for each in self.classes)

    @property
    def sure(self) -> CoveragePoint:
        """What is left at a confidence of at least SURE."""
        return next(point for point in self.thresholds if point.threshold == SURE)

    def worst_classes(self) -> list[ClassReport]:
        """Return the classes that have images, lowest F1 first."""
        return sorted((each for each in self.classes if each.support), key=lambda each: (each.f1.value, each.label))

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values; a figure that does not exist is null."""
        values = {
            "all": asdict(self.overall),
            "groups": {name: asdict(report) for name, report in self.groups.items()},
            "classes": [asdict(each) for each in self.classes],
            "confusion": {"labels": self.labels, "matrix": self.matrix.tolist()},
            "confusions": [asdict(each) for each in self.confusions],
            "reliability": [asdict(each) for each in self.reliability],
            "coverage": [asdict(each) for each in self.coverage],
            "thresholds": [asdict(each) for each in self.thresholds],
            "decisions": asdict(self.decided) if self.decided else None,
            "mistakes": [_mistake_json(each) for each in self.mistakes],
            "mistakes_in_all": self.mistakes_in_all,
            "over_groups": {name: asdict(figures) for name, figures in self.over_groups.items()},
        }
        plain_values: dict[str, Any] = plain(values)
        return plain_values


def assess(examples: Sequence[Example], predictions: Predictions, *, mistakes: int = MISTAKES) -> Findings:
    """Measure predictions, one per example. Raises TrainingError for labels that the model does not know."""
    require_known(examples, predictions.labels)
    accepted = accepted_matrix(examples, predictions.labels)
    reports = reports_by_group(examples, predictions, accepted)
    overall = reports.pop("all")
    single = Single.of(predictions, accepted)
    matrix = single.confusion(len(predictions.labels))
    occurring = np.flatnonzero(matrix.sum(axis=0) + matrix.sum(axis=1))
    right, confidence = predictions.hits(accepted)[:, 0], predictions.confidence[:, 0]
    return Findings(
        overall=overall,
        groups=reports,
        classes=class_reports(matrix, predictions.labels),
        matrix=matrix[np.ix_(occurring, occurring)],
        confusions=_confusions(matrix, predictions.labels),
        reliability=reliability(single.confidence, single.truth == single.guess),
        coverage=coverage_curve(confidence, right),
        thresholds=tuple(at_confidence(confidence, right, threshold) for threshold in THRESHOLDS),
        decided=decision_figures(predictions, right),
        mistakes=_mistakes(examples, predictions, accepted, mistakes),
        mistakes_in_all=int((~right).sum()),
        over_groups=_over_groups(examples, predictions, accepted),
    )


def reports_by_group(
    examples: Sequence[Example], predictions: Predictions, accepted: Bools
) -> dict[str, MetricsReport]:
    """Measure each combination of group values, and "all". Keys are the values joined by a space."""
    return {
        name: measure_predictions(predictions.rows(rows), accepted[rows])
        for name, rows in rows_by_group(examples).items()
    }


def rows_by_group(examples: Sequence[Example]) -> dict[str, Bools]:
    """Return which examples (bool N) have each combination of group values, in their order, and at last "all"."""
    names = np.array([" ".join(value for value in example.groups if value) for example in examples], dtype=object)
    # A group of the name "all" must not take the place of everything.
    groups = {"'all'" if name == "all" else name: names == name for name in sorted({name for name in names if name})}
    return {**groups, "all": np.ones(len(names), dtype=np.bool_)}


def _over_groups(examples: Sequence[Example], predictions: Predictions, accepted: Bools) -> dict[str, GroupedFigures]:
    hits, found = predictions.hits(accepted), {}
    decisions = predictions.decisions or ("",)
    taken = np.array([decision == "accept" for decision in decisions]) if any(decisions) else None
    for name, rows in rows_by_group(examples).items():
        groups = ImageGroups.of([example.product for example, chosen in zip(examples, rows, strict=True) if chosen])
        if groups is not None:
            mine = None if taken is None else taken[rows]
            found[name] = GroupedFigures.of(groups, hits[rows], predictions.depth, mine)
    return found


def require_known(examples: Sequence[Example], labels: Sequence[str]) -> None:
    """Raise TrainingError that names every label which the model does not know."""
    known = set(labels)
    unknown = Counter(label for example in examples for label in example.labels if label not in known)
    if not unknown:
        return
    first = next(example for example in examples if set(example.labels) & set(unknown))
    named = ", ".join(f"{label!r} ({count:,} images)" for label, count in unknown.most_common(5))
    more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
    near = difflib.get_close_matches(next(iter(unknown)), labels, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise TrainingError(
        f"the model does not know the label {named}{more}, first at {first.file}: {hint}"
        "correct the labels, leave these rows out, or measure a model that was trained on them"
    )


def plain(values: Any) -> Any:
    """Return plain JSON values: tuples as lists, nan as null."""
    return json.loads(json.dumps(values), parse_constant=lambda _: None)


def _mistake_json(mistake: Mistake) -> dict[str, Any]:
    values = asdict(mistake)
    del values["index"]
    return values


def _confusions(matrix: Ints, labels: Sequence[str]) -> tuple[Confusion, ...]:
    wrong = matrix - np.diag(matrix.diagonal())
    truth, guess = np.nonzero(wrong)
    order = np.argsort(-wrong[truth, guess], kind="stable")
    return tuple(Confusion(labels[truth[i]], labels[guess[i]], int(wrong[truth[i], guess[i]])) for i in order)


def _mistakes(
    examples: Sequence[Example], predictions: Predictions, accepted: Bools, number: int
) -> tuple[Mistake, ...]:
    hits, confidence = predictions.hits(accepted), predictions.confidence
    wrong = np.flatnonzero(~hits[:, 0])
    order = wrong[np.argsort(-confidence[wrong, 0], kind="stable")][:number]
    return tuple(
        Mistake(
            index=int(row),
            file=examples[row].file,
            given=examples[row].labels,
            predicted=predictions.labels[predictions.ranked[row, 0]],
            confidence=float(confidence[row, 0]),
            given_confidence=float(confidence[row, hits[row].argmax()]) if hits[row].any() else None,
        )
        for row in order
    )


def decision_figures(predictions: Predictions, right: Bools) -> DecisionFigures | None:
    """Count decisions, and how many of the accepted answers are right (bool N); None without any decision."""
    if predictions.decisions is None or not any(predictions.decisions):
        return None
    names = np.array([decision or "none" for decision in predictions.decisions])
    taken = names == "accept"
    counts = {name: int((names == name).sum()) for name in (*DECISIONS, "none")}
    accepted = counts["accept"]
    precision = wilson(int(right[taken].sum()), accepted) if accepted else UNKNOWN
    return DecisionFigures(counts, wilson(accepted, len(names)), precision)
