"""Temperature scaling on validation logits (Guo et al., arXiv:1706.04599)."""

import math

import numpy as np
import numpy.typing as npt

from cataloger.classify.base import log_sum_exp
from cataloger.records import Floats

LOG_TEMPERATURE_RANGE = (math.log(0.05), math.log(20.0))
GOLDEN_RATIO = (math.sqrt(5.0) - 1.0) / 2.0


def negative_log_likelihood(logits: Floats, accepted: npt.NDArray[np.bool_], temperature: float) -> float:
    """Return the mean of -log(summed probability of the accepted labels). logits, accepted: N x labels."""
    scaled = logits.astype(np.float64) / temperature
    right = np.where(accepted, scaled, -np.inf)
    return float((log_sum_exp(scaled) - log_sum_exp(right)).mean())


def fit_temperature(logits: Floats, accepted: npt.NDArray[np.bool_]) -> float:
    """Return the temperature that minimises the negative log-likelihood, by golden-section search.

    With one accepted label a row the loss is unimodal in log T, since it is convex in 1/T.
    """
    low, high = LOG_TEMPERATURE_RANGE
    while high - low > 1e-5:
        left, right = high - GOLDEN_RATIO * (high - low), low + GOLDEN_RATIO * (high - low)
        if _loss(logits, accepted, left) <= _loss(logits, accepted, right):
            high = right
        else:
            low = left
    return math.exp((low + high) / 2)


def _loss(logits: Floats, accepted: npt.NDArray[np.bool_], log_temperature: float) -> float:
    return negative_log_likelihood(logits, accepted, math.exp(log_temperature))
