"""Measure a bundle against labelled images, through the same path that `cataloger tag` takes."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from cataloger.errors import TrainingError
from cataloger.inference import OnnxClassifier, Scores, known_images, open_classifier
from cataloger.model import Bundle
from cataloger.records import Failure, Floats, Image
from cataloger.training.data import Example, accepted_matrix, decode_examples
from cataloger.training.evaluation.findings import plain, reports_by_group
from cataloger.training.metrics import MetricsReport, Predictions, Share
from cataloger.utils import available_cpus

BATCH = 16
NOT_FINITE = "{}: the model's scores for it are not finite numbers (classify.not_finite)"


@dataclass(frozen=True, slots=True)
class ScoredImages:
    """Scores of labelled images, row by row as `examples`.

    logits: float32 N x labels. failures: one line each. familiarity: float32 N, None if the model has none.
    """

    examples: tuple[Example, ...]
    logits: Floats
    failures: tuple[str, ...]
    familiarity: Floats | None = None


def score(
    bundle: Bundle, examples: Sequence[Example], *, progress: Callable[[int], None] = lambda _: None
) -> ScoredImages:
    """Classify examples with a bundle. Images that cannot be decoded are listed as failures."""
    (scored,) = _score((bundle,), examples, progress)
    return scored


def score_together(
    bundles: Sequence[Bundle],
    examples: Sequence[Example],
    *,
    begin: Callable[[int], Callable[[int], None]] = lambda _: lambda _: None,
) -> list[ScoredImages]:
    """Classify examples with several bundles; all results are of the same images, in the same order.

    Images are decoded once where the bundles see them alike. begin: called with the number of
    images; returns a callback that receives how many are done.
    """
    if len({bundle.preprocess for bundle in bundles}) == 1:
        return _score(bundles, examples, begin(len(examples)))
    progress = begin(len(bundles) * len(examples))
    scores: list[ScoredImages] = []
    for bundle in bundles:
        before = len(scores) * len(examples)
        scores += _score((bundle,), examples, lambda done, before=before: progress(before + done))  # type: ignore[misc]
    return _aligned(scores)


def _score(
    bundles: Sequence[Bundle], examples: Sequence[Example], progress: Callable[[int], None]
) -> list[ScoredImages]:
    """Classify with bundles of the same preprocessing; an image without finite scores from all is a failure."""
    with ExitStack() as opened:
        classifiers = [
            opened.enter_context(closing(open_classifier(bundle, threads=available_cpus()))) for bundle in bundles
        ]
        return _score_with(classifiers, bundles[0], examples, progress)


def _score_with(
    classifiers: Sequence[OnnxClassifier],
    bundle: Bundle,
    examples: Sequence[Example],
    progress: Callable[[int], None],
) -> list[ScoredImages]:
    failures: list[str] = []
    kept: list[Example] = []
    found: list[list[Scores]] = []
    for done, batch in _batches(bundle, examples, failures):
        pixels = np.stack([image.pixels for image in batch])
        scores = [classifier.scores(pixels) for classifier in classifiers]
        good = np.logical_and.reduce([np.isfinite(each.logits).all(axis=1) for each in scores])
        failures += [NOT_FINITE.format(image.item.uri) for image, fine in zip(batch, good, strict=True) if not fine]
        kept += [examples[int(image.item.key)] for image, fine in zip(batch, good, strict=True) if fine]
        found.append([each.rows(good) for each in scores])
        progress(done)
    if not kept:
        raise TrainingError(f"none of {len(examples)} images could be read" + "".join(f"; {f}" for f in failures[:1]))
    columns = [Scores.joined(each) for each in zip(*found, strict=True)]
    return [ScoredImages(tuple(kept), each.logits, tuple(failures), each.familiarity) for each in columns]


def _aligned(scores: Sequence[ScoredImages]) -> list[ScoredImages]:
    """Keep the images that every result is of."""
    files = set.intersection(*({example.file for example in each.examples} for each in scores))
    aligned = []
    for each in scores:
        rows = [row for row, example in enumerate(each.examples) if example.file in files]
        familiarity = None if each.familiarity is None else each.familiarity[rows]
        examples = tuple(each.examples[row] for row in rows)
        aligned.append(ScoredImages(examples, each.logits[rows], each.failures, familiarity))
    return aligned


def predictions_of(bundle: Bundle, scored: ScoredImages) -> Predictions:
    """Return what a bundle says of images that it has scored: ranked labels, confidences, decisions."""
    found = Predictions.of_scores(scored.logits, bundle.labels, bundle.calibration)
    if bundle.calibration.target_precision is None:
        return found
    known = known_images(bundle.calibration, Scores(scored.logits, scored.familiarity))
    decisions = tuple(
        bundle.calibration.decide(bundle.labels[best], float(confidence), is_known=bool(is_known))
        for best, confidence, is_known in zip(found.ranked[:, 0], found.confidence[:, 0], known, strict=True)
    )
    return replace(found, decisions=decisions)


def report(bundle: Bundle, scored: ScoredImages) -> dict[str, MetricsReport]:
    """Measure each combination of group values, and "all". Keys are the values joined by a space."""
    predictions = predictions_of(bundle, scored)
    return reports_by_group(scored.examples, predictions, accepted_matrix(scored.examples, bundle.labels))


def reports_json(reports: dict[str, MetricsReport]) -> dict[str, Any]:
    """Return reports as plain JSON values; a figure that does not exist is null."""
    values: dict[str, Any] = plain({name: asdict(report) for name, report in reports.items()})
    return values


def _figure(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def _share(share: Share) -> str:
    if math.isnan(share.value):
        return "-"
    return f"{share.value:.3f} ({share.low:.3f}-{share.high:.3f})"


def _batches(bundle: Bundle, examples: Sequence[Example], failures: list[str]) -> Iterator[tuple[int, list[Image]]]:
    """Yield (examples done, images decoded since the last time)."""
    batch: list[Image] = []
    for done, result in enumerate(decode_examples(examples, bundle.preprocess), start=1):
        if isinstance(result, Failure):
            failures.append(f"{result.item.uri}: {result.message} ({result.code})")
        else:
            batch.append(result)
        if batch and (len(batch) == BATCH or done == len(examples)):
            yield done, batch
            batch = []
