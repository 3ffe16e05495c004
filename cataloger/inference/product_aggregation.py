"""One answer for a product from the answers for its images.

How, and why so, is measured by `benchmarks/product_answer.py` on test images that the model has not seen:

1. The mean of the images' probabilities names the product's likely category. It is the way that a wrong image (a size
   chart, another product) misleads least, but its confidences are far too low where all images are right.
2. An image that gives this category less than DISAGREEMENT and prefers another one disagrees. While those that
   disagree are fewer than half, they are left out, and the others are combined by the geometric mean of their
   probabilities, normalised: this has the better answers and the better calibrated confidences.
3. Otherwise nobody can say which images are wrong: the answer stays the mean over all, with its low confidence.

An image that the model abstains from (a size chart, say) is ignored unless most are such; it disagrees if it gives
the product's category less than DISAGREEMENT and prefers another one. Where more than half of the images are such,
none is ignored, and the product is abstained from: the others are more likely mistaken than right. Else it is
accepted when an image is accepted with the product's category and none with another, and otherwise to be reviewed.

An image's answer has only its best labels. The rest of its probability is spread evenly over the other labels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from cataloger.contracts import TOP_K

DISAGREEMENT = 0.05
# No image rules a label out completely: smaller probabilities are raised to this one.
LEAST = 1e-6


@dataclass(frozen=True, slots=True)
class RankedAnswer:
    """The answer for an image or a product: labels, best first, with calibrated probabilities.

    decision: accept, review or abstain; None if the model does not decide.
    """

    labels: tuple[str, ...]
    confidences: tuple[float, ...]
    decision: str | None = None


@dataclass(frozen=True, slots=True)
class ProductAnswer:
    """The answer for a product. disagreeing: positions of the images that show something else, and are left out."""

    answer: RankedAnswer
    disagreeing: frozenset[int] = frozenset()

    @property
    def decision(self) -> str | None:
        """accept, review, abstain, or None if the model does not decide."""
        return self.answer.decision


def combine(images: Sequence[RankedAnswer], vocabulary: Sequence[str]) -> ProductAnswer:
    """Combine the answers for the images of a product, at least one. vocabulary: all labels, in the model's order."""
    heard = [index for index, image in enumerate(images) if image.decision != "abstain"]
    if 2 * len(heard) < len(images):
        heard = list(range(len(images)))
    kept, left_out = _combine([images[index] for index in heard], vocabulary)
    others = set(range(len(images))) - set(heard)
    disagreeing = {heard[position] for position in left_out} | {
        index for index in others if _shows_another(images[index], kept.labels[0], vocabulary)
    }
    decision = _decide([images[index] for index in heard], kept.labels[0])
    return ProductAnswer(replace(kept, decision=decision), frozenset(disagreeing))


def _combine(images: Sequence[RankedAnswer], vocabulary: Sequence[str]) -> tuple[RankedAnswer, frozenset[int]]:
    """Return the answer of images and the positions of those that were left out."""
    if len(images) == 1:
        return images[0], frozenset()
    rows = [_spread(image, vocabulary) for image in images]
    mean = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
    likely = mean.index(max(mean))
    disagreeing = frozenset(index for index, row in enumerate(rows) if _disagrees(row, likely))
    if 2 * len(disagreeing) >= len(rows):
        return _best(mean, vocabulary), frozenset()
    kept = [row for index, row in enumerate(rows) if index not in disagreeing]
    return _best(_geometric_mean(kept), vocabulary), disagreeing


def _decide(images: Sequence[RankedAnswer], label: str) -> str | None:
    """Return the decision for a product's category, from the decisions for the images that are heard."""
    if any(image.decision is None for image in images):
        return None
    if any(image.decision == "abstain" for image in images):  # they are heard only where most are such
        return "abstain"
    accepted = {image.labels[0] for image in images if image.decision == "accept"}
    return "accept" if accepted == {label} else "review"


def _spread(answer: RankedAnswer, vocabulary: Sequence[str]) -> list[float]:
    """Return a probability for every label of the vocabulary."""
    known = dict(zip(answer.labels, answer.confidences, strict=True))
    rest = _rest(answer, vocabulary)
    return [known.get(label, rest) for label in vocabulary]


def _rest(answer: RankedAnswer, vocabulary: Sequence[str]) -> float:
    """Return the probability of each label that an answer does not name."""
    others = len(vocabulary) - len(answer.labels)
    return max(0.0, 1.0 - sum(answer.confidences)) / others if others else 0.0


def _disagrees(row: Sequence[float], likely: int) -> bool:
    return row[likely] < DISAGREEMENT and max(row) > row[likely]


def _shows_another(answer: RankedAnswer, label: str, vocabulary: Sequence[str]) -> bool:
    """Tell whether an answer gives a label almost no probability and prefers another one."""
    given = dict(zip(answer.labels, answer.confidences, strict=True)).get(label, _rest(answer, vocabulary))
    return given < DISAGREEMENT and answer.confidences[0] > given


def _geometric_mean(rows: Sequence[Sequence[float]]) -> list[float]:
    logs = [sum(math.log(max(value, LEAST)) for value in column) / len(rows) for column in zip(*rows, strict=True)]
    values = [math.exp(value) for value in logs]
    total = sum(values)
    return [value / total for value in values]


def _best(values: Sequence[float], vocabulary: Sequence[str]) -> RankedAnswer:
    """Return the best labels; ties in the order of the vocabulary."""
    order = sorted(range(len(values)), key=lambda index: -values[index])[:TOP_K]
    return RankedAnswer(tuple(vocabulary[index] for index in order), tuple(values[index] for index in order))
