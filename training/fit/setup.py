"""What a training run needs before its first step: labels, recipe, network, inputs and trainer."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np
import torch

from cataloger.errors import TrainingError
from cataloger.model import Network
from cataloger.training.curation import Watcher, prepare_data
from cataloger.training.data import (
    Example,
    LabelledImages,
    SoftLabels,
    accepted_matrix,
    check_shares,
    read_soft_labels,
    rows_with,
    soft_matrix,
    values_of,
)
from cataloger.training.export import onnx
from cataloger.training.fit.curves import Curves
from cataloger.training.fit.distributed import Place
from cataloger.training.fit.initialization import Start, load_start, read_start
from cataloger.training.fit.trainer import Trainer
from cataloger.training.fit.weight_interpolation import check_blend
from cataloger.training.inputs import (
    Augmentation,
    BalancedColumn,
    ExampleCache,
    FeatureExtractor,
    Indices,
    Inputs,
    LabelledFeatures,
    LabelledPixels,
    PixelExtractor,
    Targets,
    Weights,
    cached,
    draw_weights,
    drawn_by,
    with_no_products,
)
from cataloger.training.options import TrainOptions
from cataloger.training.recipes import Recipe, Strength, choose_recipe
from cataloger.utils import available_cpus, listed

MOST_WORKERS = 16
AUGMENTATION_VERSION = 2
"""Rises when augmentation draws other views for the same seed; features cached before are computed again."""


class Listener(Watcher, Protocol):
    """Receives the progress of a training run."""

    def note(self, text: str) -> None:
        """Something that a person should read."""
        ...


class SilentListener:
    """Ignores everything: only the first process of a distributed run reports."""

    def stage(self, name: str, total: int) -> None: ...

    def advance(self, done: int) -> None: ...

    def note(self, text: str) -> None: ...


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """A prepared run: what to train, with what, and who receives its progress."""

    options: TrainOptions
    data: LabelledImages
    start: Start
    recipe: Recipe
    trainer: Trainer
    listener: Listener

    @property
    def network(self) -> Network:
        """The network that the trainer trains."""
        return self.trainer.network

    @property
    def failures(self) -> tuple[str, ...]:
        """Images of train and val that cannot be read, one line each."""
        return self.trainer.train.cache.failures + self.trainer.val.cache.failures


def prepare(options: TrainOptions, place: Place, listener: Listener) -> TrainingJob:
    """Read the labels, choose the recipe and create the network, its inputs and the trainer.

    Raises TrainingError for labels or images that cannot be used.
    """
    start = read_start(options.start)
    # Before the images, which may take long to look at.
    soft = read_soft_labels(options.soft_labels, options.data) if options.soft_labels else None
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
    network = Network(start.config(options.attention, classes=len(data.labels)), size=start.spec.size)
    listener.note(load_start(network, start, data.labels))
    trainer = _trainer(_Setup(options, data, start, recipe, network, place, listener, soft))
    return TrainingJob(options, data, start, recipe, trainer, listener)


def _dataset(options: TrainOptions, start: Start, place: Place, listener: Listener) -> LabelledImages:
    """Read and split the labelled images and say what is wrong with them; the first process looks at the files."""
    if not place.is_first:
        place.wait()
    prepared = prepare_data(options.data, start.spec, options.work, listener)
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
    listener: Listener
    soft: SoftLabels | None


def _trainer(setup: _Setup) -> Trainer:
    setup.options.work.mkdir(parents=True, exist_ok=True)
    train, val = _inputs(setup)
    weights = _draw_weights(setup, train)
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
        on_step=_show_epochs(setup.listener),
        on_epoch=_on_epoch(setup),
        choosing=_choosing(setup, val),
        on_note=setup.listener.note,
    )


def _draw_weights(setup: _Setup, train: Inputs) -> Weights | None:
    """Return how often each readable training image is drawn. Raises UsageError for shares of other values."""
    accepted = train.targets.accepted[train.cache.readable].numpy()
    is_product = np.asarray(accepted.any(axis=1))
    rows = train.cache.readable[is_product]
    examples = setup.data.split("train")
    columns = []
    for asked in setup.options.balance_by:
        values = values_of([examples[row] for row in rows], setup.options.data, asked.column)
        check_shares(asked, values)
        columns.append(BalancedColumn(values, asked.shares))
    weights = draw_weights(accepted[is_product], setup.recipe.balance, columns)
    for asked, column in zip(setup.options.balance_by, columns, strict=True):
        if weights is not None:
            setup.listener.note(f"drawn by {asked.column}: {drawn_by(column, weights)} images")
    return weights if is_product.all() else with_no_products(weights, is_product)


def _choosing(setup: _Setup, val: Inputs) -> Indices | None:
    """Return the rows of val that choose the best epoch, None for all. Raises UsageError when there are none."""
    asked = setup.options.select_by
    if asked is None:
        return None
    examples = setup.data.split("val")
    values = values_of([examples[row] for row in val.cache.readable], setup.options.data, asked.column)
    return val.cache.readable[rows_with(asked, values)]


def _inputs(setup: _Setup) -> tuple[Inputs, Inputs]:
    """Read the images of both splits into the cache; all processes but the first wait until it is filled."""
    if not setup.place.is_first:
        setup.place.wait()
    inputs = _features(setup) if setup.recipe.frozen else _pixels(setup)
    if setup.place.is_first:
        setup.place.wait()
    return inputs


def _features(setup: _Setup) -> tuple[Inputs, Inputs]:
    spec, recipe, seed = setup.start.spec, setup.recipe, setup.options.seed
    path = setup.options.work / "frozen.onnx"
    if setup.place.is_first:
        setup.network.freeze()
        onnx.write_frozen_part(setup.network, path, size=spec.size)
    augmentation = _augmentation(setup, recipe.augmentation)
    decisive = f"{seed} {recipe.crop} {recipe.augmentation} {AUGMENTATION_VERSION}"

    def inputs(split: str, views: int) -> Inputs:
        extractor = FeatureExtractor(spec, path, augmentation, views, decisive)
        return LabelledFeatures(*_cached(setup, split, extractor), seed)

    return inputs("train", recipe.views), inputs("val", 1)


def _pixels(setup: _Setup) -> tuple[Inputs, Inputs]:
    late = _augmentation(setup, "light") if setup.recipe.plain_epochs else None
    # Without a GPU the steps take all processors, and other processes would only disturb them.
    share = available_cpus() // setup.place.processes - 1
    workers = min(MOST_WORKERS, max(1, share)) if setup.place.device.type == "cuda" else 0

    def inputs(split: str) -> Inputs:
        cache, targets = _cached(setup, split, PixelExtractor(setup.start.spec))
        augmentation = _augmentation(setup, setup.recipe.augmentation, cache)
        return LabelledPixels(cache, targets, augmentation, workers, late, setup.recipe.first_plain_epoch)

    return inputs("train"), inputs("val")


def _augmentation(setup: _Setup, strength: Strength, photos: ExampleCache | None = None) -> Augmentation:
    """Make an augmentation; of `photos`, the images in a cache of pixels, it takes backgrounds."""
    size, seed = setup.start.spec.size, setup.options.seed
    backdrops = None if photos is None else photos.values[:, 0]
    return Augmentation(size, seed, crop=setup.recipe.crop, strength=strength, photos=backdrops)


def _cached(setup: _Setup, split: str, extractor: FeatureExtractor | PixelExtractor) -> tuple[ExampleCache, Targets]:
    # Those without a product come last, so that the rows of the others are the same with and without them.
    examples = setup.data.split(split) + (setup.data.no_products(split) if split == "train" else [])
    soft = _soft_labels(setup, examples) if split == "train" else None
    setup.listener.stage(f"reading {split} images", len(examples))
    cache = cached(setup.options.work / "cache", examples, extractor, progress=setup.listener.advance)
    return cache, Targets(torch.from_numpy(accepted_matrix(examples, setup.data.labels)), soft)


def _soft_labels(setup: _Setup, examples: Sequence[Example]) -> torch.Tensor | None:
    """Return what another model says of training images, None where it is not asked.

    Raises TrainingError when it says nothing of them.
    """
    found, path = setup.soft, setup.options.soft_labels
    if found is None:
        return None
    soft = torch.from_numpy(soft_matrix(examples, setup.data.labels, found))
    products, said = sum(bool(example.labels) for example in examples), int(soft.any(dim=1).sum())
    if not said:
        raise TrainingError(f"--soft-labels {path} names none of the {products:,} training images")
    others = len(found.keys() - {example.file for example in examples})
    setup.listener.note(
        f"soft labels: {said:,} of {products:,} training images have them, {setup.recipe.soft_share:.0%} of the "
        f"loss; {others:,} other images of {path} are not used"
    )
    unknown = sorted({label for answers in found.values() for label in answers} - set(setup.data.labels))
    if unknown:
        setup.listener.note(f"soft labels: those for {listed(unknown)} do not count, since no image is labelled so")
    return soft


def _on_epoch(setup: _Setup) -> Callable[[Sequence[dict[str, float]]], None]:
    curves = Curves(setup.options.work) if setup.place.is_first else None

    def on_epoch(history: Sequence[dict[str, float]]) -> None:
        setup.listener.note(_epoch_line(history[-1]))
        if curves is not None:
            curves.write(history)

    return on_epoch


def _show_epochs(listener: Listener) -> Callable[[int, int], None]:
    def on_step(done: int, total: int) -> None:
        if done == 1:
            listener.stage("training", total)
        listener.advance(done)

    return on_step


def _epoch_line(record: dict[str, float]) -> str:
    chosen = "" if record["chosen_top1"] == record["top1"] else f", of the chosen ones {record['chosen_top1']:.4f}"
    return (
        f"epoch {record['epoch']:.0f}: training loss {record['train_loss']:.4f}, validation loss "
        f"{record['loss']:.4f}, top-1 {record['top1']:.4f}{chosen}, top-5 {record['top5']:.4f}; "
        f"{record['images_per_second']:.1f} images/s, {record['waiting']:.0%} of the time waiting for images"
    )


def _fingerprint(setup: _Setup) -> str:
    """Digest of what decides the weights; a checkpoint with another one is not resumed."""
    traits = [[asdict(each) for each in setup.options.balance_by], [e.traits for e in setup.data.examples]]
    selected = asdict(setup.options.select_by) if setup.options.select_by else None
    decisive = [
        asdict(setup.recipe), setup.options.seed, setup.data.fingerprint, asdict(setup.network.config),
        setup.start.sha256, setup.place.device.type, setup.place.processes, traits, selected, setup.soft,
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(decisive).encode()).hexdigest()
