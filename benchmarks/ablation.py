"""What attention and its parts do for the network: the paper's ablation, on cached features of the frozen layers.

    python benchmarks/ablation.py LABELS.csv WORK --images DATA --start WEIGHTS [--train 3000] [--epochs 5]

LABELS.csv has columns file, labels, split, source and resolution; DATA is the folder that its files lie in. WEIGHTS
are convolutions trained on ImageNet, which have not seen the images. Every arm sees the same images as often as the
others, in the paper's frozen setting: everything up to the depthwise convolution of block 12 stays as it is, and its
output is computed once. Each finished training is kept as a line of WORK/results.jsonl; run the same command again
to resume.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from cataloger.model.network import Network, TokenAttention, count_parameters
from cataloger.options import NetworkConfig, PreprocessSpec
from cataloger.training.data.examples import Example, accepted_matrix
from cataloger.training.data.read import read_dataset
from cataloger.training.evaluation.findings import reports_by_group
from cataloger.training.export import onnx
from cataloger.training.fit.distributed import Place
from cataloger.training.fit.initialization import load_start, read_start
from cataloger.training.fit.trainer import TrainedPart, Trainer
from cataloger.training.inputs.augmentation import Augmentation
from cataloger.training.inputs.batches import LabelledFeatures, Targets, to_network
from cataloger.training.inputs.cache import cached
from cataloger.training.inputs.cached_values import FeatureExtractor
from cataloger.training.inputs.sampling import draw_weights, sample
from cataloger.training.metrics.predictions import Predictions
from cataloger.training.options import DataOptions
from cataloger.training.recipes import RECIPES, Recipe
from cataloger.utils.cpu import available_cpus
from cataloger.utils.malloc import keep_freed_memory

FIGURES = ("top1", "top5", "macro_f1")
TIMED_BATCH, TIMED_ROUNDS = 8, 7


class UniformAttention(TokenAttention):
    """As many parameters and layers, but each token takes the mean of all values: nothing is attended to."""

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.project(tokens)
        if self.position is not None:
            x = x + self.position
        _, _, value = self.query_key_value(self.norm(x)).chunk(3, dim=-1)
        attended: Tensor = x + self.output(value.mean(dim=1, keepdim=True))
        return attended


class OwnPlaceOnly(TokenAttention):
    """As many parameters and layers, but each token takes its own value: nothing is mixed."""

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.project(tokens)
        if self.position is not None:
            x = x + self.position
        _, _, value = self.query_key_value(self.norm(x)).chunk(3, dim=-1)
        attended: Tensor = x + self.output(value)
        return attended


class DroppedAttention(TokenAttention):
    """A tenth of the attention weights is dropped in training."""

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.project(tokens)
        if self.position is not None:
            x = x + self.position
        query, key, value = (self._split(part) for part in self.query_key_value(self.norm(x)).chunk(3, dim=-1))
        dropped = 0.1 if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, dropout_p=dropped)
        attended: Tensor = x + self.output(mixed.transpose(1, 2).flatten(2))
        return attended


def with_attention(kind: type[TokenAttention]) -> Callable[[NetworkConfig], Network]:
    """Return what makes a network with another kind of attention."""

    def make(config: NetworkConfig) -> Network:
        network = Network(config)
        network.attention = kind(config, tokens=49)
        return network

    return make


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to build or train the network. config: what differs from the shipped one's; changes: of the recipe."""

    name: str
    config: dict[str, Any] = field(default_factory=dict)
    make: Callable[[NetworkConfig], Network] = Network
    recipe: str = "quick"

    def network(self, classes: int) -> Network:
        """Build it, its weights drawn."""
        return self.make(NetworkConfig(classes=classes, **self.config))


ARMS = (
    Arm("single classifier", {"attention": "none", "head": "single"}),
    Arm("two fully connected layers", {"attention": "none"}),
    Arm("attention, 1 head", {"heads": 1}),
    Arm("attention, 4 heads", {"heads": 4}),
    Arm("attention, 8 heads (shipped)"),
    Arm("8 heads, the paper's optimizer", recipe="paper"),
    Arm("8 heads, no positions", {"positions": False}),
    Arm("8 heads, attention dropout 0.1", make=with_attention(DroppedAttention)),
    Arm("mean of all places instead", make=with_attention(UniformAttention)),
    Arm("own place instead", make=with_attention(OwnPlaceOnly)),
    Arm("8 heads before the last convolutions", {"attention": "mhsa-early"}),
)


@dataclass(frozen=True, slots=True)
class Data:
    """Cached features of the three splits, and the examples of the test split."""

    labels: tuple[str, ...]
    train: LabelledFeatures
    val: LabelledFeatures
    test: LabelledFeatures
    tested: Sequence[Example]


def main() -> None:
    """Cache the features, train every arm with every seed, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labels", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--images", type=Path, default=Path())
    parser.add_argument("--start", type=Path, required=True)
    parser.add_argument("--train", type=int, default=3000, help="training images, drawn at random")
    parser.add_argument("--val", type=int, default=1000, help="validation images, drawn at random")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--arm", action="append", dest="arms", choices=[arm.name for arm in ARMS], help="default: all"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(available_cpus())
    keep_freed_memory()
    arguments.work.mkdir(parents=True, exist_ok=True)
    data = prepare(arguments)
    results = arguments.work / "results.jsonl"
    for seed in range(arguments.seeds):
        for arm in (arm for arm in ARMS if arm.name in (arguments.arms or [each.name for each in ARMS])):
            if (arm.name, seed) not in {(line["arm"], line["seed"]) for line in read(results)}:
                line = {"arm": arm.name, "seed": seed, **trained(arm, seed, data, arguments)}
                with results.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
                print(f"seed {seed}, {arm.name}: {figures_text(line)}", flush=True)
    print_table(read(results), sizes(len(data.labels)))


def prepare(arguments: argparse.Namespace) -> Data:
    """Draw the images and compute the output of the frozen layers for them; training images also augmented."""
    found = read_dataset(
        DataOptions(data=arguments.labels, images=arguments.images, report_by=("source", "resolution"))
    )
    spec = PreprocessSpec()
    network = started(ARMS[0].network(len(found.labels)), arguments.start, found.labels)
    network.freeze()
    path = arguments.work / "frozen.onnx"
    onnx.write_frozen_part(network, path, size=spec.size)
    augmentation = Augmentation(spec.size, 0, crop=0.5)

    def drawn(split: str, most: int | None) -> list[Example]:
        examples = found.split(split)
        return [examples[row] for row in sample(np.arange(len(examples)), most or len(examples), 0)]

    def features(examples: list[Example], views: int) -> LabelledFeatures:
        extractor = FeatureExtractor(spec, path, augmentation, views, "ablation")
        cache = cached(arguments.work / "cache", examples, extractor, progress=lambda _: None)
        return LabelledFeatures(cache, Targets(torch.from_numpy(accepted_matrix(examples, found.labels))))

    train, val, tested = drawn("train", arguments.train), drawn("val", arguments.val), drawn("test", None)
    return Data(found.labels, features(train, 3), features(val, 1), features(tested, 1), tested)


def started(network: Network, weights: Path, labels: tuple[str, ...]) -> Network:
    """Give a network the convolutions to start from."""
    load_start(network, read_start(weights), labels)
    return network


def trained(arm: Arm, seed: int, data: Data, arguments: argparse.Namespace) -> dict[str, Any]:
    """Train one arm and measure it on the test images."""
    recipe: Recipe = replace(RECIPES[arm.recipe], epochs=arguments.epochs)
    torch.manual_seed(seed)
    network = started(arm.network(len(data.labels)), arguments.start, data.labels)
    network.to(memory_format=torch.channels_last)
    weights = draw_weights(data.train.targets.accepted[data.train.cache.readable].numpy(), recipe.balance)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as work:
        train = replace(data.train, seed=seed)
        place = Place(torch.device("cpu"))
        Trainer(network, train, data.val, weights, recipe, seed, Path(work), "ablation", place).run()
    seconds = time.monotonic() - begun
    reports = measured(network, data)
    figures = {
        group: {name: getattr(report, name).value for name in FIGURES}
        for group, report in reports.items()
        if group != "all"
    }
    return {"figures": figures, "seconds": round(seconds, 1)}


def measured(network: Network, data: Data) -> dict[str, Any]:
    """Return the reports of the test images by group."""
    part = TrainedPart(network, frozen=True).eval()
    rows = data.test.cache.readable
    with torch.inference_mode():
        batches = data.test.batches(np.array_split(rows, -(-len(rows) // 64)), epoch=None)
        logits = [part(to_network(inputs, torch.device("cpu"))).numpy() for inputs, _ in batches]
    examples = [data.tested[row] for row in rows]
    predictions = Predictions.of_logits(np.concatenate(logits), data.labels, 1.0)
    return reports_by_group(examples, predictions, accepted_matrix(examples, data.labels))


@dataclass(frozen=True, slots=True)
class Size:
    """What an arm costs. macs: multiply-adds of an image. rate: images per second of one processor."""

    parameters: int
    trained: int
    macs: int
    rate: float


def sizes(classes: int) -> dict[str, Size]:
    """Count parameters and multiply-adds; time all arms in turns, as they would be exported."""
    with tempfile.TemporaryDirectory() as folder:
        networks = {arm.name: arm.network(classes).eval() for arm in ARMS}
        sessions = {name: exported(network, Path(folder) / "model.onnx") for name, network in networks.items()}
    seconds: dict[str, list[float]] = {name: [] for name in sessions}
    images = np.random.default_rng(0).integers(0, 256, (TIMED_BATCH, 224, 224, 3), dtype=np.uint8)
    for _ in range(TIMED_ROUNDS):
        for name, session in sessions.items():
            begun = time.process_time()
            session.run(["logits"], {"images": images})
            seconds[name].append(time.process_time() - begun)
    found = {}
    for name, network in networks.items():
        network.freeze()
        parameters, trainable = count_parameters(network)
        # The first round also allocates.
        rate = TIMED_BATCH / statistics.median(seconds[name][1:])
        found[name] = Size(parameters, trainable, multiply_adds(network), rate)
    return found


def exported(network: Network, path: Path) -> onnxruntime.InferenceSession:
    """Return a session of one thread."""
    onnx.write_model_files(network, np.zeros((1, 1024), np.float32), path.parent, size=224)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])


def multiply_adds(network: Network) -> int:
    """Count those of one image of 224 pixels, which torch counts as two operations each."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 3, 224, 224))
    return counter.get_total_flops() // 2


def read(results: Path) -> list[dict[str, Any]]:
    """Return what has been trained so far."""
    lines = results.read_text(encoding="utf-8").splitlines() if results.exists() else []
    return [json.loads(line) for line in lines]


def figures_text(line: dict[str, Any]) -> str:
    """Say a result in one line."""
    groups = (
        f"{group} " + "/".join(f"{value:.4f}" for value in figures.values())
        for group, figures in line["figures"].items()
    )
    return f"{', '.join(groups)} (top-1/top-5/macro F1; {line['seconds']:.0f} s)"


def print_table(lines: list[dict[str, Any]], costs: dict[str, Size]) -> None:
    """Print mean and spread (half of largest minus smallest) of every arm, and what it costs."""
    groups = list(dict.fromkeys(group for line in lines for group in line["figures"]))
    print(f"\n| | parameters, M (trained) | multiply-adds, M | images/s | {' | '.join(groups)} |")
    print("|---" * (4 + len(groups)) + "|")
    for name, cost in costs.items():
        figures = [line["figures"] for line in lines if line["arm"] == name]
        cells = (" / ".join(cell([each[group][key] for each in figures]) for key in FIGURES) for group in groups)
        parameters = f"{cost.parameters / 1e6:.2f} ({cost.trained / 1e6:.2f})"
        print(f"| {name} | {parameters} | {cost.macs / 1e6:.0f} | {cost.rate:.0f} | {' | '.join(cells)} |")


def cell(values: list[float]) -> str:
    """Return the mean of all seeds and half of their largest minus smallest, in hundredths."""
    if not values:
        return "-"
    return f"{100 * statistics.mean(values):.1f}±{50 * (max(values) - min(values)):.1f}"


if __name__ == "__main__":
    main()
