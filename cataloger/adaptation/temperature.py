"""The temperature of a softmax, and the likelihood of labels of which several may be right."""

import math

import numpy as np
import numpy.typing as npt

from cataloger.inference import log_sum_exp
from cataloger.records import Floats

PRIOR_DEVIATION = 0.3
"""Of log T: temperatures of trained networks mostly lie between a half and two."""

FREE = math.inf
"""A deviation that leaves a temperature above 1 to the images alone."""

LOG_TEMPERATURE_RANGE = (math.log(0.05), math.log(20.0))
GOLDEN_RATIO = (math.sqrt(5.0) - 1.0) / 2.0


def negative_log_likelihood(logits: Floats, accepted: npt.NDArray[np.bool_], temperature: float) -> float:
    """Return the mean of -log(summed probability of the accepted labels). logits, accepted: N x labels."""
    return float(losses(logits.astype(np.float64) / temperature, accepted).mean())


def losses(scores: Floats, accepted: npt.NDArray[np.bool_]) -> Floats:
    """Return -log(summed probability of the accepted labels) of each row, at temperature 1."""
    loss: Floats = log_sum_exp(scores) - log_sum_exp(np.where(accepted, scores, -np.inf))
    return loss


def fit_temperature(logits: Floats, accepted: npt.NDArray[np.bool_], *, above: float = PRIOR_DEVIATION) -> float:
    """Return the temperature that makes the labels most likely, by golden-section search (Guo et al., 1706.04599).

    With one accepted label per row the loss is unimodal in log T, since it is convex in 1/T. A few images that are
    all right would make it fall to nothing, and every answer certain; so log T has a normal prior around 0, of which
    hundreds of images leave no trace. above: its deviation on the side of T > 1.
    """
    low, high = LOG_TEMPERATURE_RANGE
    while high - low > 1e-5:
        left, right = high - GOLDEN_RATIO * (high - low), low + GOLDEN_RATIO * (high - low)
        if _loss(logits, accepted, left, above) <= _loss(logits, accepted, right, above):
            high = right
        else:
            low = left
    return math.exp((low + high) / 2)


def _loss(logits: Floats, accepted: npt.NDArray[np.bool_], log_temperature: float, above: float) -> float:
    deviation = above if log_temperature > 0 else PRIOR_DEVIATION
    likelihood = len(logits) * negative_log_likelihood(logits, accepted, math.exp(log_temperature))
    return likelihood + 0.5 * (log_temperature / deviation) ** 2
