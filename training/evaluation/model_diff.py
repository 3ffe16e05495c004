"""Two bundles on the same labelled images: what got better, what got worse, and whether it may be chance.

They are compared on the images all of whose labels both know. Each answers as it would in use: an answer that the
other model does not have is simply wrong there. Intervals of differences are paired, by a bootstrap over images.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from cataloger.errors import TrainingError
from cataloger.model import Bundle
from cataloger.training.data import Example, accepted_matrix
from cataloger.training.evaluation.findings import plain
from cataloger.training.evaluation.scoring import score_together
from cataloger.training.metrics import (
    Bools,
    Predictions,
    Share,
    Single,
    difference_of_ece,
    difference_of_f1,
    difference_of_hits,
    expected_calibration_error,
    macro_f1,
    mcnemar,
    wilson,
)

NOTABLE_LOSS = 0.05
EXAMPLES = 20


@dataclass(frozen=True, slots=True)
class FigureChange:
    """A figure of A and of B, and B minus A with its paired 95% interval."""

    name: str
    a: float
    b: float
    difference: Share


@dataclass(frozen=True, slots=True)
class ClassChange:
    """Recall of a class with A and B. is_loss: it lost more than NOTABLE_LOSS. difference: B minus A."""

    label: str
    support: int
    a: Share
    b: Share
    difference: float
    is_loss: bool


@dataclass(frozen=True, slots=True)
class OnlyOne:
    """An image that only one of the models gets right. confidence: of that one's answer."""

    file: str
    given: tuple[str, ...]
    a: str
    b: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a comparison is about. a, b: titles. shared: labels of both. only_a, only_b: labels of one of them.

    left_out: images by label, where not both know the label. failures: images that cannot be read, one line each.
    """

    a: str
    b: str
    shared: tuple[str, ...]
    only_a: tuple[str, ...] = ()
    only_b: tuple[str, ...] = ()
    left_out: dict[str, int] = field(default_factory=dict)
    failures: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelDiff:
    """The comparison. p_value: of the exact McNemar test of top-1. classes: the largest loss of recall first.

    only_a, only_b: images that only this one gets right, the most confident first, as many as were asked for;
    only_a_count, only_b_count: how many there are.
    """

    compared: Comparison
    images: int
    changes: tuple[FigureChange, ...]
    p_value: float
    classes: tuple[ClassChange, ...]
    only_a_count: int
    only_b_count: int
    only_a: tuple[OnlyOne, ...]
    only_b: tuple[OnlyOne, ...]

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values; a figure that does not exist is null."""
        values: dict[str, Any] = plain(asdict(self))
        return values


def compare_bundles(
    a: Bundle,
    b: Bundle,
    examples: Sequence[Example],
    *,
    begin: Callable[[int], Callable[[int], None]] = lambda _: lambda _: None,
    number: int = EXAMPLES,
) -> ModelDiff:
    """Classify images with two bundles and compare the answers. number: images to name, of each kind.

    begin: called with the number of images; returns a callback that receives how many are done.
    Raises TrainingError when no image has labels that both know.
    """
    known = [set(a.labels), set(b.labels)]
    usable = [example for example in examples if all(set(example.labels) <= labels for labels in known)]
    others = (label for example in examples for label in example.labels if not all(label in each for each in known))
    left_out = dict(Counter(others).most_common())
    if not usable:
        raise TrainingError(
            f"{a.title} and {b.title} have no label of these images in common, "
            f"e.g. {next(iter(left_out), 'none')!r}: compare models of the same categories"
        )
    scored = score_together((a, b), usable, begin=begin)
    names = tuple(dict.fromkeys((*a.labels, *b.labels)))
    answers = [
        _renamed(Predictions.of_scores(each.logits, bundle.labels, bundle.calibration), names)
        for bundle, each in zip((a, b), scored, strict=True)
    ]
    compared = Comparison(
        a=a.title,
        b=b.title,
        shared=tuple(label for label in a.labels if label in known[1]),
        only_a=tuple(label for label in a.labels if label not in known[1]),
        only_b=tuple(label for label in b.labels if label not in known[0]),
        left_out=left_out,
        failures=tuple(dict.fromkeys(scored[0].failures + scored[1].failures)),
    )
    return compare_predictions(compared, scored[0].examples, answers[0], answers[1], number=number)


def compare_predictions(
    compared: Comparison, examples: Sequence[Example], a: Predictions, b: Predictions, *, number: int = EXAMPLES
) -> ModelDiff:
    """Compare what two models say of the same images; both name labels by the same numbers."""
    accepted = accepted_matrix(examples, a.labels)
    hits = a.hits(accepted), b.hits(accepted)
    right = hits[0][:, 0], hits[1][:, 0]
    only_a, only_b = right[0] & ~right[1], right[1] & ~right[0]
    return ModelDiff(
        compared=compared,
        images=len(examples),
        changes=_changes(hits, (Single.of(a, accepted), Single.of(b, accepted)), len(a.labels)),
        p_value=mcnemar(int(only_a.sum()), int(only_b.sum())),
        classes=_classes(Single.of(a, accepted), Single.of(b, accepted), a.labels),
        only_a_count=int(only_a.sum()),
        only_b_count=int(only_b.sum()),
        only_a=_only(examples, only_a, (a, b), a, number),
        only_b=_only(examples, only_b, (a, b), b, number),
    )


def _renamed(predictions: Predictions, names: tuple[str, ...]) -> Predictions:
    """Return predictions that name their labels by positions in `names`; those of other models come last."""
    position = {name: index for index, name in enumerate(names)}
    table = np.array([position[label] for label in predictions.labels])
    return Predictions(names, table[predictions.ranked], predictions.confidence)


def _changes(hits: tuple[Bools, Bools], single: tuple[Single, Single], classes: int) -> tuple[FigureChange, ...]:
    changes = []
    for k in (1, 3, 5):
        a, b = (np.asarray(each[:, :k].any(axis=1)) for each in hits)
        changes.append(FigureChange(f"top-{k}", float(a.mean()), float(b.mean()), difference_of_hits(a, b)))
    first, second = single
    present = np.flatnonzero(np.bincount(first.truth, minlength=classes)).tolist()
    a_f1, b_f1 = (macro_f1(each.truth, each.guess, present) for each in single)
    f1 = difference_of_f1(first.truth, first.guess, second.guess, present)
    answers = [(each.confidence, each.truth == each.guess) for each in single]
    a_ece, b_ece = (expected_calibration_error(*each) for each in answers)
    return (
        *changes,
        FigureChange("macro_f1", a_f1, b_f1, f1),
        FigureChange("ece", a_ece, b_ece, difference_of_ece(answers[0], answers[1])),
    )


def _classes(a: Single, b: Single, labels: Sequence[str]) -> tuple[ClassChange, ...]:
    support = np.bincount(a.truth, minlength=len(labels))
    found = [np.bincount(each.truth[each.truth == each.guess], minlength=len(labels)) for each in (a, b)]
    changes = []
    for c in np.flatnonzero(support).tolist():
        difference = float((found[1][c] - found[0][c]) / support[c])
        recalls = [wilson(int(each[c]), int(support[c])) for each in found]
        is_loss = difference < -NOTABLE_LOSS
        changes.append(ClassChange(labels[c], int(support[c]), recalls[0], recalls[1], difference, is_loss))
    return tuple(sorted(changes, key=lambda each: (each.difference, each.label)))


def _only(
    examples: Sequence[Example], chosen: Bools, both: tuple[Predictions, Predictions], right: Predictions, number: int
) -> tuple[OnlyOne, ...]:
    rows = np.flatnonzero(chosen)
    confidence = right.confidence[:, 0]
    order = rows[np.argsort(-confidence[rows], kind="stable")][:number]
    return tuple(
        OnlyOne(
            file=examples[row].file,
            given=examples[row].labels,
            a=both[0].labels[both[0].ranked[row, 0]],
            b=both[1].labels[both[1].ranked[row, 0]],
            confidence=float(confidence[row]),
        )
        for row in order
    )
