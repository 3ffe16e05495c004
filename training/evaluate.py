"""Measure a bundle against labelled images, through the same path that `cataloger tag` takes."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from cataloger.bundle import Bundle
from cataloger.classify.onnx import OnnxClassifier
from cataloger.cpus import available_cpus
from cataloger.errors import TrainingError
from cataloger.records import Failure, Floats, Image
from cataloger.training.findings import plain, reports_by_group
from cataloger.training.images import decode_examples
from cataloger.training.labels import Example, accepted_matrix
from cataloger.training.metrics import Report, Share
from cataloger.training.predictions import Predictions

BATCH = 16


@dataclass(frozen=True, slots=True)
class Scored:
    """Logits of labelled images. logits: float32 N x labels, row by row as `examples`; failures: one line each."""

    examples: tuple[Example, ...]
    logits: Floats
    failures: tuple[str, ...]


def score(bundle: Bundle, examples: Sequence[Example], *, progress: Callable[[int], None] = lambda _: None) -> Scored:
    """Classify examples with a bundle. Images that cannot be decoded are listed as failures."""
    classifier = OnnxClassifier(bundle, threads=available_cpus())
    failures: list[str] = []
    kept: list[Example] = []
    logits: list[Floats] = []
    for done, batch in _batches(bundle, examples, failures):
        scores = classifier.logits(np.stack([image.pixels for image in batch]))
        good = np.isfinite(scores).all(axis=1)
        kept += [examples[int(image.item.key)] for image, is_good in zip(batch, good, strict=True) if is_good]
        failures += [
            f"{image.item.uri}: the model's scores for it are not finite numbers (classify.not_finite)"
            for image, is_good in zip(batch, good, strict=True)
            if not is_good
        ]
        logits.append(scores[good])
        progress(done)
    if not kept:
        raise TrainingError(f"none of {len(examples)} images could be read" + "".join(f"; {f}" for f in failures[:1]))
    return Scored(tuple(kept), np.concatenate(logits), tuple(failures))


def report(bundle: Bundle, scored: Scored) -> dict[str, Report]:
    """Measure each combination of group values, and "all". Keys are the values joined by a space."""
    predictions = Predictions.of_logits(scored.logits, bundle.labels, bundle.temperature)
    return reports_by_group(scored.examples, predictions, accepted_matrix(scored.examples, bundle.labels))


def reports_json(reports: dict[str, Report]) -> dict[str, Any]:
    """Return reports as plain JSON values; a figure that does not exist is null."""
    values: dict[str, Any] = plain({name: asdict(report) for name, report in reports.items()})
    return values


def markdown_tables(reports: dict[str, Report]) -> str:
    """Return the reports as Markdown: a table of the main figures, then the recall of each class."""
    lines = [
        "| test images | number | top-1 | top-5 | macro F1 (classes) | ECE, 15 bins |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {r.images} | {_share(r.top1)} | {_share(r.top5)} "
        f"| {_share(r.macro_f1)} ({r.classes}) | {_share(r.ece)} |"
        for name, r in reports.items()
    ]
    labels = sorted({label for r in reports.values() for label in r.recall})
    lines += ["", "| recall | " + " | ".join(reports) + " |", "|---" * (len(reports) + 1) + "|"]
    for label in labels:
        cells = (_share(r.recall[label]) if label in r.recall else "" for r in reports.values())
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


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
