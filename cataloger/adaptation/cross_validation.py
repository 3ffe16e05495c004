"""What maps of scores are worth on images that they have not seen, and that did not choose them either.

The best of several candidates looks better than it is on the images by which it was found to be the best. So the
candidate that judges a fold is chosen on the other folds alone, by a cross-validation within these (nested), and then
learned on them. The images of one product are in one fold, so that none is judged by a map that has seen its twin.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Self

import numpy as np
import numpy.typing as npt

from cataloger.adaptation.score_maps import Bools, Candidate, LearnedMap, learn
from cataloger.adaptation.temperature import FREE, fit_temperature, losses
from cataloger.records import Floats

Ints = npt.NDArray[np.int64]

FOLDS = 5


@dataclass(frozen=True, slots=True)
class Choice:
    """A candidate for each fold, chosen without it, and the one that all of them choose."""

    by_fold: tuple[Candidate, ...]
    best: Candidate


@dataclass(frozen=True, slots=True, eq=False)
class Folded:
    """Labelled images that are dealt to folds. scores: float64 N x K, as the model gives them.

    accepted: bool N x K, with a sold one in each row. sold: bool K, labels that can be the answer. folds: int N.
    """

    scores: Floats
    accepted: Bools
    sold: Bools
    folds: Ints

    @classmethod
    def deal(cls, scores: Floats, accepted: Bools, sold: Bools, groups: Ints) -> Self:
        """Deal whole products to folds by chance, the same way every time. groups: int N, the product of each."""
        products, inverse = np.unique(groups, return_inverse=True)
        dealt = np.random.default_rng(0).permutation(np.arange(len(products)) % FOLDS)
        return cls(scores.astype(np.float64), accepted & sold, sold, dealt[inverse])

    def plain(self) -> Floats:
        """Return the scores of each image by a temperature of the other folds, without a map."""
        found = np.empty_like(self.scores)
        for fold in range(FOLDS):
            mine = self.folds == fold
            scores = np.where(self.sold, self.scores, -np.inf)
            # What is compared with the maps may be as unsure as it should: else they would gain by being unsure.
            found[mine] = scores[mine] / fit_temperature(scores[~mine], self.accepted[~mine], above=FREE)
        return found

    def choose(self, candidates: Sequence[Candidate]) -> Choice:
        """Choose among candidates for each fold, and for all images."""
        table = np.zeros((len(candidates), FOLDS))
        for first, second in combinations(range(FOLDS), 2):
            others = (self.folds != first) & (self.folds != second)
            temperature = self._temperature(others)
            for row, candidate in enumerate(candidates):
                learned = self._learn(candidate, others, temperature)
                # Learned without both, it speaks on one of them for the choice without the other.
                table[row, first] += self._loss(learned, temperature, self.folds == second)
                table[row, second] += self._loss(learned, temperature, self.folds == first)
        by_fold = tuple(candidates[int(row)] for row in table.argmin(axis=0))
        return Choice(by_fold, candidates[int(table.sum(axis=1).argmin())])

    def mapped(self, by_fold: Sequence[Candidate], among: Bools | None = None) -> Floats:
        """Return the scores of each image by a map that was learned on the other folds, -inf for what is not sold.

        by_fold: what to learn for each. among: bool N, images that may be learned from; None for all.
        """
        found = np.empty_like(self.scores)
        for fold, candidate in enumerate(by_fold):
            mine = self.folds == fold
            rows = ~mine if among is None else ~mine & among
            temperature = self._temperature(rows)
            found[mine] = self._learn(candidate, rows, temperature).of(self.scores[mine] / temperature)
        return found

    def learned(self, candidate: Candidate) -> tuple[LearnedMap, float]:
        """Return what all images teach, and the temperature that it begins with."""
        everything = np.ones(len(self.folds), np.bool_)
        temperature = self._temperature(everything)
        return self._learn(candidate, everything, temperature), temperature

    def _temperature(self, rows: Bools) -> float:
        return fit_temperature(np.where(self.sold, self.scores[rows], -np.inf), self.accepted[rows])

    def _learn(self, candidate: Candidate, rows: Bools, temperature: float) -> LearnedMap:
        return learn(candidate, self.scores[rows] / temperature, self.accepted[rows], self.sold)

    def _loss(self, learned: LearnedMap, temperature: float, rows: Bools) -> float:
        return float(losses(learned.of(self.scores[rows] / temperature), self.accepted[rows]).sum())
