"""Figures of two models on the same images, and their differences B minus A with paired 95% intervals."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cataloger.training.data import Example
from cataloger.training.evaluation.findings import DecisionFigures, decision_figures, rows_by_group
from cataloger.training.metrics import (
    UNKNOWN,
    Bools,
    ImageGroups,
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

Pair = tuple[Bools, Bools]
"""Of each model bool N x ranks: whether the label of a rank is accepted."""


@dataclass(frozen=True, slots=True)
class OverGroups:
    """A figure of A and of B and their difference with intervals over groups. groups: their number."""

    groups: int
    a: Share
    b: Share
    difference: Share


@dataclass(frozen=True, slots=True)
class FigureChange:
    """A figure of A and of B, and B minus A with its paired 95% interval.

    a_share, b_share: with intervals of their own, where the figure is a share of images. over_groups: the same with
    intervals over groups, where images belong together.
    """

    name: str
    a: float
    b: float
    difference: Share
    a_share: Share | None = None
    b_share: Share | None = None
    over_groups: OverGroups | None = None


@dataclass(frozen=True, slots=True)
class PartChange:
    """Top-1 and top-5 on some of the images. p_value: of the exact McNemar test of top-1."""

    images: int
    top1: FigureChange
    top5: FigureChange
    p_value: float


@dataclass(frozen=True, slots=True)
class DecisionChange:
    """What A and B decide. coverage, precision: differences of the accepted share, and of what is right of it.

    The last two are the same with intervals over groups.
    """

    a: DecisionFigures
    b: DecisionFigures
    coverage: Share
    precision: Share
    coverage_over_groups: Share | None = None
    precision_over_groups: Share | None = None


def groups_of(examples: Sequence[Example]) -> ImageGroups | None:
    """Return which images belong together, as their labels say; None if none do."""
    return ImageGroups.of([example.product for example in examples])


def top_change(hits: Pair, k: int, groups: ImageGroups | None) -> FigureChange:
    """Compare how often one of the first k labels is accepted."""
    a, b = (np.asarray(each[:, :k].any(axis=1)) for each in hits)
    first, second = (wilson(int(each.sum()), len(each)) for each in (a, b))
    over = None
    if groups is not None:
        over = OverGroups(groups.count, groups.share(a), groups.share(b), groups.difference(a, b))
    return FigureChange(f"top-{k}", first.value, second.value, difference_of_hits(a, b), first, second, over)


def part_change(hits: Pair, rows: Bools, examples: Sequence[Example]) -> PartChange:
    """Compare on some images. rows: bool N."""
    mine = hits[0][rows], hits[1][rows]
    groups = groups_of([example for example, chosen in zip(examples, rows, strict=True) if chosen])
    a, b = mine[0][:, 0], mine[1][:, 0]
    p_value = mcnemar(int((a & ~b).sum()), int((b & ~a).sum()))
    return PartChange(int(rows.sum()), top_change(mine, 1, groups), top_change(mine, 5, groups), p_value)


def changes_by_group(hits: Pair, examples: Sequence[Example]) -> dict[str, PartChange]:
    """Compare on each combination of values of `--report-by`."""
    rows = rows_by_group(examples)
    return {name: part_change(hits, chosen, examples) for name, chosen in rows.items() if name != "all"}


def figure_changes(
    hits: Pair, single: tuple[Single, Single], classes: int, groups: ImageGroups | None
) -> tuple[FigureChange, ...]:
    """Compare top-1, top-3, top-5, and of the images with one label macro F1 and calibration error."""
    first, second = single
    present = np.flatnonzero(np.bincount(first.truth, minlength=classes)).tolist()
    a_f1, b_f1 = (macro_f1(each.truth, each.guess, present) for each in single)
    f1 = difference_of_f1(first.truth, first.guess, second.guess, present)
    answers = [(each.confidence, each.truth == each.guess) for each in single]
    a_ece, b_ece = (expected_calibration_error(*each) for each in answers)
    return (
        *(top_change(hits, k, groups) for k in (1, 3, 5)),
        FigureChange("macro_f1", a_f1, b_f1, f1),
        FigureChange("ece", a_ece, b_ece, difference_of_ece(answers[0], answers[1])),
    )


def decision_change(
    pair: tuple[Predictions, Predictions], hits: Pair, groups: ImageGroups | None
) -> DecisionChange | None:
    """Compare decisions; None unless both models make any."""
    found = [decision_figures(each, right[:, 0]) for each, right in zip(pair, hits, strict=True)]
    a, b = found
    if a is None or b is None:
        return None
    taken = [np.array([d == "accept" for d in each.decisions or ()], dtype=np.bool_) for each in pair]
    right = [chosen & each[:, 0] for chosen, each in zip(taken, hits, strict=True)]
    images = ImageGroups(np.arange(len(taken[0])), len(taken[0]))
    coverage = images.difference(taken[0], taken[1])
    precision = images.difference(right[0], right[1], taken[0], taken[1]) if all(map(np.any, taken)) else UNKNOWN
    if groups is None:
        return DecisionChange(a, b, coverage, precision)
    return DecisionChange(
        a,
        b,
        coverage,
        precision,
        groups.difference(taken[0], taken[1]),
        groups.difference(right[0], right[1], taken[0], taken[1]),
    )
