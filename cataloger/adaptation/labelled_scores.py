"""Labelled images of one shop as scores, and the part of them that something is learned from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cataloger.adaptation.cross_validation import Folded, Ints
from cataloger.adaptation.score_maps import Bools
from cataloger.errors import TrainingError
from cataloger.inference import Scores, known_images
from cataloger.model import Calibration
from cataloger.records import Floats

FEWEST = 10
"""Labelled products; with fewer nothing could be told from chance."""


@dataclass(frozen=True, slots=True)
class LabelledScores:
    """Labelled images of one shop. labels: of the model, K. scores: float32 N x K, as the model gives them.

    accepted: bool N x K, the labels that are right. groups: int N, equal for images of one product. familiarity:
    float N; None if the model has none.
    """

    labels: tuple[str, ...]
    scores: Floats
    accepted: Bools
    groups: Ints
    familiarity: Floats | None = None

    def rows(self, chosen: Ints | Bools) -> "LabelledScores":
        """Return those of some images."""
        known = None if self.familiarity is None else self.familiarity[chosen]
        return LabelledScores(self.labels, self.scores[chosen], self.accepted[chosen], self.groups[chosen], known)


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """What is learned from. rows: of the labelled images, int N. sold: bool K. known: bool N, not abstained from."""

    labelled: LabelledScores
    rows: Ints
    sold: Bools
    known: Bools

    def folded(self) -> Folded:
        """Return it dealt to folds by product."""
        return Folded.deal(self.labelled.scores, self.labelled.accepted, self.sold, self.labelled.groups)


def draw_sample(labelled: LabelledScores, shipped: Calibration, most: int) -> Sample:
    """Return at most `most` images whose labels the shop sells, drawn by product, the same ones every time.

    shipped: with the labels that it sells. Raises TrainingError for too few products.
    """
    sold = sold_labels(labelled.labels, shipped)
    rows = np.flatnonzero((labelled.accepted & sold).any(axis=1))
    groups = labelled.groups[rows]
    products, sizes = np.unique(groups, return_counts=True)
    if len(products) < FEWEST:
        few = f"{len(products)} products with a label are too few to adapt to"
        raise TrainingError(f"{few}: label {FEWEST} or more, of every category")
    if len(rows) > most:
        order = np.random.default_rng(0).permutation(len(products))
        rows = rows[np.isin(groups, products[order][np.cumsum(sizes[order]) <= most])]
    chosen = labelled.rows(rows)
    return Sample(chosen, rows, sold, known_images(shipped, Scores(chosen.scores, chosen.familiarity)))


def sold_labels(labels: Sequence[str], shipped: Calibration) -> Bools:
    """Return which labels of a model can be the answer in a shop. bool K."""
    allowed = set(labels if shipped.allowed is None else shipped.allowed)
    return np.array([label in allowed for label in labels])
