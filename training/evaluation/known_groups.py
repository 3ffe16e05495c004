"""Figures of groups (shops, say) that a model has never seen, beside those of groups that it was trained with.

A model knows the shops that it was trained on: how their photos look, and what they sell. What it does in the next
shop is what a new user meets, so that both stand beside each other.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from cataloger.training.data import Example, accepted_matrix
from cataloger.training.evaluation.findings import GroupedFigures, plain
from cataloger.training.metrics import UNKNOWN, Bools, ImageGroups, Predictions, Share, wilson


@dataclass(frozen=True, slots=True)
class GroupKindFigures:
    """Figures of the images of unseen, or of known, groups. coverage: accepted share; precision: of these, right.

    over_groups: the same with intervals over groups; None where no two images belong together.
    """

    images: int
    groups: int
    top1: Share
    coverage: Share
    precision: Share
    over_groups: GroupedFigures | None

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values; a figure that does not exist is null."""
        values: dict[str, Any] = plain(asdict(self))
        return values


def trained_groups(examples: Sequence[Example]) -> frozenset[str]:
    """Return the groups that a model has learned from, its thresholds included: those of train and val."""
    return frozenset(each.product for each in examples if each.product and each.split in ("train", "val"))


def by_known_groups(
    examples: Sequence[Example], predictions: Predictions, known: frozenset[str]
) -> dict[str, GroupKindFigures]:
    """Measure test images of unseen and of known groups apart; nothing unless there are both.

    Images of no group are left out, and those of train and val, which every model knows.
    """
    fresh = [bool(each.product) and each.split not in ("train", "val") for each in examples]
    is_known = np.array([each.product in known for each in examples], dtype=np.bool_)
    chosen = {"unseen": np.array(fresh) & ~is_known, "known": np.array(fresh) & is_known}
    if not all(rows.any() for rows in chosen.values()):
        return {}
    return {kind: _figures(examples, predictions, rows) for kind, rows in chosen.items()}


def _figures(examples: Sequence[Example], predictions: Predictions, rows: Bools) -> GroupKindFigures:
    mine = [example for example, is_mine in zip(examples, rows, strict=True) if is_mine]
    answers = predictions.rows(rows)
    hits = answers.hits(accepted_matrix(mine, predictions.labels))
    right, decisions = hits[:, 0], answers.decisions or ()
    taken = np.array([each == "accept" for each in decisions], dtype=np.bool_) if any(decisions) else None
    groups = ImageGroups.of([example.product for example in mine])
    return GroupKindFigures(
        images=len(mine),
        groups=len({example.product for example in mine}),
        top1=wilson(int(right.sum()), len(mine)),
        coverage=UNKNOWN if taken is None else wilson(int(taken.sum()), len(mine)),
        precision=UNKNOWN if taken is None else wilson(int(right[taken].sum()), int(taken.sum())),
        over_groups=None if groups is None else GroupedFigures.of(groups, hits, answers.depth, taken),
    )
