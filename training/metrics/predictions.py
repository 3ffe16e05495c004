"""What a model says of labelled images, whether computed just now or read from a database."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from cataloger.inference import adapted_scores, calibrated_probabilities
from cataloger.model import Calibration
from cataloger.records import Floats

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

NOT_RANKED = -1


@dataclass(frozen=True, slots=True)
class Predictions:
    """Labels of N images, best first, as far down as they are known.

    labels: of the model, in its order. ranked: int64 N x k, positions in `labels`, NOT_RANKED where none is known.
    confidence: float64 N x k, calibrated; nan where none is known. decisions: accept, review, abstain or None for
    each image; None without decisions.
    """

    labels: tuple[str, ...]
    ranked: Ints
    confidence: Floats
    decisions: tuple[str | None, ...] | None = None

    @classmethod
    def of_logits(cls, logits: Floats, labels: Sequence[str], temperature: float) -> Self:
        """Rank all labels by logits (N x labels), ties in label order."""
        ranked = np.argsort(-logits, axis=1, kind="stable")
        confidence = np.take_along_axis(calibrated_probabilities(logits, temperature), ranked, axis=1)
        return cls(tuple(labels), ranked, confidence)

    @classmethod
    def of_scores(cls, logits: Floats, labels: Sequence[str], calibration: Calibration) -> Self:
        """Rank the labels that a calibration allows by the scores that it makes of logits (N x labels)."""
        found = cls.of_logits(adapted_scores(logits, labels, calibration), labels, calibration.temperature)
        if calibration.allowed is None:
            return found
        depth = len(calibration.allowed)
        return cls(found.labels, found.ranked[:, :depth], found.confidence[:, :depth])

    @property
    def depth(self) -> int:
        """How many labels are known of every image."""
        known = (self.ranked != NOT_RANKED).all(axis=0)
        return int(known.sum())

    def hits(self, accepted: Bools) -> Bools:
        """Return bool N x k: whether the label of each rank is accepted (bool N x labels)."""
        found: Bools = np.take_along_axis(accepted, np.maximum(self.ranked, 0), axis=1)
        found &= self.ranked != NOT_RANKED
        return found

    def rows(self, chosen: Bools) -> "Predictions":
        """Return those of some images. chosen: bool N."""
        decisions = self.decisions and tuple(d for d, keep in zip(self.decisions, chosen, strict=True) if keep)
        return Predictions(self.labels, self.ranked[chosen], self.confidence[chosen], decisions)
