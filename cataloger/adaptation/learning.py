"""Choosing a map of scores by cross-validation, and refusing one that does not gain beyond chance.

The images of one product are in one fold, so that none is judged by a map that has seen its twin. In each fold the
shipped scores get a temperature of their own too: a gain is one over the model as it is, well calibrated for this
shop, and not over a temperature that was learned elsewhere.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from cataloger.adaptation.score_maps import CANDIDATES, Bools, Candidate, LearnedMap, estimate_prior, learn
from cataloger.adaptation.temperature import fit_temperature, losses
from cataloger.adaptation.thresholds import Answers, fit_thresholds
from cataloger.errors import TrainingError
from cataloger.inference import calibrated_probabilities
from cataloger.model import Calibration
from cataloger.records import Floats

Ints = npt.NDArray[np.int64]

FOLDS = 5
FEWEST = 10
"""Labelled images; with fewer nothing could be told from chance."""
MOST_TO_CHOOSE, MOST_TO_LEARN = 4_000, 20_000
"""Images; more teach a linear map next to nothing, and take minutes."""
CHANCE = 0.05
FEW = 5


@dataclass(frozen=True, slots=True)
class LabelledScores:
    """Labelled images of one shop. labels: of the model, K. scores: float32 N x K, as the model gives them.

    accepted: bool N x K, the labels that are right. groups: int N, equal for images of one product. familiarity:
    float N; None if the model has none.
    """

    labels: tuple[str, ...]
    scores: Floats
    accepted: Bools
    groups: Ints
    familiarity: Floats | None = None

    def rows(self, chosen: Ints | Bools) -> "LabelledScores":
        """Return those of some images."""
        known = None if self.familiarity is None else self.familiarity[chosen]
        return LabelledScores(self.labels, self.scores[chosen], self.accepted[chosen], self.groups[chosen], known)


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
    labelled = _usable(labelled, shipped)
    sold = _sold(labelled.labels, shipped)
    sample = _sample(labelled, MOST_TO_CHOOSE)
    folds = _folds(sample.groups)
    scores = sample.scores.astype(np.float64)
    plain = _held_out(None, scores, sample.accepted, sold, folds)
    tried = {each: _held_out(each, scores, sample.accepted, sold, folds) for each in _worth_trying(sample)}
    best = min(tried, key=lambda each: float(losses(tried[each], sample.accepted).mean()))
    won, lost, chance = _compared(plain, tried[best], sample)
    known = _known(sample, shipped)
    before, _ = _figures(plain, sample, known, target)
    after, thresholds = _figures(tried[best], sample, known, target)
    calibration = None
    if chance <= CHANCE:
        whole = _sample(labelled, MOST_TO_LEARN)
        learned = _calibration(best, whole, sold, shipped)
        calibration = replace(learned, target_precision=target, thresholds=thresholds)
    categories = _categories(plain, tried[best], sample)
    return Adapted(best.kind, best.strength, before, after, won, lost, chance, categories, calibration)


def learn_unlabelled(scores: Floats, labels: tuple[str, ...], shipped: Calibration) -> Calibration:
    """Learn how frequent the labels are in a shop from the scores of its images alone; thresholds stay as they are.

    scores: float32 N x K. Raises TrainingError for too few images.
    """
    if len(scores) < FEWEST:
        raise TrainingError(f"{len(scores)} images are too few to estimate what a shop sells")
    temperature = shipped.temperature
    learned = estimate_prior(scores.astype(np.float64) / temperature, _sold(labels, shipped))
    return replace(shipped, adaptation=learned.score_map(temperature))


def _usable(labelled: LabelledScores, shipped: Calibration) -> LabelledScores:
    """Leave out images whose labels the shop does not sell."""
    usable: Bools = np.asarray((labelled.accepted & _sold(labelled.labels, shipped)).any(axis=1))
    products = len(np.unique(labelled.groups[usable]))
    if products < FEWEST:
        raise TrainingError(
            f"{products} products with a label are too few to adapt to: label {FEWEST} or more, of every category"
        )
    return labelled.rows(usable)


def _sold(labels: Sequence[str], shipped: Calibration) -> Bools:
    allowed = set(labels if shipped.allowed is None else shipped.allowed)
    return np.array([label in allowed for label in labels])


def _sample(labelled: LabelledScores, most: int) -> LabelledScores:
    """Return all, or `most` drawn by chance: whole products, the same ones every time."""
    if len(labelled.groups) <= most:
        return labelled
    products, sizes = np.unique(labelled.groups, return_counts=True)
    order = np.random.default_rng(0).permutation(len(products))
    chosen = products[order][np.cumsum(sizes[order]) <= most]
    return labelled.rows(np.isin(labelled.groups, chosen))


def _folds(groups: Ints) -> Ints:
    """Return the fold of each image: whole products, drawn by chance, the same ones every time."""
    products, inverse = np.unique(groups, return_inverse=True)
    folds = np.arange(len(products)) % FOLDS
    found: Ints = np.random.default_rng(0).permutation(folds)[inverse]
    return found


def _worth_trying(sample: LabelledScores) -> list[Candidate]:
    """A full map of a few images is noise that the cross-validation would have to find out."""
    return [each for each in CANDIDATES if each.kind != "map" or len(sample.groups) >= 2 * FEWEST]


def _held_out(candidate: Candidate | None, scores: Floats, accepted: Bools, sold: Bools, folds: Ints) -> Floats:
    """Return calibrated scores of each image by what was learned on the other folds. candidate: None for no map."""
    found = np.empty_like(scores)
    for fold in range(FOLDS):
        mine, others = folds == fold, folds != fold
        learned, temperature = _learned(candidate, scores[others], accepted[others], sold)
        found[mine] = learned.of(scores[mine] / temperature)
    return found


def _learned(candidate: Candidate | None, scores: Floats, accepted: Bools, sold: Bools) -> tuple[LearnedMap, float]:
    temperature = fit_temperature(np.where(sold, scores, -np.inf), accepted & sold)
    if candidate is None:
        return LearnedMap("prior", sold, np.zeros(len(sold))), temperature
    return learn(candidate, scores / temperature, accepted & sold, sold), temperature


def _calibration(candidate: Candidate, labelled: LabelledScores, sold: Bools, shipped: Calibration) -> Calibration:
    scores = labelled.scores.astype(np.float64)
    learned, temperature = _learned(candidate, scores, labelled.accepted, sold)
    return replace(shipped, temperature=temperature, adaptation=learned.score_map(temperature))


def _is_right(scores: Floats, accepted: Bools) -> Bools:
    rows = np.arange(len(scores))
    right: Bools = accepted[rows, scores.argmax(axis=1)]
    return right


def _compared(plain: Floats, mapped: Floats, sample: LabelledScores) -> tuple[int, int, float]:
    """Return products that won and lost, and the chance of that much for a map that gains nothing (sign test).

    Where no product's answer changed from right or to right, confidences decide: the products whose labels became
    more likely.
    """
    gain = _is_right(mapped, sample.accepted).astype(float) - _is_right(plain, sample.accepted)
    by_product = _sums(gain, sample.groups)
    won, lost = int((by_product > 0).sum()), int((by_product < 0).sum())
    likelier = _sums(losses(plain, sample.accepted) - losses(mapped, sample.accepted), sample.groups)
    deviation = likelier.std(ddof=1) / math.sqrt(len(likelier))
    by_likelihood = 0.5 * math.erfc(likelier.mean() / max(deviation, 1e-300) / math.sqrt(2))
    # Labels must be likelier than by the model as it is, and more answers right than wrong by the change.
    chance = by_likelihood if won > lost else max(by_likelihood, _sign_test(won, lost))
    return won, lost, float(chance)


def _sums(values: Floats, groups: Ints) -> Floats:
    _, inverse = np.unique(groups, return_inverse=True)
    found = np.zeros(int(inverse.max()) + 1)
    np.add.at(found, inverse, values)
    return found


def _sign_test(won: int, lost: int) -> float:
    """Return the chance that a fair coin shows `won` heads or more in `won + lost` throws."""
    total = won + lost
    return sum(math.comb(total, heads) for heads in range(won, total + 1)) / 2**total if total else 1.0


def _known(sample: LabelledScores, shipped: Calibration) -> Bools:
    """Return the images that are not abstained from."""
    if sample.familiarity is None or shipped.least_familiarity is None:
        return np.ones(len(sample.groups), np.bool_)
    known: Bools = sample.familiarity >= shipped.least_familiarity
    return known


def _figures(scores: Floats, sample: LabelledScores, known: Bools, target: float) -> tuple[Figures, dict[str, float]]:
    probabilities = calibrated_probabilities(scores, 1.0)
    best, right = probabilities.argmax(axis=1), _is_right(scores, sample.accepted)
    confidence = probabilities.max(axis=1)
    answers = Answers(confidence, best, right, sample.groups).rows(known)
    thresholds = fit_thresholds(answers, labels=sample.labels, target=target)
    limits = np.array([thresholds.get(label, math.inf) for label in sample.labels])
    accepted = known & (confidence >= limits[best])
    loss = float(losses(scores, sample.accepted).mean())
    counts = len(right), int(right.sum()), int(accepted.sum()), int(right[accepted].sum())
    return Figures(*counts, loss), thresholds


def _categories(plain: Floats, mapped: Floats, sample: LabelledScores) -> tuple[CategoryFigures, ...]:
    """Count by category; an image with several labels counts for the first of them."""
    first = sample.accepted.argmax(axis=1)
    before, after = _is_right(plain, sample.accepted), _is_right(mapped, sample.accepted)
    found = []
    for position, label in enumerate(sample.labels):
        mine = first == position
        if mine.any():
            found.append(CategoryFigures(label, int(mine.sum()), int(before[mine].sum()), int(after[mine].sum())))
    return tuple(found)
