"""Learning a map of scores from labelled images of a shop, and refusing one that does not gain beyond chance.

What is measured before and after comes from a nested cross-validation (`cross_validation`). In each fold the shipped
scores get a temperature of their own too: a gain is one over the model as it is, well calibrated for this shop, and
not over a temperature that was learned elsewhere.
"""

from dataclasses import dataclass, replace

import numpy as np

from cataloger.adaptation.judgement import compared, decided, is_right
from cataloger.adaptation.labelled_scores import FEWEST, LabelledScores, Sample, draw_sample, sold_labels
from cataloger.adaptation.score_maps import CANDIDATES, Candidate, estimate_prior
from cataloger.adaptation.temperature import losses
from cataloger.errors import TrainingError
from cataloger.model import Calibration
from cataloger.records import Floats

MOST_TO_CHOOSE, MOST_TO_LEARN = 2_000, 20_000
"""Images; more teach a linear map next to nothing, and take minutes."""
CHANCE = 0.05
FEW = 5


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured on images that a map had not seen. right: of `images`. accepted, accepted_right: by the
    thresholds, which belong to it. loss: mean of -log(probability of the right label)."""

    images: int
    right: int
    accepted: int
    accepted_right: int
    loss: float


@dataclass(frozen=True, slots=True)
class CategoryFigures:
    """One category: labelled images, and how many of them were answered right before and after."""

    label: str
    images: int
    before: int
    after: int

    @property
    def needs_more(self) -> bool:
        """True where a few more labelled images are likely to help."""
        return self.images < FEW or 2 * self.after < self.images


@dataclass(frozen=True, slots=True)
class Adapted:
    """What was learned. won, lost: products with more, and with fewer, images right than before. chance: that a map
    that gains nothing looks as good. calibration: None where it was refused."""

    kind: str
    strength: float
    before: Figures
    after: Figures
    won: int
    lost: int
    chance: float
    categories: tuple[CategoryFigures, ...]
    calibration: Calibration | None

    @property
    def gains(self) -> bool:
        """True when it is better than the model as it is, beyond chance."""
        return self.calibration is not None


def learn_adaptation(labelled: LabelledScores, shipped: Calibration, *, target: float) -> Adapted:
    """Learn a calibration with a map of the scores. shipped: as the source has it, with the labels that it sells.

    target: share of the accepted answers that shall be right. Raises TrainingError for too few images.
    """
    sample = draw_sample(labelled, shipped, MOST_TO_CHOOSE)
    folded = sample.folded()
    choice = folded.choose(worth_trying(len(sample.rows)))
    plain, mapped = folded.plain(), folded.mapped(choice.by_fold)
    won, lost, chance = compared(plain, mapped, sample.labelled)
    before, _ = _figures(plain, sample, target)
    after, thresholds = _figures(mapped, sample, target)
    best, calibration = choice.best, None
    if chance <= CHANCE:
        learned = _learned(best, draw_sample(labelled, shipped, MOST_TO_LEARN), shipped)
        calibration = replace(learned, target_precision=target, thresholds=thresholds)
    categories = _categories(plain, mapped, sample.labelled)
    return Adapted(best.kind, best.strength, before, after, won, lost, chance, categories, calibration)


def learn_unlabelled(scores: Floats, labels: tuple[str, ...], shipped: Calibration) -> Calibration:
    """Learn how frequent the labels are in a shop from the scores of its images alone; thresholds stay as they are.

    scores: float32 N x K. Raises TrainingError for too few images.
    """
    if len(scores) < FEWEST:
        raise TrainingError(f"{len(scores)} images are too few to estimate what a shop sells")
    temperature = shipped.temperature
    learned = estimate_prior(scores.astype(np.float64) / temperature, sold_labels(labels, shipped))
    return replace(shipped, adaptation=learned.score_map(temperature))


def worth_trying(images: int) -> list[Candidate]:
    """Return the candidates; a full map of a few images is noise that the cross-validation would have to find out."""
    return [each for each in CANDIDATES if each.kind != "map" or images >= 2 * FEWEST]


def _learned(candidate: Candidate, sample: Sample, shipped: Calibration) -> Calibration:
    learned, temperature = sample.folded().learned(candidate)
    return replace(shipped, temperature=temperature, adaptation=learned.score_map(temperature))


def _figures(scores: Floats, sample: Sample, target: float) -> tuple[Figures, dict[str, float]]:
    right, accepted, thresholds = decided(scores, sample, target)
    counts = len(right), int(right.sum()), int(accepted.sum()), int(right[accepted].sum())
    return Figures(*counts, float(losses(scores, sample.labelled.accepted).mean())), thresholds


def _categories(plain: Floats, mapped: Floats, sample: LabelledScores) -> tuple[CategoryFigures, ...]:
    """Count by category; an image with several labels counts for the first of them."""
    first = sample.accepted.argmax(axis=1)
    before, after = is_right(plain, sample.accepted), is_right(mapped, sample.accepted)
    found = []
    for position, label in enumerate(sample.labels):
        mine = first == position
        if mine.any():
            found.append(CategoryFigures(label, int(mine.sum()), int(before[mine].sum()), int(after[mine].sum())))
    return tuple(found)
