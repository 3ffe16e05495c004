"""The interface of classifiers, and how logits become predictions."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from cataloger.model import Bundle, Calibration
from cataloger.records import Batch, Failure, Floats, Image, Item, Pixels, Prediction, Result

STORED = np.dtype("<f4")


class Scores(NamedTuple):
    """Outputs for N images. logits: float32 N x labels. familiarity: float32 N, None if it has none."""

    logits: Floats
    familiarity: Floats | None = None

    def rows(self, chosen: npt.NDArray[np.bool_]) -> "Scores":
        """Return those of some images. chosen: bool N."""
        return Scores(self.logits[chosen], None if self.familiarity is None else self.familiarity[chosen])

    def familiarities(self) -> Sequence[float | None]:
        """Return one for each image."""
        known: list[float | None] = [None] * len(self.logits)
        return known if self.familiarity is None else self.familiarity.tolist()

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

    def close(self) -> None:
        """Free what it holds. Calls that are under way, where they can be ended, raise BundleError."""
        ...


class OfBundle:
    """What classifiers that run a bundle have in common."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle

    def close(self) -> None:
        """Nothing has to be freed."""

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


def adapted_scores(logits: Floats, labels: Sequence[str], calibration: Calibration) -> Floats:
    """Return what confidences and ranks are made of: mapped scores, -inf for a label that cannot be the answer.

    logits: N x labels, as the model gives them; returned unchanged, and in its own type, without an adaptation.
    """
    adaptation, allowed = calibration.adaptation, calibration.allowed
    if adaptation is not None:
        logits = logits.astype(np.float64)
        if adaptation.matrix is not None:
            logits = logits @ np.array(adaptation.matrix).T
        logits = logits + np.array(adaptation.bias)
    if allowed is not None:
        known = frozenset(allowed)
        logits = np.where([label in known for label in labels], logits, -np.inf)
    return logits


def known_images(calibration: Calibration, scores: Scores) -> npt.NDArray[np.bool_]:
    """Return which of N images show what a model was trained on, bool N; the others are abstained from.

    The raw scores of all labels tell, whatever labels a shop sells; familiarity where a calibration has no limit for
    them.
    """
    if calibration.least_log_sum_exp is not None:
        return np.asarray(log_sum_exp(scores.logits.astype(np.float64)) >= calibration.least_log_sum_exp)
    if calibration.least_familiarity is not None and scores.familiarity is not None:
        # In double precision, as ledgers keep it: an image at the limit is decided the same way everywhere.
        return np.asarray(scores.familiarity.astype(np.float64) >= calibration.least_familiarity)
    return np.ones(len(scores.logits), dtype=np.bool_)


def rank(logits: Floats, top_k: int) -> npt.NDArray[np.intp]:
    """Return the indices of the `top_k` largest logits along the last axis, best first, ties in label order."""
    return np.argsort(-logits, axis=-1, kind="stable")[..., :top_k]


def classify(
    classifier: Classifier, batch: Batch, *, top_k: int, calibration_of: Callable[[Item], Calibration] | None = None
) -> list[Result]:
    """Classify a batch. An image whose logits are not finite becomes a failure; the others are untouched.

    calibration_of: for each image; without it that of the classifier.
    """
    scores = classifier.scores(batch.pixels())
    is_finite: npt.NDArray[np.bool_] = np.asarray(np.isfinite(scores.logits).all(axis=-1))
    if scores.familiarity is not None:
        is_finite &= np.isfinite(scores.familiarity)
    images = [image for image, is_good in zip(batch.images, is_finite, strict=True) if is_good]
    own = classifier.calibration
    calibrations = [own if calibration_of is None else calibration_of(image.item) for image in images]
    answers = rank_by(calibrations, scores.rows(is_finite), classifier.labels, top_k)
    predictions = _predictions(images, scores.rows(is_finite), answers)
    return [
        next(predictions) if is_good else _not_finite(image)
        for image, is_good in zip(batch.images, is_finite, strict=True)
    ]


class Ranked(NamedTuple):
    """The best labels, best first, with confidences and raw logits, and the decision."""

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
        known = None if familiarity is None else np.array([familiarity])
        return self.of_all(Scores(logits[np.newaxis], known))[0]

    def of_all(self, scores: Scores) -> list[Ranked]:
        """Return the best labels for each of N images, which costs a fraction of N times one.

        The logits of an answer are those of the model, whatever they go through.
        """
        adapted = adapted_scores(scores.logits, self.labels, self.calibration)
        allowed = self.calibration.allowed
        best = rank(adapted, self.top_k if allowed is None else min(self.top_k, len(allowed)))
        probabilities = calibrated_probabilities(adapted, self.calibration.temperature)
        chosen = (np.take_along_axis(values, best, axis=-1).tolist() for values in (probabilities, scores.logits))
        known = known_images(self.calibration, scores).tolist()
        return [self._ranked(*row) for row in zip(best.tolist(), *chosen, known, strict=True)]

    def _ranked(self, best: list[int], confidences: list[float], logits: list[float], is_known: bool) -> Ranked:
        labels = tuple(self.labels[index] for index in best)
        decision = self.calibration.decide(labels[0], confidences[0], is_known=is_known)
        return Ranked(labels, tuple(confidences), tuple(logits), decision)


def rank_by(calibrations: Sequence[Calibration], scores: Scores, labels: Sequence[str], top_k: int) -> list[Ranked]:
    """Return the best labels for each of N images, each by a calibration of its own; equal ones at once."""
    groups: dict[int, list[int]] = defaultdict(list)
    for row, calibration in enumerate(calibrations):
        groups[id(calibration)].append(row)
    found: dict[int, Ranked] = {}
    for rows in groups.values():
        chosen = np.zeros(len(calibrations), dtype=np.bool_)
        chosen[rows] = True
        part = scores if len(groups) == 1 else scores.rows(chosen)
        found |= zip(rows, Ranking(labels, calibrations[rows[0]], top_k).of_all(part), strict=True)
    return [found[row] for row in range(len(calibrations))]


def _predictions(images: Sequence[Image], scores: Scores, answers: Sequence[Ranked]) -> Iterator[Prediction]:
    sums = log_sum_exp(scores.logits.astype(np.float64)).tolist()
    stored = scores.logits.astype(STORED)
    rows = zip(images, answers, sums, stored, scores.familiarities(), strict=True)
    for image, answer, log_sum, logits, familiarity in rows:
        yield Prediction(
            item=image.item,
            content_hash=image.content_hash,
            width=image.width,
            height=image.height,
            labels=answer.labels,
            confidences=answer.confidences,
            logits=answer.logits,
            log_sum_exp=log_sum,
            scores=logits.tobytes(),
            familiarity=familiarity,
            decision=answer.decision,
            decoder=image.decoder,
        )


def _not_finite(image: Image) -> Failure:
    message = "the model's scores for this image are not finite numbers"
    return Failure(image.item, "classify.not_finite", message, image.content_hash)
