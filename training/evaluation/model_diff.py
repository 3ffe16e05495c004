"""Two bundles on the same labelled images: what got better, what got worse, and whether it may be chance.

They are compared on the images that both can answer, of whose accepted labels each model knows one at least. Each
answers as it would in use: an answer that the other model does not have is simply wrong there, unless a fold map says
what it counts as. Intervals of differences are paired, by a bootstrap over images and over groups of them.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from cataloger.errors import TrainingError
from cataloger.model import Bundle
from cataloger.training.data import Example, accepted_matrix
from cataloger.training.evaluation.findings import plain
from cataloger.training.evaluation.folding import FoldMap
from cataloger.training.evaluation.paired_figures import (
    DecisionChange,
    FigureChange,
    PartChange,
    changes_by_group,
    decision_change,
    figure_changes,
    groups_of,
    part_change,
)
from cataloger.training.evaluation.scoring import predictions_of, score_together
from cataloger.training.metrics import Bools, Predictions, Share, Single, mcnemar, wilson

NOTABLE_LOSS = 0.05
EXAMPLES = 20


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

    left_out: labels that not both know, of images that not both can answer, with the number of these. failures:
    images that cannot be read, one line each. folded: labels that count as older ones, each with these. unlabelled:
    images left out since their labels count as none.
    """

    a: str
    b: str
    shared: tuple[str, ...]
    only_a: tuple[str, ...] = ()
    only_b: tuple[str, ...] = ()
    left_out: dict[str, int] = field(default_factory=dict)
    failures: tuple[str, ...] = ()
    folded: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unlabelled: int = 0


@dataclass(frozen=True, slots=True)
class Alone:
    """Images that only one model can answer, and how often it does."""

    images: int
    top1: Share
    top5: Share


@dataclass(frozen=True, slots=True)
class ModelDiff:
    """The comparison. p_value: of the exact McNemar test of top-1. classes: the largest loss of recall first.

    groups: by the values of `--report-by`. parts: "one_label" are the images with one accepted label; "unfolded"
    those that both can answer without a fold map, with answers as they are. decisions: None unless both make any.
    alone_a, alone_b: images that only this one can answer.
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
    groups: dict[str, PartChange] = field(default_factory=dict)
    parts: dict[str, PartChange] = field(default_factory=dict)
    decisions: DecisionChange | None = None
    alone_a: Alone | None = None
    alone_b: Alone | None = None

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
    fold: FoldMap | None = None,
) -> ModelDiff:
    """Classify images with two bundles and compare the answers. number: images to name, of each kind.

    begin: called with the number of images; returns a callback that receives how many are done. fold: labels that
    count as older ones. Raises TrainingError when no image can be answered by both.
    """
    folded, unlabelled = fold.examples(examples) if fold else (list(examples), 0)
    spaces = [fold.names(bundle.labels) if fold else bundle.labels for bundle in (a, b)]
    answerable = [example for example in folded if any(_knows(space, example) for space in spaces)]
    compared = replace(
        _compared(a, b, spaces, folded), folded=dict(fold.labels) if fold else {}, unlabelled=unlabelled
    )
    if not any(all(_knows(space, example) for space in spaces) for example in answerable):
        raise TrainingError(
            f"{a.title} and {b.title} have no label of these images in common, "
            f"e.g. {next(iter(compared.left_out), 'none')!r}: compare models of the same categories"
        )
    scored = score_together((a, b), answerable, begin=begin)
    compared = replace(compared, failures=tuple(dict.fromkeys(scored[0].failures + scored[1].failures)))
    said = [predictions_of(bundle, each) for bundle, each in zip((a, b), scored, strict=True)]
    asked = {example.file: example for example in examples}
    answers = _Answers(scored[0].examples, [asked[each.file] for each in scored[0].examples], said, fold)
    return answers.compared(compared, spaces, number)


def _knows(labels: Collection[str], example: Example) -> bool:
    return any(label in labels for label in example.labels)


def _compared(a: Bundle, b: Bundle, spaces: Sequence[Sequence[str]], examples: Sequence[Example]) -> Comparison:
    known = [set(labels) for labels in spaces]
    lost = (example for example in examples if not all(_knows(labels, example) for labels in known))
    others = (label for each in lost for label in each.labels if not all(label in labels for labels in known))
    return Comparison(
        a=a.title,
        b=b.title,
        shared=tuple(label for label in spaces[0] if label in known[1]),
        only_a=tuple(label for label in spaces[0] if label not in known[1]),
        only_b=tuple(label for label in spaces[1] if label not in known[0]),
        left_out=dict(Counter(others).most_common()),
    )


@dataclass(frozen=True, slots=True)
class _Answers:
    """What two models say of images that at least one can answer. unfolded: the same with their own labels."""

    examples: Sequence[Example]
    unfolded: Sequence[Example]
    said: Sequence[Predictions]
    fold: FoldMap | None

    def compared(self, compared: Comparison, spaces: Sequence[Sequence[str]], number: int) -> ModelDiff:
        """Compare on the images that both can answer, and look at the others apart."""
        answers = [self.fold.predictions(each, self.examples) if self.fold else each for each in self.said]
        able = [np.array([_knows(space, example) for example in self.examples]) for space in spaces]
        both = able[0] & able[1]
        names = self._names(spaces, self.examples)
        a, b = (_renamed(each.rows(both), names) for each in answers)
        found = compare_predictions(compared, _chosen(self.examples, both), a, b, number=number)
        alone = [
            _alone(answers[number].rows(mine & ~both), _chosen(self.examples, mine & ~both))
            for number, mine in enumerate(able)
        ]
        parts = {**found.parts, **(self._without_fold() if self.fold else {})}
        return replace(found, parts=parts, alone_a=alone[0], alone_b=alone[1])

    def _without_fold(self) -> dict[str, PartChange]:
        """Compare on the images that both can answer as they are labelled, with answers as they are."""
        spaces = [each.labels for each in self.said]
        both = np.array([all(_knows(space, example) for space in spaces) for example in self.unfolded])
        if not both.any():
            return {}
        examples, names = _chosen(self.unfolded, both), self._names(spaces, self.unfolded)
        accepted = accepted_matrix(examples, names)
        a, b = (_renamed(each.rows(both), names).hits(accepted) for each in self.said)
        return {"unfolded": part_change((a, b), np.ones(len(examples), dtype=np.bool_), examples)}

    @staticmethod
    def _names(spaces: Sequence[Sequence[str]], examples: Sequence[Example]) -> tuple[str, ...]:
        given = (label for example in examples for label in example.labels)
        return tuple(dict.fromkeys((*spaces[0], *spaces[1], *given)))


def _chosen(examples: Sequence[Example], rows: Bools) -> list[Example]:
    return [example for example, chosen in zip(examples, rows, strict=True) if chosen]


def _alone(predictions: Predictions, examples: Sequence[Example]) -> Alone | None:
    """Measure images that only this model can answer; None if there are none."""
    if not examples:
        return None
    own = set(predictions.labels)
    mine = [replace(each, labels=tuple(label for label in each.labels if label in own)) for each in examples]
    hits = predictions.hits(accepted_matrix(mine, predictions.labels))
    tops = [wilson(int(hits[:, :k].any(axis=1).sum()), len(hits)) for k in (1, 5)]
    return Alone(len(hits), tops[0], tops[1])


def compare_predictions(
    compared: Comparison, examples: Sequence[Example], a: Predictions, b: Predictions, *, number: int = EXAMPLES
) -> ModelDiff:
    """Compare what two models say of the same images; both name labels by the same numbers."""
    accepted = accepted_matrix(examples, a.labels)
    hits, groups = (a.hits(accepted), b.hits(accepted)), groups_of(examples)
    one_label = accepted.sum(axis=1) == 1
    right = hits[0][:, 0], hits[1][:, 0]
    only_a, only_b = right[0] & ~right[1], right[1] & ~right[0]
    return ModelDiff(
        compared=compared,
        images=len(examples),
        changes=figure_changes(hits, (Single.of(a, accepted), Single.of(b, accepted)), len(a.labels), groups),
        p_value=mcnemar(int(only_a.sum()), int(only_b.sum())),
        classes=_classes(Single.of(a, accepted), Single.of(b, accepted), a.labels),
        only_a_count=int(only_a.sum()),
        only_b_count=int(only_b.sum()),
        only_a=_only(examples, only_a, (a, b), a, number),
        only_b=_only(examples, only_b, (a, b), b, number),
        groups=changes_by_group(hits, examples),
        parts={"one_label": part_change(hits, one_label, examples)} if one_label.any() else {},
        decisions=decision_change((a, b), hits, groups),
    )


def _renamed(predictions: Predictions, names: tuple[str, ...]) -> Predictions:
    """Return predictions that name their labels by positions in `names`; those of other models come last."""
    position = {name: index for index, name in enumerate(names)}
    table = np.array([position[label] for label in predictions.labels])
    return Predictions(names, table[predictions.ranked], predictions.confidence, predictions.decisions)


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
