"""The recipe `quick`: frozen part cached, the rest trained, exported, calibrated, measured on the test split."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

import cataloger
from cataloger.bundle import WEIGHTS, Bundle, new_bundle, read_bundle, seal, sha256_of
from cataloger.cpus import available_cpus
from cataloger.errors import TrainingError
from cataloger.network import Network, count_parameters, load_backbone
from cataloger.options import NetworkConfig, PreprocessSpec
from cataloger.records import Failure, Pixels
from cataloger.training import evaluate, export
from cataloger.training.calibrate import fit_temperature, negative_log_likelihood
from cataloger.training.card import write_card
from cataloger.training.config import TrainOptions
from cataloger.training.engine import LabelledFeatures, Trainer
from cataloger.training.features import FrozenPart, cached_features
from cataloger.training.images import decode_examples
from cataloger.training.labels import Example, LabelledImages, accepted_matrix
from cataloger.training.metrics import Report
from cataloger.training.preparation import prepare


class Listener(Protocol):
    """Told how a training run goes on."""

    def stage(self, name: str, total: int) -> None:
        """A stage begins; `total` steps are expected."""
        ...

    def advance(self, done: int) -> None:
        """`done` steps of the stage are behind us."""
        ...

    def note(self, text: str) -> None:
        """Something that a person should read."""
        ...


@dataclass(frozen=True, slots=True)
class Trained:
    """What a run made. reports: of the test split, by group; empty if there is none."""

    bundle: Bundle
    reports: dict[str, Report]
    failures: tuple[str, ...]


def train(options: TrainOptions, listener: Listener) -> Trained:
    """Train, export and measure a bundle; an interrupted run goes on where it stopped.

    Raises TrainingError for labels or images that cannot be used and QualityGateError for a failed export.
    """
    spec, start = _start(options.start)
    prepared = prepare(options.data, spec, options.work, listener)
    for line in prepared.lines():
        listener.note(line)
    data = prepared.dataset
    torch.manual_seed(options.seed)
    torch.set_num_threads(available_cpus())
    network = Network(NetworkConfig(classes=len(data.labels)), size=spec.size)
    _load_start(network, start, options.start)
    network.freeze()
    with new_bundle(options.output) as folder:
        trainer = _trainer(network, data, spec, options, listener)
        progress = trainer.run()
        bundle = Bundle(
            path=folder,
            name=options.name,
            version=options.version,
            labels=data.labels,
            preprocess=spec,
            network=network.config,
        )
        failures = trainer.train.cache.failures + trainer.val.cache.failures
        provenance = {**_provenance(options, data, network), "history": list(progress.history)}
        return _export(_Export(network, bundle, data, options, listener, provenance, failures))


@dataclass(frozen=True, slots=True)
class _Export:
    network: Network
    bundle: Bundle
    data: LabelledImages
    options: TrainOptions
    listener: Listener
    provenance: dict[str, Any]
    failures: tuple[str, ...]


def _export(job: _Export) -> Trained:
    """Write the files of the bundle, pass the gate, calibrate on val, measure on test, seal."""
    bundle, listener = job.bundle, job.listener
    export.write_model_files(job.network, bundle.path, size=bundle.preprocess.size)
    val = job.data.split("val")
    difference = export.check_parity(job.network, bundle, _gate_images(val, bundle.preprocess))
    listener.note(f"export: logits differ by at most {difference:.1e} from the network's")
    export.write_golden(bundle)
    listener.stage("calibrating", len(val))
    scored = evaluate.score(bundle, val, progress=listener.advance)
    accepted = accepted_matrix(scored.examples, bundle.labels)
    temperature = fit_temperature(scored.logits, accepted)
    listener.note(
        f"calibration: temperature {temperature:.3f}, validation loss "
        f"{negative_log_likelihood(scored.logits, accepted, 1.0):.4f} -> "
        f"{negative_log_likelihood(scored.logits, accepted, temperature):.4f}"
    )
    bundle = replace(bundle, temperature=temperature)
    reports, failures = _measure(bundle, job)
    provenance = {**job.provenance, "parity": difference, "test": evaluate.reports_json(reports)}
    bundle = replace(bundle, provenance=provenance)
    write_card(bundle, reports, notes=job.options.notes)
    sealed = seal(bundle)
    return Trained(replace(sealed, path=job.options.output), reports, job.failures + failures)


def _measure(bundle: Bundle, job: _Export) -> tuple[dict[str, Report], tuple[str, ...]]:
    test = job.data.split("test")
    if not test:
        job.listener.note("no row has split test: nothing was measured on unseen images")
        return {}, ()
    job.listener.stage("measuring on the test split", len(test))
    scored = evaluate.score(bundle, test, progress=job.listener.advance)
    return evaluate.report(bundle, scored), scored.failures


def _start(start: Path) -> tuple[PreprocessSpec, Path]:
    """Return the preprocessing that the start was trained with and the file of its tensors."""
    if start.is_dir():
        bundle = read_bundle(start, check=(WEIGHTS,))
        return bundle.preprocess, start / WEIGHTS
    return PreprocessSpec(), start


def _load_start(network: Network, path: Path, start: Path) -> None:
    try:
        load_backbone(network, load_file(path))
    except (OSError, SafetensorError, KeyError, RuntimeError) as error:
        raise TrainingError(f"the weights of {start} do not fit the network: {error}") from error


def _trainer(
    network: Network, data: LabelledImages, spec: PreprocessSpec, options: TrainOptions, listener: Listener
) -> Trainer:
    frozen = FrozenPart(options.work / "frozen.onnx", spec, (spec.size // 32, spec.size // 32, 512))
    options.work.mkdir(parents=True, exist_ok=True)
    export.write_frozen_part(network, frozen.path, size=spec.size)

    def features(split: str, views: int) -> LabelledFeatures:
        examples = data.split(split)
        listener.stage(f"reading {split} images", len(examples))
        cache = cached_features(
            options.work / "features",
            examples,
            frozen,
            views=views,
            seed=options.seed,
            progress=listener.advance,
        )
        return LabelledFeatures(cache, torch.from_numpy(accepted_matrix(examples, data.labels)))

    return Trainer(
        network=network,
        train=features("train", options.views),
        val=features("val", 1),
        options=options,
        fingerprint=_fingerprint(options, data, network),
        on_batch=_show_epochs(listener),
        on_epoch=lambda record: listener.note(_epoch_line(record)),
    )


def _show_epochs(listener: Listener) -> Callable[[int, int], None]:
    def on_batch(done: int, total: int) -> None:
        if done == 1:
            listener.stage("training", total)
        listener.advance(done)

    return on_batch


def _gate_images(val: Sequence[Example], spec: PreprocessSpec) -> Pixels:
    images: list[Pixels] = []
    for result in decode_examples(val[: 2 * export.PARITY_IMAGES], spec):
        if not isinstance(result, Failure) and len(images) < export.PARITY_IMAGES:
            images.append(result.pixels)
    return np.stack(images)


def _epoch_line(record: dict[str, float]) -> str:
    return (
        f"epoch {record['epoch']:.0f}: training loss {record['train_loss']:.4f}, validation loss "
        f"{record['loss']:.4f}, top-1 {record['top1']:.4f}, top-5 {record['top5']:.4f}"
    )


def _fingerprint(options: TrainOptions, data: LabelledImages, network: Network) -> str:
    """Digest of what decides the weights; a checkpoint with another one is not resumed."""
    decisive = [
        options.epochs, options.batch_size, options.learning_rate, options.weight_decay, options.warmup,
        options.views, options.seed, data.fingerprint, list(data.labels), asdict(network.config),
        str(options.start),
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(decisive).encode()).hexdigest()


def _provenance(options: TrainOptions, data: LabelledImages, network: Network) -> dict[str, Any]:
    parameters, trainable = count_parameters(network)
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "cataloger": cataloger.__version__,
        "recipe": "quick",
        "start": {"file": options.start.name, "sha256": sha256_of(_start(options.start)[1])},
        "data": {
            "labels_sha256": data.fingerprint,
            "images": {split: len(data.split(split)) for split in ("train", "val", "test")},
        },
        "parameters": parameters,
        "trained_parameters": trainable,
        "seed": options.seed,
        "options": {
            name: getattr(options, name)
            for name in ("epochs", "batch_size", "learning_rate", "weight_decay", "warmup", "views")
        },
    }
