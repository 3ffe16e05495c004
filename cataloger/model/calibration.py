"""Calibration: confidences, and the decisions that they allow.

A bundle's calibration is learned on validation images (`cataloger.training.calibration.calibrate`). It decides
nothing about the order of the labels, unless it is adapted to a shop: then the scores go through a linear map before,
or labels that the shop does not sell are left out. It can be exchanged without training, and results in a database
follow without inference (`cataloger recalibrate`).
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from cataloger.contracts import Decision
from cataloger.errors import UsageError


@dataclass(frozen=True, slots=True)
class ScoreMap:
    """A linear map of the scores of one image: matrix @ scores + bias.

    kind: what was learned: prior, biases or map. bias: one number for each label, in the order of the scores. matrix:
    row by row; None for the identity.
    """

    kind: str
    bias: tuple[float, ...]
    matrix: tuple[tuple[float, ...], ...] | None = None

    def __post_init__(self) -> None:
        rows = self.matrix or ()
        if any(not math.isfinite(value) for row in (self.bias, *rows) for value in row):
            raise UsageError("the adaptation of a calibration holds what is no finite number")
        if self.matrix is not None and {len(rows), *map(len, rows)} != {len(self.bias)}:
            raise UsageError(
                f"the matrix of an adaptation must have {len(self.bias)} rows and columns, as its bias has"
            )

    def to_json(self) -> dict[str, Any]:
        """Return what bundle.json holds."""
        matrix = {} if self.matrix is None else {"matrix": [list(row) for row in self.matrix]}
        return {"kind": self.kind, "bias": list(self.bias), **matrix}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_json` returned. Raises KeyError, TypeError, ValueError or UsageError."""
        matrix = values.get("matrix")
        rows = None if matrix is None else tuple(tuple(map(float, row)) for row in matrix)
        return cls(str(values["kind"]), tuple(map(float, values["bias"])), rows)


@dataclass(frozen=True, slots=True)
class ShopFigures:
    """The labelled images of one shop that thresholds were learned on. source: its name in the ledger.

    labelled: how many. accepted: of these, by thresholds that had not seen them. right: of the accepted.
    """

    source: str
    labelled: int
    accepted: int
    right: int

    def to_json(self) -> dict[str, Any]:
        """Return what bundle.json holds."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_json` returned. Raises KeyError, TypeError or ValueError."""
        counts = (int(values[name]) for name in ("labelled", "accepted", "right"))
        return cls(str(values["source"]), *counts)


@dataclass(frozen=True, slots=True)
class Calibration:
    """How scores become confidences and decisions.

    temperature: logits are divided by it before the softmax (Guo et al., arXiv:1706.04599). target_precision: share
    of the accepted answers that must be right; None if there are no decisions. thresholds: the smallest confidence
    at which a label is accepted; a label that is missing is never accepted. least_familiarity: an image below it
    looks like nothing that the model was trained on; None if the model has no such score. adaptation: what the scores
    of all labels go through first; None if they stay as they are. allowed: the labels that can be the answer, in the
    model's order; the scores of the others are left out before the softmax. None for all. least_log_sum_exp:
    the same limit for the log of the summed exponentials of all raw scores, which tells products from other things
    on backgrounds that are not familiar, too. So it decides instead of familiarity; None in calibrations that are
    older. learned_in: the shop whose
    labelled images the thresholds are of; None where they are of the images that the model was validated on.
    """

    temperature: float = 1.0
    target_precision: float | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict)
    least_familiarity: float | None = None
    adaptation: ScoreMap | None = None
    allowed: tuple[str, ...] | None = None
    least_log_sum_exp: float | None = None
    learned_in: ShopFigures | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise UsageError(f"the temperature of a calibration must be positive, not {self.temperature}")
        if self.target_precision is not None and not 0.0 < self.target_precision < 1.0:
            raise UsageError(f"the target precision must be between 0 and 1, not {self.target_precision}")
        if self.allowed is not None and (len(self.allowed) < 2 or len(set(self.allowed)) < len(self.allowed)):
            raise UsageError("a calibration needs two or more labels that can be the answer, each named once")

    @property
    def calibration_id(self) -> str:
        """Identity of what turns scores into answers: temperature, thresholds, map and labels. Hexadecimal."""
        text = json.dumps(self.to_json(), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def is_adapted(self) -> bool:
        """True when it can change the order of the labels."""
        return self.adaptation is not None or self.allowed is not None

    def require_labels(self, labels: Sequence[str]) -> None:
        """Raise UsageError unless map and allowed labels are those of a model. labels: of the model, in its order."""
        if self.adaptation is not None and len(self.adaptation.bias) != len(labels):
            raise UsageError(
                f"an adaptation of {len(self.adaptation.bias)} labels, where the model has {len(labels)}"
            )
        if self.allowed is not None and tuple(each for each in labels if each in self.allowed) != self.allowed:
            raise UsageError("the labels that can be the answer are none of the model, or not in its order")

    def decide(self, label: str, confidence: float, *, is_known: bool) -> Decision | None:
        """Return whether an answer is accepted, to be reviewed, or abstained from.

        is_known: `cataloger.inference.known_images` tells. If not, the image shows nothing that the model was trained
        on, such as a chair, a face or a size chart. None: the calibration has no thresholds.
        """
        if self.target_precision is None:
            return None
        if not is_known:
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
        if self.adaptation is not None:
            values["adaptation"] = self.adaptation.to_json()
        if self.allowed is not None:
            values["allowed"] = list(self.allowed)
        if self.least_log_sum_exp is not None:
            values["least_log_sum_exp"] = self.least_log_sum_exp
        if self.learned_in is not None:
            values["learned_in"] = self.learned_in.to_json()
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_json` returned. Raises KeyError, TypeError, ValueError or UsageError."""
        target, least = values.get("target_precision"), values.get("least_familiarity")
        adaptation, allowed = values.get("adaptation"), values.get("allowed")
        least_sum, learned_in = values.get("least_log_sum_exp"), values.get("learned_in")
        return cls(
            temperature=float(values["temperature"]),
            target_precision=None if target is None else float(target),
            thresholds={label: float(value) for label, value in values.get("thresholds", {}).items()},
            least_familiarity=None if least is None else float(least),
            adaptation=None if adaptation is None else ScoreMap.from_json(adaptation),
            allowed=None if allowed is None else tuple(map(str, allowed)),
            least_log_sum_exp=None if least_sum is None else float(least_sum),
            learned_in=None if learned_in is None else ShopFigures.from_json(learned_in),
        )
