"""How good a shop's answers are by the labels so far, what adapting to them would make of them, and whether more pay.

Labelled images are seldom drawn evenly: rare answers, and those where a model wavers, are asked for more often. So
each counts by how many images of the catalog it stands for. Whether more labels pay is estimated from what fewer of
them would have taught: maps are learned from a half of the products, too, and judged on the same images.
"""

import math
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cataloger.adaptation.cross_validation import Choice, Folded, Ints
from cataloger.adaptation.judgement import compared, decided
from cataloger.adaptation.labelled_scores import LabelledScores, Sample, draw_sample
from cataloger.adaptation.learning import CHANCE, MOST_TO_CHOOSE, worth_trying
from cataloger.adaptation.score_maps import Bools
from cataloger.inference import calibrated_probabilities
from cataloger.model import Calibration
from cataloger.records import Floats
from cataloger.utils import Share, wilson

STEP = 20
"""Labels after which it is measured again, and for which the gain is estimated."""
LEAST_GAIN = 0.005
"""A gain in the share of right answers by STEP more labels, below which they hardly pay."""
EARLY = 40
"""Labelled images, with fewer of which that is too uncertain to be said."""
HALVES = 4
ROUNDS = 20


@dataclass(frozen=True, slots=True, eq=False)
class Standing:
    """Labelled images as they are answered now. best: int N, position of the label. taken: bool N, accepted.

    weights: float N, images of the catalog that each stands for.
    """

    best: Ints
    taken: Bools
    weights: Floats

    def rows(self, chosen: Ints) -> "Standing":
        """Return those of some images."""
        return Standing(self.best[chosen], self.taken[chosen], self.weights[chosen])


@dataclass(frozen=True, slots=True)
class Measured:
    """Answers of the catalog, as far as the labels tell: right, accepted, and right of the accepted."""

    right: Share
    accepted: Share
    accepted_right: Share


@dataclass(frozen=True, slots=True)
class LabelProgress:
    """What `images` labelled images tell. now: as the source answers. adapted: as `adapt` would make it.

    gains: it would not be refused. more: gain in the share of right answers that STEP more labels are expected to
    bring; None while that is too uncertain.
    """

    images: int
    now: Measured
    adapted: Measured
    gains: bool
    more: float | None

    @property
    def pays(self) -> bool:
        """True while more labels are worth the work, or nothing can be said yet."""
        return self.more is None or self.more >= LEAST_GAIN


def measure_labels(
    labelled: LabelledScores, standing: Standing, shipped: Calibration, *, target: float
) -> LabelProgress:
    """Measure what the labels so far are worth. shipped: without a map, for the labels that the shop sells.

    target: share of the accepted answers that shall be right. Raises TrainingError for too few images.
    """
    sample = draw_sample(labelled, shipped, MOST_TO_CHOOSE)
    mine, folded = standing.rows(sample.rows), sample.folded()
    choice = folded.choose(worth_trying(len(sample.rows)))
    mapped = folded.mapped(choice.by_fold)
    right, taken, _ = decided(mapped, sample, target)
    right_now = sample.labelled.accepted[np.arange(len(mine.best)), mine.best]
    _, _, chance = compared(folded.plain(), mapped, sample.labelled)
    return LabelProgress(
        len(right),
        _measured(right_now, mine.taken, mine.weights),
        _measured(right, taken, mine.weights),
        chance <= CHANCE,
        _gain_of_more(folded, choice, mapped, sample),
    )


def _measured(right: Bools, taken: Bools, weights: Floats) -> Measured:
    return Measured(_share(right, weights), _share(taken, weights), _share(right[taken], weights[taken]))


def _share(which: Bools, weights: Floats) -> Share:
    """Return a weighted share; its interval is that of as many images as the weights are worth (Kish, 1965)."""
    total = float(weights.sum())
    if not total:
        return wilson(0, 0)
    worth = total**2 / float((weights**2).sum())
    return wilson(worth * float(weights[which].sum()) / total, worth)


def _gain_of_more(folded: Folded, choice: Choice, mapped: Floats, sample: Sample) -> float | None:
    """Return the gain that STEP more labels are expected to bring, if each doubling brings what the last one did."""
    groups, accepted = sample.labelled.groups, sample.labelled.accepted
    images = len(groups)
    if images < EARLY:
        return None
    products = np.unique(groups)
    random, by_half = np.random.default_rng(0), []
    for _ in range(HALVES):
        half = random.permutation(products)[: len(products) // 2]
        by_half.append(_likely_right(folded.mapped(choice.by_fold, np.isin(groups, half)), accepted))
    by_doubling = _likely_right(mapped, accepted) - float(np.mean(by_half))
    return by_doubling * math.log2(1 + STEP / images)


def _likely_right(scores: Floats, accepted: Bools) -> float:
    """Return the mean probability of what is right: a share of right answers that single images move less."""
    return float(np.where(accepted, calibrated_probabilities(scores, 1.0), 0.0).sum(axis=1).mean())


def weigh(kinds: Sequence[Sequence[Hashable]], shares: Sequence[Mapping[Hashable, int]]) -> Floats:
    """Return weights by which labelled images are spread over several kinds as the catalog is (raking).

    kinds: for each way to divide the images, the part of each image. shares: for each, part -> images of the catalog.
    """
    weights = np.ones(len(kinds[0]))
    for _ in range(ROUNDS):
        for parts, wanted in zip(kinds, shares, strict=True):
            have: dict[Hashable, float] = defaultdict(float)
            for part, weight in zip(parts, weights, strict=True):
                have[part] += float(weight)
            weights *= [wanted.get(part, 0) / have[part] if have[part] else 0.0 for part in parts]
    return weights
