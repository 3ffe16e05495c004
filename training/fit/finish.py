"""From trained weights to a sealed bundle: export, quality gate, calibration, test split, model card."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

import cataloger
from cataloger.adaptation import negative_log_likelihood
from cataloger.model import Bundle, count_parameters, seal
from cataloger.options import PreprocessSpec
from cataloger.records import Failure, Pixels
from cataloger.training.calibration import (
    MOST_IMAGES,
    PRODUCT_SECTION,
    Coverage,
    calibrate_bundle,
    decisions_section,
    fit_prototypes,
    measure_coverage,
    product_section,
    tell_apart,
)
from cataloger.training.data import Example, accepted_matrix, decode_examples
from cataloger.training.evaluation import (
    PAGE,
    ScoredImages,
    add_section,
    assess,
    evaluation_of,
    scoring,
    write_card,
    write_report,
)
from cataloger.training.export import onnx, write_interchange
from cataloger.training.fit.setup import Listener, TrainingJob
from cataloger.training.fit.trainer import pooled_features
from cataloger.training.metrics import MetricsReport
from cataloger.training.options import TrainOptions


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """The result of a run. reports: of the test split, by group; empty if there is none. page: what shows them."""

    bundle: Bundle
    reports: dict[str, MetricsReport]
    failures: tuple[str, ...]
    page: Path | None = None


def finish(job: TrainingJob, folder: Path, history: Sequence[dict[str, float]]) -> TrainedModel:
    """Write the files of the bundle, pass the gate, calibrate on val, measure on test, seal.

    Raises QualityGateError when the exported model does not answer as the network.
    """
    options = job.options
    bundle, difference = _export(job, folder)
    val = _score_val(bundle, job.data.split("val"), job.listener)
    bundle, coverage = _calibrated(bundle, val, options.target_precision, job.listener)
    scored = _score_test(bundle, job)
    listener = job.listener
    told_apart = tell_apart(
        bundle, job.data, {"val": val, "test": scored}, stage=listener.stage, progress=listener.advance
    )
    for split, measured in told_apart.items():
        listener.note(f"no product, on {split}: {measured.line()}")
    findings = assess(scored.examples, scoring.predictions_of(bundle, scored)) if scored else None
    reports = findings.reports if findings else {}
    provenance = {
        **bundle.provenance,
        **_provenance(job),
        "history": list(history),
        "parity": difference,
        "test": scoring.reports_json(reports),
    }
    if options.data.no_product is not None:
        provenance["no_product"] = {
            "label": options.data.no_product,
            **{split: measured.as_json() for split, measured in told_apart.items()},
        }
    bundle = replace(bundle, provenance=provenance)
    write_card(bundle, findings, decisions=decisions_section(bundle, coverage), notes=options.notes)
    if told_apart:
        add_section(bundle, PRODUCT_SECTION, product_section(told_apart))
    write_interchange(bundle)
    sealed = seal(bundle)
    page = _write_report(sealed, scored, options) if scored else None
    failures = job.failures + (scored.failures if scored else ())
    return TrainedModel(replace(sealed, path=options.output), reports, failures, page)


def _export(job: TrainingJob, folder: Path) -> tuple[Bundle, float]:
    """Write the model files and check them; return the bundle and the largest difference of its logits."""
    network = job.network.to("cpu")
    bundle = Bundle(
        path=folder,
        name=job.options.name,
        version=job.options.version,
        labels=job.data.labels,
        preprocess=job.start.spec,
        network=network.config,
    )
    job.listener.note("learning what known images look like")
    prototypes = fit_prototypes(pooled_features(job.trainer, MOST_IMAGES), job.options.seed)
    onnx.write_model_files(network, prototypes, folder, size=bundle.preprocess.size)
    images = _gate_images(job.data.split("val"), bundle.preprocess)
    difference = onnx.check_parity(network, bundle, images)
    job.listener.note(f"export: logits differ by at most {difference:.1e} from the network's")
    onnx.write_golden(bundle)
    return bundle, difference


def _score_val(bundle: Bundle, val: Sequence[Example], listener: Listener) -> ScoredImages:
    listener.stage("calibrating", len(val))
    return scoring.score(bundle, val, progress=listener.advance)


def _calibrated(bundle: Bundle, scored: ScoredImages, target: float, listener: Listener) -> tuple[Bundle, Coverage]:
    accepted = accepted_matrix(scored.examples, bundle.labels)
    calibrated = calibrate_bundle(bundle, scored, target=target)
    temperature = calibrated.temperature
    listener.note(
        f"calibration: temperature {temperature:.3f}, validation loss "
        f"{negative_log_likelihood(scored.logits, accepted, 1.0):.4f} -> "
        f"{negative_log_likelihood(scored.logits, accepted, temperature):.4f}"
    )
    coverage = measure_coverage(calibrated, scored)
    listener.note(f"decisions on val: {coverage.line()}")
    return calibrated, coverage


def _score_test(bundle: Bundle, job: TrainingJob) -> ScoredImages | None:
    """Classify the test split; None if there is none."""
    test = job.data.split("test")
    if not test:
        job.listener.note("no row has split test: nothing was measured on unseen images")
        return None
    job.listener.stage("measuring on the test split", len(test))
    return scoring.score(bundle, test, progress=job.listener.advance)


def _write_report(bundle: Bundle, scored: ScoredImages, options: TrainOptions) -> Path:
    """Write the page, charts and figures of the test split beside the bundle; return the page's path."""
    folder = options.output.with_name(options.output.name + ".report")
    write_report(evaluation_of(bundle, scored, labels=options.data.name, split="test"), folder)
    return folder / PAGE


def _gate_images(val: Sequence[Example], spec: PreprocessSpec) -> Pixels:
    images: list[Pixels] = []
    for result in decode_examples(val[: 2 * onnx.PARITY_IMAGES], spec):
        if not isinstance(result, Failure) and len(images) < onnx.PARITY_IMAGES:
            images.append(result.pixels)
    return np.stack(images)


def _provenance(job: TrainingJob) -> dict[str, Any]:
    parameters, trainable = count_parameters(job.network)
    options = job.options
    recipe = {**asdict(job.recipe), "blend": options.blend, "balance_by": [str(each) for each in options.balance_by]}
    recipe["soft_share"] = job.recipe.soft_share if options.soft_labels else 0.0
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "cataloger": cataloger.__version__,
        "recipe": {**recipe, "select_by": str(options.select_by) if options.select_by else "all"},
        "device": job.trainer.place.device.type,
        "start": {"name": job.start.name, "sha256": job.start.sha256},
        "data": {
            "sha256": job.data.fingerprint,
            "images": {split: len(job.data.split(split)) for split in ("train", "val", "test")},
        },
        "parameters": parameters,
        "trained_parameters": trainable,
        "seed": job.options.seed,
    }
