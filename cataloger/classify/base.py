"""What every classifier is, and how logits become predictions."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from cataloger.records import Batch, Failure, Floats, Image, Pixels, Prediction, Result


class Classifier(Protocol):
    """A loaded model."""

    @property
    def labels(self) -> Sequence[str]:
        """The labels, in the order of the logits."""
        ...

    @property
    def temperature(self) -> float:
        """What logits are divided by before the softmax."""
        ...

    @property
    def device(self) -> str:
        """Where it runs, e.g. "cpu"."""
        ...

    def logits(self, pixels: Pixels) -> Floats:
        """Classify uint8 N x size x size x 3; return float32 N x labels."""
        ...


def log_sum_exp(logits: Floats) -> Floats:
    """Return log(sum(exp(logits))) over the last axis without overflow."""
    peak = logits.max(axis=-1, keepdims=True)
    total: Floats = np.log(np.exp(logits - peak).sum(axis=-1)) + peak[..., 0]
    return total


def calibrated_probabilities(logits: Floats, temperature: float) -> Floats:
    """Softmax of logits / temperature (Guo et al., arXiv:1706.04599), in float64, over the last axis."""
    scaled = logits.astype(np.float64) / temperature
    probabilities: Floats = np.exp(scaled - log_sum_exp(scaled)[..., None])
    return probabilities


def rank(logits: Floats, top_k: int) -> list[int]:
    """Return the indices of the `top_k` largest of one row of logits, ties in label order."""
    return [int(index) for index in np.argsort(-logits, kind="stable")[:top_k]]


def classify(classifier: Classifier, batch: Batch, *, top_k: int) -> list[Result]:
    """Classify a batch. An image whose logits are not finite becomes a failure; the others are untouched."""
    logits = classifier.logits(batch.pixels())
    return [_result(image, row, classifier, top_k) for image, row in zip(batch.images, logits, strict=True)]


def _result(image: Image, logits: Floats, classifier: Classifier, top_k: int) -> Result:
    if not np.isfinite(logits).all():
        message = "the model's scores for this image are not finite numbers"
        return Failure(image.item, "classify.not_finite", message, image.content_hash)
    best = rank(logits, top_k)
    probabilities = calibrated_probabilities(logits, classifier.temperature)
    return Prediction(
        item=image.item,
        content_hash=image.content_hash,
        width=image.width,
        height=image.height,
        labels=tuple(classifier.labels[index] for index in best),
        confidences=tuple(float(probabilities[index]) for index in best),
        logits=tuple(float(logits[index]) for index in best),
        log_sum_exp=float(log_sum_exp(logits.astype(np.float64))),
    )
