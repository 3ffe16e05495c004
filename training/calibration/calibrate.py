"""Learning a calibration on validation images: temperature, thresholds, and what looks like nothing known."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cataloger.adaptation import ABSTAINED, Answers, abstain_limit, fit_temperature, fit_thresholds
from cataloger.contracts import DECISIONS
from cataloger.drift import ANSWERS, Profile
from cataloger.errors import TrainingError
from cataloger.inference import Scores, adapted_scores, known_images, log_sum_exp
from cataloger.model import CARD, Bundle, Calibration, check_files, copy_files, new_bundle, seal
from cataloger.training.data import Example, accepted_matrix
from cataloger.training.evaluation import ScoredImages, predictions_of, score, with_section
from cataloger.training.metrics import Share, wilson

DECISIONS_SECTION = "## Decisions"


@dataclass(frozen=True, slots=True)
class Coverage:
    """What a calibration decides about labelled images. accepted_right: share of the accepted answers."""

    images: int
    decisions: dict[str, int]
    accepted_right: Share

    def line(self) -> str:
        """Say it in one line."""
        shares = (f"{name} {self.decisions.get(name, 0) / self.images:.1%}" for name in DECISIONS)
        right = self.accepted_right
        found = (
            "none accepted"
            if math.isnan(right.value)
            else f"of the accepted {right.value:.1%} are right ({right.low:.1%} to {right.high:.1%})"
        )
        return f"{', '.join(shares)}; {found}"

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values; a share of nothing is null."""
        right = {key: None if math.isnan(value) else value for key, value in asdict(self.accepted_right).items()}
        return {"images": self.images, "decisions": self.decisions, "accepted_right": right}


def write_recalibrated(
    bundle: Bundle,
    examples: Sequence[Example],
    output: Path,
    *,
    target: float,
    progress: Callable[[int], None] = lambda _: None,
) -> tuple[Bundle, Coverage]:
    """Write a copy of a bundle with a calibration learned on labelled images; nothing is trained.

    output: may be the bundle's own directory. target: share of the accepted answers that shall be right. Raises
    BundleError or TrainingError.
    """
    check_files(bundle)
    scored = score(bundle, examples, progress=progress)
    calibrated = calibrate_bundle(bundle, scored, target=target)
    coverage = measure_coverage(calibrated, scored)
    with new_bundle(output) as folder:
        copy_files(bundle, folder)
        card = (folder / CARD).read_text(encoding="utf-8")
        section = decisions_section(calibrated, coverage)
        (folder / CARD).write_text(with_section(card, DECISIONS_SECTION, section), encoding="utf-8")
        sealed = seal(replace(calibrated, path=folder))
    return replace(sealed, path=output), coverage


def calibrate_bundle(bundle: Bundle, scored: ScoredImages, *, target: float) -> Bundle:
    """Return the bundle with a calibration learned on images that it has scored; it records its answers for them."""
    accepted = accepted_matrix(scored.examples, bundle.labels)
    if len(accepted) < 2:
        raise TrainingError(f"{len(accepted)} labelled images are too few to calibrate on; use a hundred or more")
    # An adapted bundle stays adapted: what is learned here belongs to the scores that its map makes.
    adapted = Calibration(adaptation=bundle.calibration.adaptation, allowed=bundle.calibration.allowed)
    scores = adapted_scores(scored.logits, bundle.labels, adapted)
    usable = np.isfinite(np.where(accepted, scores, -np.inf).max(axis=1))  # not of labels that are left out
    temperature = fit_temperature(scores[usable], accepted[usable])
    calibration = replace(adapted, temperature=temperature)
    found = predictions_of(replace(bundle, calibration=calibration), scored)
    limits = replace(
        calibration,
        least_familiarity=None if scored.familiarity is None else abstain_limit(scored.familiarity),
        least_log_sum_exp=abstain_limit(log_sum_exp(scored.logits.astype(np.float64))),
    )
    known = known_images(limits, Scores(scored.logits, scored.familiarity))
    best = Answers(found.confidence[:, 0], found.ranked[:, 0], found.hits(accepted)[:, 0], _groups(scored))
    thresholds = fit_thresholds(best.rows(known), labels=bundle.labels, target=target)
    decides = replace(limits, target_precision=target, thresholds=thresholds)
    calibrated = replace(bundle, calibration=decides)
    answers = profile_of(calibrated, scored).to_json()
    return replace(calibrated, provenance={**bundle.provenance, ANSWERS: answers})


def _groups(scored: ScoredImages) -> npt.NDArray[np.int64]:
    """Number what the images show, by their products; an image without one stands for itself."""
    numbers: dict[tuple[str, str], int] = {}
    names = [("product", each.product) if each.product else ("file", each.file) for each in scored.examples]
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], dtype=np.int64)


def profile_of(bundle: Bundle, scored: ScoredImages) -> Profile:
    """Count what a bundle's answers for images that it has scored look like."""
    found = predictions_of(bundle, scored)
    labels = Counter(bundle.labels[best] for best in found.ranked[:, 0])
    decisions = Counter(decision for decision in found.decisions or () if decision is not None)
    return Profile.of(labels, found.confidence[:, 0], decisions)


def measure_coverage(bundle: Bundle, scored: ScoredImages) -> Coverage:
    """Count what a bundle decides about labelled images, and how much of what it accepts is right."""
    found = predictions_of(bundle, scored)
    decisions = found.decisions or ()
    right = found.hits(accepted_matrix(scored.examples, bundle.labels))[:, 0]
    is_accepted = np.array([decision == "accept" for decision in decisions], dtype=np.bool_)
    counts = Counter(decision for decision in decisions if decision is not None)
    return Coverage(len(right), dict(counts), wilson(int(right[is_accepted].sum()), int(is_accepted.sum())))


def decisions_section(bundle: Bundle, coverage: Coverage) -> str:
    """Return what the model card says of a calibration."""
    calibration = bundle.calibration
    without = [label for label in bundle.labels if label not in calibration.thresholds]
    lines = [
        f"Learned on {coverage.images:,} validation images, for {calibration.target_precision:.0%} of the accepted "
        f"answers to be right;\ntemperature {calibration.temperature:.3f}. On these images: {coverage.line()}.",
    ]
    if without:
        lines.append(f"Never accepted, for want of evidence: {', '.join(without)}.")
    if calibration.least_log_sum_exp is not None:
        lines.append(
            "Abstained from: images for which the log of the summed exponentials of all raw scores is below "
            f"{calibration.least_log_sum_exp:.3f},\nas at most {ABSTAINED:.0%} of these images are."
        )
    return "\n".join(lines) + "\n"
