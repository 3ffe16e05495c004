"""What confidences are worth: reliability, calibration error, and what leaving unsure images out gains."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cataloger.records import Floats
from cataloger.training.metrics.confidence_intervals import Ints, between, resampled_rows
from cataloger.utils import UNKNOWN, Share, wilson

Bools = npt.NDArray[np.bool_]

BINS = 15
CHANCE_DRAWS = 200
COVERAGE_STEPS = 100


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Images whose confidence lies between low and high. confidence: its mean. accuracy: the share that is right."""

    low: float
    high: float
    images: int
    confidence: float
    accuracy: Share


@dataclass(frozen=True, slots=True)
class CoveragePoint:
    """What is left above a confidence. coverage: share of all images. accuracy: share of these that is right."""

    threshold: float
    images: int
    coverage: float
    accuracy: Share


def expected_calibration_error(confidence: Floats, correct: Bools) -> float:
    """Return the ECE over BINS equal-width bins (Naeini et al., 2015)."""
    if not len(confidence):
        return math.nan
    return error_of_bins(bins_of(confidence), confidence - correct)


def calibration_error(confidence: Floats, correct: Bools) -> Share:
    """Return the ECE with its bootstrap interval. A bootstrap of an ECE lies higher than the ECE itself."""
    if not len(confidence):
        return UNKNOWN
    bins, gaps = bins_of(confidence), confidence - correct
    draws = resampled_rows(lambda rows: error_of_bins(bins[rows], gaps[rows]), len(gaps))
    return between(error_of_bins(bins, gaps), draws)


def calibration_error_by_chance(confidence: Floats) -> float:
    """Return the ECE to expect where every confidence is exactly the chance of being right.

    With few images it is far from 0, since no bin's share of right answers is its mean confidence (Roelofs et al.,
    arXiv:2012.08668). Seeded.
    """
    if not len(confidence):
        return math.nan
    random, bins = np.random.default_rng(0), bins_of(confidence)
    draws = (error_of_bins(bins, confidence - (random.random(len(bins)) < confidence)) for _ in range(CHANCE_DRAWS))
    return float(np.mean(list(draws)))


def reliability(confidence: Floats, correct: Bools) -> tuple[ReliabilityBin, ...]:
    """Return the bins of the reliability curve that contain images."""
    bins = bins_of(confidence)
    return tuple(
        ReliabilityBin(
            low=float(b) / BINS,
            high=float(b + 1) / BINS,
            images=int((bins == b).sum()),
            confidence=float(confidence[bins == b].mean()),
            accuracy=wilson(int(correct[bins == b].sum()), int((bins == b).sum())),
        )
        for b in np.unique(bins)
    )


def at_confidence(confidence: Floats, correct: Bools, threshold: float) -> CoveragePoint:
    """Return what is left when only confidences of at least `threshold` are taken."""
    taken = confidence >= threshold
    images = int(taken.sum())
    coverage = images / len(taken) if len(taken) else math.nan
    return CoveragePoint(float(threshold), images, coverage, wilson(int(correct[taken].sum()), images))


def coverage_curve(confidence: Floats, correct: Bools) -> tuple[CoveragePoint, ...]:
    """Return accuracy against coverage, most confident images first, in about COVERAGE_STEPS points.

    Images of equal confidence are taken together, so that the curve does not depend on the order of the rows.
    """
    if not len(confidence):
        return ()
    descending = np.sort(confidence)[::-1]
    steps = np.arange(1, COVERAGE_STEPS + 1) / COVERAGE_STEPS
    ends = np.ceil(steps * len(descending)).astype(int) - 1
    thresholds = np.unique(descending[ends])[::-1]
    return tuple(at_confidence(confidence, correct, float(threshold)) for threshold in thresholds)


def area_under_risk_coverage(confidence: Floats, correct: Bools) -> float:
    """Return the AURC: the mean error of the 1, 2, .. N most confident images (Geifman and El-Yaniv, 2017).

    Images of equal confidence share their errors evenly.
    """
    if not len(confidence):
        return math.nan
    values, group = np.unique(-confidence, return_inverse=True)
    counts = np.bincount(group, minlength=len(values))
    errors = np.bincount(group, weights=~correct, minlength=len(values)) / counts
    risks = np.repeat(errors, counts).cumsum() / np.arange(1, len(confidence) + 1)
    return float(risks.mean())


def bins_of(confidence: Floats) -> Ints:
    """Return the bin of each confidence, 0 to BINS - 1."""
    bins: Ints = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    return bins


def error_of_bins(bins: Ints, gaps: Floats) -> float:
    """Return the ECE. bins: of each row. gaps: its confidence, minus 1 if it is right."""
    return float(np.abs(np.bincount(bins, weights=gaps, minlength=BINS)).sum() / len(gaps))
