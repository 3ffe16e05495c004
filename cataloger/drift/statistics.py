"""How far the answers of some images are from those of others, and how much of that chance explains. Plain numbers.

Category mixes and distributions of confidence are compared by the population stability index, PSI: the sum of
(p - q) ln(p / q) over the categories, with p and q their shares on either side. A category that one side has no image
of counts there as half an image, or one image could make the index infinite.

On few images PSI is never near zero. Without any drift it is about (k - 1)(1/n + 1/m) for k categories and n and m
images (Yurdakul, "Statistical properties of the population stability index", 2018): 0.38 for 39 categories and twice
200 images, twice as much as is commonly taken for drift. So a measure has drifted only if it is above its limit and
above what chance explains: the images of both sides are dealt again to the two sides, as many to each as it had,
DRAWS times, and the value must be higher than in all but LEVEL of these deals. LEVEL is divided among the measures,
so that it is valid for all of them together. Unlike the chi-square approximation this is valid for rare
categories, too.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from statistics import NormalDist
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from cataloger.options import DriftLimits
from cataloger.records import Floats

EDGES = (*(n / 20 for n in range(1, 19)), 0.92, 0.94, 0.96, 0.97, 0.98, 0.99, 0.995, 0.999)
"""Between these confidences are counted; finer where the confidences of good models are."""
CELLS = len(EDGES) + 1
BINS = 10
HALF_AN_IMAGE = 0.5

ANSWERS = "answers"
"""The key of a bundle's provenance for the profile of its answers for the images that it was calibrated on."""

LEVEL = 0.01
DRAWS = 20_000
DRAWS_PER_BATCH = 500

Ints = npt.NDArray[np.int64]
Counted = tuple[int, int]
"""Images with a property, and images in all."""
Verdict = Literal["ok", "drifted", "within chance", "too few images", "not recorded"]


@dataclass(frozen=True, slots=True)
class Profile:
    """Statistics of answers, in counts, whose size does not depend on how many there are.

    labels: best label -> images. confidences: of the best labels, images in each of the CELLS between EDGES; total,
    squares: their sum, and that of their squares. decisions: accept, review or abstain -> images; empty if there
    are none. failed: images without an answer; None where they were not counted.
    """

    labels: Mapping[str, int] = field(default_factory=dict)
    confidences: tuple[int, ...] = (0,) * CELLS
    total: float = 0.0
    squares: float = 0.0
    decisions: Mapping[str, int] = field(default_factory=dict)
    failed: int | None = None

    def __post_init__(self) -> None:
        if len(self.confidences) != CELLS:
            raise ValueError(f"{len(self.confidences)} cells of confidences, not {CELLS}")

    @property
    def answered(self) -> int:
        """Images with an answer."""
        return sum(self.labels.values())

    @property
    def mean(self) -> float:
        """Mean confidence of the best labels."""
        return self.total / max(1, self.answered)

    @property
    def failures(self) -> Counted | None:
        """Images without an answer, of all; None if they are not known."""
        return None if self.failed is None else (self.failed, self.failed + self.answered)

    def decided(self, decision: str) -> Counted | None:
        """Return the images with a decision, of all that have one; None if there are no decisions."""
        total = sum(self.decisions.values())
        return None if self.answered and not total else (self.decisions.get(decision, 0), total)

    @classmethod
    def of(cls, labels: Mapping[str, int], confidences: Floats, decisions: Mapping[str, int]) -> Self:
        """Count answers in memory. confidences: of the best labels, N."""
        cells = np.bincount(np.searchsorted(EDGES, confidences, side="right"), minlength=CELLS)
        sums = float(confidences.sum()), float((confidences**2).sum())
        return cls(dict(labels), tuple(map(int, cells)), *sums, dict(decisions))

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_json` returned. Raises KeyError, TypeError or ValueError."""
        failed = values["failed"]
        return cls(
            labels={str(label): int(count) for label, count in values["labels"].items()},
            confidences=tuple(map(int, values["confidences"])),
            total=float(values["total"]),
            squares=float(values["squares"]),
            decisions={str(name): int(count) for name, count in values["decisions"].items()},
            failed=None if failed is None else int(failed),
        )


@dataclass(frozen=True, slots=True)
class Measure:
    """One thing that may have drifted.

    images: of the reference and now; None if a side has not recorded it. values: of the reference and now; None for
    PSI. drift: PSI, or the difference. chance: what it must exceed not to be chance. None, both, if it is not judged.
    """

    name: str
    images: tuple[int, int] | None
    values: tuple[float, float] | None
    drift: float | None
    limit: float
    chance: float | None
    verdict: Verdict

    @property
    def reason(self) -> str:
        """The finding as a short text."""
        if self.values is None:
            return f"PSI of {self.name} {self.drift:.3f} (limit {self.limit:g})"
        before, now = self.values
        return f"{self.name} {before:.3f} -> {now:.3f} (a change of {self.drift:+.3f}, limit {self.limit:g})"


@dataclass(frozen=True, slots=True)
class CategoryShift:
    """A category's images in the reference and now. psi: its part of the index."""

    label: str
    reference: int
    now: int
    psi: float


@dataclass(frozen=True, slots=True)
class _Test:
    """How to judge one measure. images: None if a side has not recorded it. chance: receives the level."""

    name: str
    limit: float
    images: tuple[int, int] | None
    drift: Callable[[], float]
    chance: Callable[[float], float]
    values: tuple[float, float] | None = None
    is_two_sided: bool = False


def judge(reference: Profile, now: Profile, limits: DriftLimits) -> tuple[Measure, ...]:
    """Compare answers with those of a reference, measure by measure."""
    _, mix = side_by_side(reference.labels, now.labels)
    tests = (
        _psi_test("category mix", limits.max_category_psi, mix),
        _psi_test("confidence", limits.max_confidence_psi, confidence_bins(reference, now)),
        _mean_test(reference, now, limits.max_confidence_change),
        _rate_test("failed", limits.max_failure_increase, reference.failures, now.failures),
        _rate_test("abstain", limits.max_abstain_increase, reference.decided("abstain"), now.decided("abstain")),
        _rate_test("review", limits.max_review_increase, reference.decided("review"), now.decided("review")),
    )
    return tuple(_judge(test, limits.min_images, LEVEL / len(tests)) for test in tests)


def categories(reference: Profile, now: Profile) -> list[CategoryShift]:
    """Return the categories of both, those that add most to the index first."""
    labels, counts = side_by_side(reference.labels, now.labels)
    rows = zip(labels, *counts.tolist(), psi_terms(*counts).tolist(), strict=True)
    return sorted((CategoryShift(*row) for row in rows), key=lambda each: (-each.psi, each.label))


def psi_terms(reference: Ints, now: Ints) -> Floats:
    """Return what each category, along the last axis, adds to the index. reference, now: images in it."""
    p, q = (np.maximum(counts, HALF_AN_IMAGE) for counts in (reference, now))
    p, q = p / p.sum(axis=-1, keepdims=True), q / q.sum(axis=-1, keepdims=True)
    terms: Floats = (q - p) * np.log(q / p)
    return terms


def psi(reference: Ints, now: Ints) -> Floats:
    """Return the population stability index of the counts along the last axis."""
    total: Floats = psi_terms(reference, now).sum(axis=-1)
    return total


def psi_by_chance(reference: Ints, now: Ints, level: float) -> float:
    """Return the index that at most a share of `level` of all deals of the same images exceeds. Seeded."""
    images, size = reference + now, int(now.sum())
    random = np.random.default_rng(0)
    draws = np.empty(DRAWS)
    for start in range(0, DRAWS, DRAWS_PER_BATCH):
        dealt = random.multivariate_hypergeometric(images, size, size=DRAWS_PER_BATCH, method="marginals")
        draws[start : start + DRAWS_PER_BATCH] = psi(images - dealt, dealt)
    return float(np.quantile(draws, 1 - level, method="higher"))


def increase_by_chance(reference: Counted, now: Counted, level: float) -> float:
    """Return the increase that at most a share of `level` of all deals of the same images exceeds. Seeded."""
    hits, images = reference[0] + now[0], reference[1] + now[1]
    dealt = np.random.default_rng(0).hypergeometric(hits, images - hits, now[1], size=DRAWS)
    return float(np.quantile(dealt / now[1] - (hits - dealt) / reference[1], 1 - level, method="higher"))


def change_of_mean_by_chance(reference: Profile, now: Profile, level: float) -> float:
    """Return the change of mean confidence, up or down, that at most a share of `level` of chance exceeds."""
    count = reference.answered + now.answered
    mean = (reference.total + now.total) / count
    variance = max(0.0, (reference.squares + now.squares) / count - mean**2)
    deviation = math.sqrt(variance * (1 / reference.answered + 1 / now.answered))
    return NormalDist().inv_cdf(1 - level / 2) * deviation


def confidence_bins(reference: Profile, now: Profile) -> Ints:
    """Return the images of both in BINS bins, 2 x BINS, each with about as many of both together, as cells allow."""
    counts = np.array([reference.confidences, now.confidences])
    both = counts.sum(axis=0)
    middles = (np.cumsum(both) - both / 2) / max(1, both.sum())
    bins = np.minimum((BINS * middles).astype(np.int64), BINS - 1)
    return np.stack([np.bincount(bins, weights=each, minlength=BINS) for each in counts]).astype(np.int64)


def side_by_side(reference: Mapping[str, int], now: Mapping[str, int]) -> tuple[list[str], Ints]:
    """Return the labels of both, and their images, 2 x labels."""
    labels = sorted(reference.keys() | now.keys())
    counts = [[side.get(label, 0) for label in labels] for side in (reference, now)]
    return labels, np.array(counts, dtype=np.int64)


def _psi_test(name: str, limit: float, counts: Ints) -> _Test:
    reference, now = counts[:, counts.any(axis=0)]
    return _Test(
        name,
        limit,
        (int(reference.sum()), int(now.sum())),
        lambda: float(psi(reference, now)),
        lambda level: psi_by_chance(reference, now, level),
    )


def _mean_test(reference: Profile, now: Profile, limit: float) -> _Test:
    return _Test(
        "mean confidence",
        limit,
        (reference.answered, now.answered),
        lambda: now.mean - reference.mean,
        lambda level: change_of_mean_by_chance(reference, now, level),
        (reference.mean, now.mean),
        is_two_sided=True,
    )


def _rate_test(name: str, limit: float, reference: Counted | None, now: Counted | None) -> _Test:
    if reference is None or now is None:
        return _Test(name, limit, None, float, float)
    before, after = (hits / max(1, images) for hits, images in (reference, now))
    return _Test(
        name,
        limit,
        (reference[1], now[1]),
        lambda: after - before,
        lambda level: increase_by_chance(reference, now, level),
        (before, after),
    )


def _judge(test: _Test, least: int, level: float) -> Measure:
    if test.images is None or min(test.images) < least:
        verdict: Verdict = "not recorded" if test.images is None else "too few images"
        return Measure(test.name, test.images, test.values, None, test.limit, None, verdict)
    drift, chance = test.drift(), test.chance(level)
    size = abs(drift) if test.is_two_sided else drift
    verdict = "ok" if size <= test.limit else "within chance" if size <= chance else "drifted"
    return Measure(test.name, test.images, test.values, drift, test.limit, chance, verdict)
