"""One training from labels to a sealed bundle: read, train, export, calibrate, measure on the test split."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

import cataloger
from cataloger.bundle import Bundle, new_bundle, seal
from cataloger.cpus import available_cpus
from cataloger.memory import keep_freed_memory
from cataloger.network import Network, count_parameters
from cataloger.options import NetworkConfig, PreprocessSpec
from cataloger.records import Failure, Pixels
from cataloger.training import evaluate, export
from cataloger.training.assessment import evaluation_of
from cataloger.training.augmentation import Augmentation
from cataloger.training.blend import blend, check_blend
from cataloger.training.cache import Cache, cached
from cataloger.training.calibrate import (
    Coverage,
    calibrate,
    decisions_section,
    measure_coverage,
    negative_log_likelihood,
)
from cataloger.training.card import write_card
from cataloger.training.config import TrainOptions
from cataloger.training.curves import Curves
from cataloger.training.distributed import Place, joined
from cataloger.training.engine import Trainer, pooled_features
from cataloger.training.evaluate import Scored
from cataloger.training.familiarity import MOST_IMAGES, fit_prototypes
from cataloger.training.findings import assess
from cataloger.training.images import decode_examples
from cataloger.training.inputs import Inputs, LabelledFeatures, LabelledPixels
from cataloger.training.interchange import write_interchange
from cataloger.training.labels import Example, LabelledImages, accepted_matrix
from cataloger.training.makers import FeatureMaker, PixelMaker
from cataloger.training.metrics import Report
from cataloger.training.preparation import Watcher, prepare
from cataloger.training.recipes import Recipe, choose_recipe
from cataloger.training.report_page import PAGE, write_report
from cataloger.training.sampling import draw_weights
from cataloger.training.start import Start, load_start, read_start

MOST_WORKERS = 16


class Listener(Watcher, Protocol):
    """Told how a training run goes on."""

    def note(self, text: str) -> None:
        """Something that a person should read."""
        ...


class Silent:
    """Listens for all processes but the first of a distributed run."""

    def stage(self, name: str, total: int) -> None: ...

    def advance(self, done: int) -> None: ...

    def note(self, text: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Trained:
    """What a run made. reports: of the test split, by group; empty if there is none. page: what shows them."""

    bundle: Bundle
    reports: dict[str, Report]
    failures: tuple[str, ...]
    page: Path | None = None


def train(options: TrainOptions, listener: Listener) -> Trained | None:
    """Train, export and measure a bundle; an interrupted run goes on where it stopped.

    Returns None in all processes of a distributed run but the first, which does the rest. Raises TrainingError for
    labels or images that cannot be used and QualityGateError for a failed export.
    """
    with joined(options.device) as place:
        if place.device.type == "cpu":
            keep_freed_memory()
        listener = listener if place.is_first else Silent()
        job = _prepare(options, place, listener)
        if not place.is_first:
            job.trainer.run()
            return None
        with new_bundle(options.output) as folder:
            start = {name: value.clone() for name, value in job.network.state_dict().items()}
            history = job.trainer.run().history
            if options.blend:
                blend(job.trainer, start, options.blend)
            return _export(job, folder, list(history))


@dataclass(frozen=True, slots=True)
class _Job:
    options: TrainOptions
    data: LabelledImages
    start: Start
    recipe: Recipe
    trainer: Trainer
    listener: Listener

    @property
    def network(self) -> Network:
        return self.trainer.network

    @property
    def failures(self) -> tuple[str, ...]:
        return self.trainer.train.cache.failures + self.trainer.val.cache.failures


def _prepare(options: TrainOptions, place: Place, listener: Listener) -> _Job:
    """Read the labels, choose the recipe and make the network, its inputs and the trainer."""
    start = read_start(options.start)
    data = _dataset(options, start, place, listener)
    check_blend(options.blend, known=start.labels, wanted=data.labels)
    recipe, reason = choose_recipe(
        options.recipe,
        device=place.device.type,
        images=len(data.split("train")),
        processors=available_cpus(),
        changes=dict(options.changes),
    )
    listener.note(reason)
    torch.manual_seed(options.seed)
    torch.set_num_threads(available_cpus())
    network = Network(NetworkConfig(classes=len(data.labels)), size=start.spec.size)
    listener.note(load_start(network, start, data.labels))
    trainer = _trainer(_Setup(options, data, start, recipe, network, place), listener)
    return _Job(options, data, start, recipe, trainer, listener)


def _dataset(options: TrainOptions, start: Start, place: Place, listener: Listener) -> LabelledImages:
    """Read and split the labelled images and say what is wrong with them; the first process looks at the files."""
    if not place.is_first:
        place.wait()
    prepared = prepare(options.data, start.spec, options.work, listener)
    if place.is_first:
        place.wait()
    for line in prepared.lines():
        listener.note(line)
    return prepared.dataset


@dataclass(frozen=True, slots=True)
class _Setup:
    options: TrainOptions
    data: LabelledImages
    start: Start
    recipe: Recipe
    network: Network
    place: Place


def _trainer(setup: _Setup, listener: Listener) -> Trainer:
    setup.options.work.mkdir(parents=True, exist_ok=True)
    train, val = _inputs(setup, listener)
    weights = draw_weights(train.accepted[train.cache.readable].numpy(), setup.recipe.balance)
    setup.network.to(setup.place.device).to(memory_format=torch.channels_last)
    return Trainer(
        network=setup.network,
        train=train,
        val=val,
        weights=weights,
        recipe=setup.recipe,
        seed=setup.options.seed,
        work=setup.options.work,
        fingerprint=_fingerprint(setup),
        place=setup.place,
        on_step=_show_epochs(listener),
        on_epoch=_on_epoch(setup, listener),
    )


def _inputs(setup: _Setup, listener: Listener) -> tuple[Inputs, Inputs]:
    """Read the images of both splits into the cache; all processes but the first wait and find it filled."""
    if not setup.place.is_first:
        setup.place.wait()
    made = _features(setup, listener) if setup.recipe.frozen else _pixels(setup, listener)
    if setup.place.is_first:
        setup.place.wait()
    return made


def _features(setup: _Setup, listener: Listener) -> tuple[Inputs, Inputs]:
    spec, recipe, seed = setup.start.spec, setup.recipe, setup.options.seed
    path = setup.options.work / "frozen.onnx"
    if setup.place.is_first:
        setup.network.freeze()
        export.write_frozen_part(setup.network, path, size=spec.size)
    augmentation = _augmentation(setup)

    def made(split: str, views: int) -> Inputs:
        maker = FeatureMaker(spec, path, augmentation, views, f"{seed} {recipe.crop} {recipe.augmentation}")
        return LabelledFeatures(*_cached(setup, listener, split, maker), seed)

    return made("train", recipe.views), made("val", 1)


def _pixels(setup: _Setup, listener: Listener) -> tuple[Inputs, Inputs]:
    augmentation = _augmentation(setup)
    # Without a GPU the steps take all processors, and other processes would only disturb them.
    share = available_cpus() // setup.place.processes - 1
    workers = min(MOST_WORKERS, max(1, share)) if setup.place.device.type == "cuda" else 0

    def made(split: str) -> Inputs:
        cache, accepted = _cached(setup, listener, split, PixelMaker(setup.start.spec))
        return LabelledPixels(cache, accepted, augmentation, workers)

    return made("train"), made("val")


def _augmentation(setup: _Setup) -> Augmentation:
    recipe = setup.recipe
    return Augmentation(setup.start.spec.size, setup.options.seed, crop=recipe.crop, strength=recipe.augmentation)


def _cached(
    setup: _Setup, listener: Listener, split: str, maker: FeatureMaker | PixelMaker
) -> tuple[Cache, torch.Tensor]:
    examples = setup.data.split(split)
    listener.stage(f"reading {split} images", len(examples))
    cache = cached(setup.options.work / "cache", examples, maker, progress=listener.advance)
    return cache, torch.from_numpy(accepted_matrix(examples, setup.data.labels))


def _on_epoch(setup: _Setup, listener: Listener) -> Callable[[Sequence[dict[str, float]]], None]:
    curves = Curves(setup.options.work) if setup.place.is_first else None

    def on_epoch(history: Sequence[dict[str, float]]) -> None:
        listener.note(_epoch_line(history[-1]))
        if curves is not None:
            curves.write(history)

    return on_epoch


def _show_epochs(listener: Listener) -> Callable[[int, int], None]:
    def on_step(done: int, total: int) -> None:
        if done == 1:
            listener.stage("training", total)
        listener.advance(done)

    return on_step


def _export(job: _Job, folder: Path, history: list[dict[str, float]]) -> Trained:
    """Write the files of the bundle, pass the gate, calibrate on val, measure on test, seal."""
    options, listener = job.options, job.listener
    network = job.network.to("cpu")
    bundle = Bundle(
        path=folder,
        name=options.name,
        version=options.version,
        labels=job.data.labels,
        preprocess=job.start.spec,
        network=network.config,
    )
    listener.note("learning what known images look like")
    prototypes = fit_prototypes(pooled_features(job.trainer, MOST_IMAGES), options.seed)
    export.write_model_files(network, prototypes, folder, size=bundle.preprocess.size)
    val = job.data.split("val")
    difference = export.check_parity(network, bundle, _gate_images(val, bundle.preprocess))
    listener.note(f"export: logits differ by at most {difference:.1e} from the network's")
    export.write_golden(bundle)
    bundle, coverage = _calibrated(bundle, val, options.target_precision, listener)
    scored = _score_test(bundle, job)
    found = assess(scored.examples, evaluate.predictions_of(bundle, scored)) if scored else None
    reports = found.reports if found else {}
    provenance = {
        **bundle.provenance,
        **_provenance(job),
        "history": history,
        "parity": difference,
        "test": evaluate.reports_json(reports),
    }
    bundle = replace(bundle, provenance=provenance)
    write_card(bundle, found, decisions=decisions_section(bundle, coverage), notes=options.notes)
    write_interchange(bundle)
    sealed = seal(bundle)
    page = _write_report(sealed, scored, options) if scored else None
    failures = job.failures + (scored.failures if scored else ())
    return Trained(replace(sealed, path=options.output), reports, failures, page)


def _calibrated(bundle: Bundle, val: Sequence[Example], target: float, listener: Listener) -> tuple[Bundle, Coverage]:
    listener.stage("calibrating", len(val))
    scored = evaluate.score(bundle, val, progress=listener.advance)
    accepted = accepted_matrix(scored.examples, bundle.labels)
    calibrated = calibrate(bundle, scored, target=target)
    temperature = calibrated.temperature
    listener.note(
        f"calibration: temperature {temperature:.3f}, validation loss "
        f"{negative_log_likelihood(scored.logits, accepted, 1.0):.4f} -> "
        f"{negative_log_likelihood(scored.logits, accepted, temperature):.4f}"
    )
    coverage = measure_coverage(calibrated, scored)
    listener.note(f"decisions on val: {coverage.line()}")
    return calibrated, coverage


def _score_test(bundle: Bundle, job: _Job) -> Scored | None:
    """Classify the test split; None if there is none."""
    test = job.data.split("test")
    if not test:
        job.listener.note("no row has split test: nothing was measured on unseen images")
        return None
    job.listener.stage("measuring on the test split", len(test))
    return evaluate.score(bundle, test, progress=job.listener.advance)


def _write_report(bundle: Bundle, scored: Scored, options: TrainOptions) -> Path:
    """Write the page, charts and figures of the test split beside the bundle; return the page's path."""
    folder = options.output.with_name(options.output.name + ".report")
    write_report(evaluation_of(bundle, scored, labels=options.data.name, split="test"), folder)
    return folder / PAGE


def _gate_images(val: Sequence[Example], spec: PreprocessSpec) -> Pixels:
    images: list[Pixels] = []
    for result in decode_examples(val[: 2 * export.PARITY_IMAGES], spec):
        if not isinstance(result, Failure) and len(images) < export.PARITY_IMAGES:
            images.append(result.pixels)
    return np.stack(images)


def _epoch_line(record: dict[str, float]) -> str:
    return (
        f"epoch {record['epoch']:.0f}: training loss {record['train_loss']:.4f}, validation loss "
        f"{record['loss']:.4f}, top-1 {record['top1']:.4f}, top-5 {record['top5']:.4f}; "
        f"{record['images_per_second']:.1f} images/s, {record['waiting']:.0%} of the time waiting for images"
    )


def _fingerprint(setup: _Setup) -> str:
    """Digest of what decides the weights; a checkpoint with another one is not resumed."""
    decisive = [
        asdict(setup.recipe), setup.options.seed, setup.data.fingerprint, asdict(setup.network.config),
        setup.start.sha256, setup.place.device.type, setup.place.processes,
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(decisive).encode()).hexdigest()


def _provenance(job: _Job) -> dict[str, Any]:
    parameters, trainable = count_parameters(job.network)
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "cataloger": cataloger.__version__,
        "recipe": {**asdict(job.recipe), "blend": job.options.blend},
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
