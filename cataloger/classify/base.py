"""What every classifier is, and how logits become predictions."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from cataloger.bundle import Bundle
from cataloger.calibration import Calibration
from cataloger.records import Batch, Failure, Floats, Image, Pixels, Prediction, Result

STORED = np.dtype("<f4")


class Scores(NamedTuple):
    """What a network says of N images. logits: float32 N x labels. familiarity: float32 N, None if it has none."""

    logits: Floats
    familiarity: Floats | None = None

    def rows(self, chosen: npt.NDArray[np.bool_]) -> "Scores":
        """Return those of some images. chosen: bool N."""
        return Scores(self.logits[chosen], None if self.familiarity is None else self.familiarity[chosen])

    @classmethod
    def joined(cls, parts: Sequence["Scores"]) -> "Scores":
        """Return the scores of several batches as one."""
        known = [part.familiarity for part in parts if part.familiarity is not None]
        return cls(np.concatenate([part.logits for part in parts]), np.concatenate(known) if known else None)


class Classifier(Protocol):
    """A loaded model."""

    @property
    def labels(self) -> Sequence[str]:
        """The labels, in the order of the logits."""
        ...

    @property
    def calibration(self) -> Calibration:
        """How its scores become confidences and decisions."""
        ...

    @property
    def device(self) -> str:
        """Where it runs, e.g. "cpu"."""
        ...

    def scores(self, pixels: Pixels) -> Scores:
        """Classify uint8 N x size x size x 3."""
        ...


class OfBundle:
    """What classifiers that run a bundle have in common."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle

    @property
    def labels(self) -> Sequence[str]:
        """The labels, in the order of the logits."""
        return self._bundle.labels

    @property
    def calibration(self) -> Calibration:
        """How its scores become confidences and decisions."""
        return self._bundle.calibration


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
    scores = classifier.scores(batch.pixels())
    familiarity = [None] * len(scores.logits) if scores.familiarity is None else map(float, scores.familiarity)
    ranking = Ranking(classifier.labels, classifier.calibration, top_k)
    return [
        _result(image, row, known, ranking)
        for image, row, known in zip(batch.images, scores.logits, familiarity, strict=True)
    ]


class Ranked(NamedTuple):
    """The best labels, best first, with confidences and raw logits, and what to do with them."""

    labels: tuple[str, ...]
    confidences: tuple[float, ...]
    logits: tuple[float, ...]
    decision: str | None


class Ranking(NamedTuple):
    """Ranks labels by raw scores. labels: in the order of the logits."""

    labels: Sequence[str]
    calibration: Calibration
    top_k: int

    def of(self, logits: Floats, familiarity: float | None) -> Ranked:
        """Return the best labels for one image. logits: of all labels."""
        best = rank(logits, self.top_k)
        probabilities = calibrated_probabilities(logits, self.calibration.temperature)
        confidences = tuple(float(probabilities[index]) for index in best)
        return Ranked(
            labels=tuple(self.labels[index] for index in best),
            confidences=confidences,
            logits=tuple(float(logits[index]) for index in best),
            decision=self.calibration.decide(self.labels[best[0]], confidences[0], familiarity),
        )


def _result(image: Image, logits: Floats, familiarity: float | None, ranking: Ranking) -> Result:
    if not np.isfinite(logits).all():
        message = "the model's scores for this image are not finite numbers"
        return Failure(image.item, "classify.not_finite", message, image.content_hash)
    answer = ranking.of(logits, familiarity)
    return Prediction(
        item=image.item,
        content_hash=image.content_hash,
        width=image.width,
        height=image.height,
        labels=answer.labels,
        confidences=answer.confidences,
        logits=answer.logits,
        log_sum_exp=float(log_sum_exp(logits.astype(np.float64))),
        scores=logits.astype(STORED).tobytes(),
        familiarity=familiarity,
        decision=answer.decision,
    )
