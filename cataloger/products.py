"""One answer for a product from the answers for its images.

How, and why so, is measured by `benchmarks/product_answer.py` on test images that the model has not seen:

1. The mean of the images' probabilities names the product's likely category. It is the way that a wrong image (a size
   chart, another product) misleads least, but its confidences are far too low where all images are right.
2. An image that gives this category less than DISAGREEMENT and prefers another one disagrees. While those that
   disagree are fewer than half, they are left out, and the others are combined by the geometric mean of their
   probabilities, normalised: this has the better answers and the better calibrated confidences.
3. Otherwise nobody can say which images are wrong: the answer stays the mean over all, with its low confidence.

An image's answer holds its best labels alone. What is left of its probability is spread evenly over the other labels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

TOP_K = 5
DISAGREEMENT = 0.05
# No image rules a label out for good: below this a probability says no more.
LEAST = 1e-6


@dataclass(frozen=True, slots=True)
class Answer:
    """What is said of an image or a product: labels, best first, with calibrated probabilities."""

    labels: tuple[str, ...]
    confidences: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ProductAnswer:
    """The answer for a product. disagreeing: positions of the images that were left out."""

    answer: Answer
    disagreeing: frozenset[int] = frozenset()


def combine(images: Sequence[Answer], vocabulary: Sequence[str]) -> ProductAnswer:
    """Combine the answers for the images of a product, at least one. vocabulary: all labels, in the model's order."""
    if len(images) == 1:
        return ProductAnswer(images[0])
    rows = [_spread(image, vocabulary) for image in images]
    mean = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
    likely = mean.index(max(mean))
    disagreeing = frozenset(index for index, row in enumerate(rows) if _disagrees(row, likely))
    if 2 * len(disagreeing) >= len(rows):
        return ProductAnswer(_best(mean, vocabulary))
    kept = [row for index, row in enumerate(rows) if index not in disagreeing]
    return ProductAnswer(_best(_geometric_mean(kept), vocabulary), disagreeing)


def _spread(answer: Answer, vocabulary: Sequence[str]) -> list[float]:
    """Return a probability for every label of the vocabulary."""
    known = dict(zip(answer.labels, answer.confidences, strict=True))
    others = len(vocabulary) - len(known)
    rest = max(0.0, 1.0 - sum(known.values())) / others if others else 0.0
    return [known.get(label, rest) for label in vocabulary]


def _disagrees(row: Sequence[float], likely: int) -> bool:
    return row[likely] < DISAGREEMENT and max(row) > row[likely]


def _geometric_mean(rows: Sequence[Sequence[float]]) -> list[float]:
    logs = [sum(math.log(max(value, LEAST)) for value in column) / len(rows) for column in zip(*rows, strict=True)]
    values = [math.exp(value) for value in logs]
    total = sum(values)
    return [value / total for value in values]


def _best(values: Sequence[float], vocabulary: Sequence[str]) -> Answer:
    """Return the best labels; ties in the order of the vocabulary."""
    order = sorted(range(len(values)), key=lambda index: -values[index])[:TOP_K]
    return Answer(tuple(vocabulary[index] for index in order), tuple(values[index] for index in order))
