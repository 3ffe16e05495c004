"""Calibration: confidences, and the decisions that they allow.

A bundle's calibration is learned on validation images (`cataloger.training.calibration.calibrate`) and decides
nothing about the order of the labels. It can be exchanged without training, and results in a database follow without
inference (`cataloger recalibrate`).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from cataloger.contracts import Decision
from cataloger.errors import UsageError


@dataclass(frozen=True, slots=True)
class Calibration:
    """How scores become confidences and decisions.

    temperature: logits are divided by it before the softmax (Guo et al., arXiv:1706.04599). target_precision: share
    of the accepted answers that must be right; None if there are no decisions. thresholds: the smallest confidence
    at which a label is accepted; a label that is missing is never accepted. least_familiarity: an image below it
    looks like nothing that the model was trained on; None if the model has no such score.
    """

    temperature: float = 1.0
    target_precision: float | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict)
    least_familiarity: float | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise UsageError(f"the temperature of a calibration must be positive, not {self.temperature}")
        if self.target_precision is not None and not 0.0 < self.target_precision < 1.0:
            raise UsageError(f"the target precision must be between 0 and 1, not {self.target_precision}")

    def decide(self, label: str, confidence: float, familiarity: float | None) -> Decision | None:
        """Return whether an answer is accepted, to be reviewed, or abstained from.

        abstain: the image shows nothing that the model was trained on, such as a chair, a face or a size chart. None:
        the calibration has no thresholds.
        """
        if self.target_precision is None:
            return None
        if self.least_familiarity is not None and familiarity is not None and familiarity < self.least_familiarity:
            return "abstain"
        threshold = self.thresholds.get(label)
        return "accept" if threshold is not None and confidence >= threshold else "review"

    def to_json(self) -> dict[str, Any]:
        """Return what bundle.json holds; what is not set is left out."""
        values: dict[str, Any] = {"temperature": self.temperature}
        if self.target_precision is not None:
            values |= {"target_precision": self.target_precision, "thresholds": dict(self.thresholds)}
        if self.least_familiarity is not None:
            values["least_familiarity"] = self.least_familiarity
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_json` returned. Raises KeyError, TypeError, ValueError or UsageError."""
        target, least = values.get("target_precision"), values.get("least_familiarity")
        return cls(
            temperature=float(values["temperature"]),
            target_precision=None if target is None else float(target),
            thresholds={label: float(value) for label, value in values.get("thresholds", {}).items()},
            least_familiarity=None if least is None else float(least),
        )
