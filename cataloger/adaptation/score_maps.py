"""Maps of scores learned from labelled images of a shop: a prior, one bias for each label, or a linear map.

All are learned on scores that a temperature has calibrated, for the labels that the shop sells. Each is drawn towards
changing nothing, the more the fewer images there are: `strength` is the weight of that penalty, and how much there
should be of it is decided by cross-validation. What no labelled image speaks of stays nearly as it is.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from cataloger.adaptation.minimize import minimize
from cataloger.inference import calibrated_probabilities, log_sum_exp
from cataloger.model import ScoreMap
from cataloger.records import Floats

Bools = npt.NDArray[np.bool_]
Kind = Literal["prior", "biases", "map"]

STEPS = 60


@dataclass(frozen=True, slots=True)
class Candidate:
    """A kind of map, and how strongly it is drawn towards changing nothing."""

    kind: Kind
    strength: float


CANDIDATES = (
    *(Candidate("prior", strength) for strength in (5.0, 20.0)),
    *(Candidate("biases", strength) for strength in (0.3, 1.0, 3.0)),
    *(Candidate("map", strength) for strength in (3.0, 10.0, 30.0, 100.0)),
)


@dataclass(frozen=True, slots=True)
class LearnedMap:
    """A map of calibrated scores. sold: bool K, the labels that can be the answer. bias: float64 K, 0 where not sold.

    matrix: float64 K x K that is added to the identity, 0 in the rows of labels that are not sold; None without one.
    """

    kind: Kind
    sold: Bools
    bias: Floats
    matrix: Floats | None = None

    def of(self, scores: Floats) -> Floats:
        """Return the scores after it, -inf for labels that are not sold. scores: N x K, calibrated."""
        mapped = scores + self.bias
        if self.matrix is not None:
            mapped = mapped + centred(scores) @ self.matrix.T
        found: Floats = np.where(self.sold, mapped, -np.inf)
        return found

    def score_map(self, temperature: float) -> ScoreMap:
        """Return it for scores as the model gives them. temperature: that the learning began with."""
        bias = tuple((self.bias * temperature).tolist())
        if self.matrix is None:
            return ScoreMap(self.kind, bias)
        count = len(bias)
        # Scores are centred before the map: that is a linear map, too.
        whole = np.eye(count) + self.matrix @ (np.eye(count) - 1.0 / count)
        return ScoreMap(self.kind, bias, tuple(map(tuple, whole.tolist())))


def centred(scores: Floats) -> Floats:
    """Return scores with a mean of 0 in each row: a constant added to all of them means nothing."""
    found: Floats = scores - scores.mean(axis=1, keepdims=True)
    return found


def learn(candidate: Candidate, scores: Floats, accepted: Bools, sold: Bools) -> LearnedMap:
    """Learn a map. scores: float64 N x K, calibrated. accepted: bool N x K, with a sold one in each row."""
    if candidate.kind == "prior":
        return LearnedMap("prior", sold, _prior(scores, accepted, sold, candidate.strength))
    return _descend(candidate, scores, accepted, sold)


def _prior(scores: Floats, accepted: Bools, sold: Bools, strength: float) -> Floats:
    """Return log(how often each label is right / how often it is expected), both with `strength` images more."""
    expected = calibrated_probabilities(np.where(sold, scores, -np.inf), 1.0)
    shares = np.where(accepted & sold, expected, 0.0)
    shares /= np.maximum(shares.sum(axis=1, keepdims=True), 1e-300)
    bias = np.log((shares.sum(axis=0) + strength) / (expected.sum(axis=0) + strength))
    found: Floats = np.where(sold, bias, 0.0)
    return found


def _descend(candidate: Candidate, scores: Floats, accepted: Bools, sold: Bools) -> LearnedMap:
    columns = np.flatnonzero(sold)
    offset, right = scores[:, columns], accepted[:, columns]
    features = centred(scores) if candidate.kind == "map" else np.zeros((len(scores), 0))
    shape = (len(columns), 1 + features.shape[1])
    inputs = np.concatenate([np.ones((len(scores), 1)), features], axis=1)
    penalty = np.full(shape, candidate.strength)
    penalty[:, 0] = min(candidate.strength, 1.0)  # of the biases

    def loss(flat: Floats) -> tuple[float, Floats]:
        weights = flat.reshape(shape)
        mapped = offset + inputs @ weights.T
        inside = np.where(right, mapped, -np.inf)
        total, of_right = log_sum_exp(mapped)[:, None], log_sum_exp(inside)[:, None]
        slope = np.exp(mapped - total) - np.exp(inside - of_right)
        value = float((total - of_right).sum() + 0.5 * (penalty * weights**2).sum())
        return value, (slope.T @ inputs + penalty * weights).ravel()

    weights = minimize(loss, np.zeros(shape[0] * shape[1]), steps=STEPS).reshape(shape)
    bias = np.zeros(len(sold))
    bias[columns] = weights[:, 0]
    if candidate.kind == "biases":
        return LearnedMap("biases", sold, bias)
    matrix = np.zeros((len(sold), len(sold)))
    matrix[columns] = weights[:, 1:]
    return LearnedMap("map", sold, bias, matrix)


def estimate_prior(scores: Floats, sold: Bools, *, rounds: int = 200, images: float = 20.0) -> LearnedMap:
    """Learn a prior without any label: EM for a shift of the labels alone (Saerens et al., 2002).

    scores: float64 N x K, calibrated for labels that are equally frequent. images: that are thought of beside them,
    spread evenly, so that a label that was never seen stays possible.
    """
    even = np.where(sold, 1.0 / sold.sum(), 0.0)
    log_likelihood = np.where(sold, scores, -np.inf)
    prior = even
    for _ in range(rounds):
        with np.errstate(divide="ignore"):
            found = calibrated_probabilities(log_likelihood + np.log(prior), 1.0).sum(axis=0)
        updated = (found + images * even) / (len(scores) + images)
        if np.abs(updated - prior).max() < 1e-7:
            break
        prior = updated
    bias = np.where(sold, np.log(np.maximum(prior, 1e-300) * sold.sum()), 0.0)
    return LearnedMap("prior", sold, bias)
