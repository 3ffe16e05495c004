"""A model in integers: static quantization, one scale a channel, and the gate that it must pass.

Weights become seven-bit integers, so that processors without VNNI, which add products in sixteen bits, give the same
as others; activations have eight bits. What is most sensitive to that stays in floating point: layer by layer it is
measured how much the logits move when that layer alone is quantized, and as few as the gate allows are kept.

With training, the weights become such integers before: then fp32 and int8 hold the same ones, and it is fp32 that
changes, so that the calibration and the figures of the card are made anew.
"""

import tempfile
import textwrap
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from cataloger.inference import onnxruntime  # noqa: F401 (loaded by us first, which keeps its telemetry off)

# isort: split
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from cataloger.errors import QualityGateError, TrainingError
from cataloger.inference import OnnxClassifier, golden_key
from cataloger.model import (
    CARD,
    GOLDEN,
    IMAGES,
    INPUT,
    LOGITS,
    MODEL_INT8,
    Bundle,
    check_files,
    copy_files,
    new_bundle,
    read_golden,
    seal,
)
from cataloger.records import Failure, Floats, Pixels
from cataloger.training.data import Example, LabelledImages, decode_examples
from cataloger.training.evaluation import ScoredImages, markdown_figures, scoring, with_section
from cataloger.training.export.integer_weights import Note, with_integer_weights
from cataloger.training.export.onnx import store_as_half

LEAST_AGREEMENT = 0.98
LARGEST_LOSS = 0.005
LARGEST_CALIBRATION_CHANGE = 0.005

CALIBRATION_IMAGES = 128
SENSITIVITY_IMAGES = 48
TIMED_IMAGES = 32
BATCH = 8
KEPT = (0, 2, 4, 6, 8, 10, 12, 16)
"""How many layers stay in floating point: tried in this order until the gate is passed."""

GOLDEN_TOLERANCE = 0.5
"""Of a logit. A sum that another processor adds in another order can round an activation to the next integer."""

SECTION = "## int8"
LISTED_LAYERS = 5


@dataclass(frozen=True, slots=True)
class Gate:
    """The same validation images in fp32 and in int8. agreement: share with the same best label. ece: 15 bins.

    before: top-1 in fp32 before the training with simulated integers; None without it.
    """

    images: int
    agreement: float
    top1: tuple[float, float]
    ece: tuple[float, float]
    before: float | None = None

    @property
    def passes(self) -> bool:
        """Whether the model in int8 can stand in for the other one."""
        return (
            self.agreement >= LEAST_AGREEMENT
            and max(self.top1[0], self.before or 0.0) - self.top1[1] <= LARGEST_LOSS
            and abs(self.ece[1] - self.ece[0]) <= LARGEST_CALIBRATION_CHANGE
        )

    def line(self) -> str:
        """Say it in one line."""
        trained = "" if self.before is None else f" ({self.before:.4f} before training)"
        return (
            f"the same best label for {self.agreement:.2%} of {self.images:,} validation images "
            f"(at least {LEAST_AGREEMENT:.0%}), top-1 {self.top1[0]:.4f}{trained} -> {self.top1[1]:.4f} "
            f"(at most {LARGEST_LOSS:.3f} lost), ECE {self.ece[0]:.4f} -> {self.ece[1]:.4f} "
            f"(at most {LARGEST_CALIBRATION_CHANGE:.3f} changed)"
        )


@dataclass(frozen=True, slots=True)
class QuantizedModel:
    """What came out. kept: layers in fp32. moved: mean absolute change of a logit by layer, when it alone is in int8.

    milliseconds: processor time per image on one thread, in fp32 and in int8. trained: whether it was trained with
    simulated integers.
    """

    bundle: Bundle
    kept: tuple[str, ...]
    moved: dict[str, float]
    gate: Gate
    milliseconds: tuple[float, float]
    trained: bool = False

    def ranked(self) -> list[tuple[str, float]]:
        """Return `moved`, the most sensitive layer first."""
        return sorted(self.moved.items(), key=lambda each: -each[1])

    def facts(self) -> dict[str, Any]:
        """Return the figures for provenance and JSON."""
        ranked = dict(self.ranked())
        return {
            "kept": self.kept,
            "moved": ranked,
            "gate": asdict(self.gate),
            "milliseconds": self.milliseconds,
            "trained": self.trained,
        }


def quantize_bundle(
    bundle: Bundle, data: LabelledImages, output: Path, *, train: bool = False, note: Note = lambda _: None
) -> QuantizedModel:
    """Write a copy of a bundle with a model in int8, calibrated on training and judged on validation images.

    output: may be the bundle's own directory. train: train it with simulated integers first; images of no product are
    used, too, if there are any. note: receives the progress. Raises TrainingError where there are no such images, and
    QualityGateError, with nothing written, where no tried model passes the gate.
    """
    bundle.require_training_files("`cataloger models quantize`")
    check_files(bundle)
    calibration, val = _pixels(bundle, _drawn(data, "train", CALIBRATION_IMAGES)), _drawn(data, "val", None)
    with tempfile.TemporaryDirectory() as name, new_bundle(output) as folder:
        copy_files(bundle, folder)
        draft = replace(bundle, path=folder)
        fp32, before = scoring.score(draft, val), None
        if train:
            before = scoring.report(draft, fp32)["all"].top1.value
            draft, fp32 = with_integer_weights(draft, data, calibration, note)
        quantizer = _Quantizer.prepared(draft.model_path, Path(name), calibration)
        note(f"calibrated on {len(calibration)} training images; {len(quantizer.layers)} layers")
        moved = quantizer.sensitivity(draft, calibration[:SENSITIVITY_IMAGES])
        kept, gate = _fewest_kept(draft, quantizer, moved, _Judge(val, fp32, before), note)
        milliseconds = _paces(draft, calibration[:TIMED_IMAGES])
        _add_golden(draft)
        quantized = QuantizedModel(draft, kept, moved, gate, milliseconds, train)
        card = (folder / CARD).read_text(encoding="utf-8")
        text = section(quantized) + _test_figures(draft, data.split("test"), note)
        (folder / CARD).write_text(with_section(card, SECTION, text), encoding="utf-8")
        provenance = {**draft.provenance, "int8": quantized.facts()}
        sealed = seal(replace(draft, int8_tolerance=GOLDEN_TOLERANCE, provenance=provenance))
    return replace(quantized, bundle=replace(sealed, path=output))


def section(quantized: QuantizedModel) -> str:
    """Return what the model card says of the model in int8."""
    fp32, int8 = quantized.milliseconds
    moves = ", ".join(f"{layer} {value:.2f}" for layer, value in quantized.ranked()[:LISTED_LAYERS])
    text = (
        f"`{MODEL_INT8}`: static, weights of seven bits with one scale per channel, activations of eight. "
        f"{'It was trained with simulated integers to answer as fp32 does. ' if quantized.trained else ''}"
        f"Against fp32: {quantized.gate.line()}. "
        f"An image takes {int8:.1f} ms of processor time where fp32 takes {fp32:.1f} (one thread). "
        f"In floating point stay: {', '.join(quantized.kept) or 'none'}. A layer that alone is in int8 "
        f"moves a logit on average by: {moves}, the others by less."
    )
    return textwrap.fill(text, 116) + "\n"


def _test_figures(draft: Bundle, test: Sequence[Example], note: Note) -> str:
    """Return the figures of the test split in int8, which have decided nothing."""
    if not test:
        return ""
    note(f"measuring {len(test):,} test images in int8")
    bundle = _in_int8(draft)
    return f"\n{markdown_figures(scoring.report(bundle, scoring.score(bundle, test)))}\n"


def _drawn(data: LabelledImages, split: str, most: int | None) -> list[Example]:
    examples = data.split(split)
    if not examples:
        raise TrainingError(
            f"no row has split {split}: int8 is calibrated on train and judged on val images; give labels with a "
            "column of splits, such as splits.csv in the work folder of the training"
        )
    rows = np.random.default_rng(0).permutation(len(examples))[:most]
    return [examples[row] for row in np.sort(rows)]


def _pixels(bundle: Bundle, examples: Sequence[Example]) -> Pixels:
    results = decode_examples(examples, bundle.preprocess)
    decoded = [result.pixels for result in results if not isinstance(result, Failure)]
    if not decoded:
        raise TrainingError(f"none of {len(examples)} training images could be read; `cataloger inspect` lists them")
    return np.stack(decoded)


@dataclass(frozen=True, slots=True)
class _Layer:
    """A layer that can be quantized: the nodes of the graph that must be so together."""

    name: str
    nodes: tuple[str, ...]


class _Batches(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, pixels: Pixels) -> None:
        self._left = iter(np.array_split(pixels, -(-len(pixels) // BATCH)))

    def get_next(self) -> dict[str, Pixels] | None:
        return next(({INPUT: batch} for batch in self._left), None)


@dataclass(frozen=True, slots=True)
class _Quantizer:
    """Makes models with some of the layers in int8; what activations there are is measured once."""

    folder: Path
    layers: tuple[_Layer, ...]
    others: tuple[str, ...]
    calibration: Pixels

    @classmethod
    def prepared(cls, model: Path, folder: Path, calibration: Pixels) -> "_Quantizer":
        """Fold batch norms and constants of a model in fp32, and find the layers."""
        path = folder / "float.onnx"
        quant_pre_process(str(model), str(path), skip_symbolic_shape=True)
        graph = onnx.load(path).graph
        layers = tuple(_layers(graph))
        quantized = {node for layer in layers for node in layer.nodes}
        others = [node.name for node in graph.node if node.op_type in ("Conv", "MatMul", "Clip")]
        return cls(folder, layers, tuple(name for name in others if name not in quantized), calibration)

    def write(self, target: Path, *, kept: Sequence[str]) -> None:
        """Write the model with all layers in int8 but those of the names in `kept`."""
        excluded = [node for layer in self.layers if layer.name in kept for node in layer.nodes]
        path = self.folder / "quantized.onnx"
        quantize_static(
            self.folder / "float.onnx",
            path,
            _Batches(self.calibration),
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            # With its ReLU6 a convolution is one layer, whose output never leaves 0 to 6.
            op_types_to_quantize=["Conv", "Clip", "MatMul"],
            # Sums, norms and the softmax that follow a matrix are computed in floating point anyway.
            extra_options={"OpTypesToExcludeOutputQuantization": ["MatMul"]},
            nodes_to_exclude=[*excluded, *self.others],
            calibration_cache_path=self.folder / "ranges.json",
        )
        onnx.save(store_as_half(onnx.load(path)), target)

    def sensitivity(self, draft: Bundle, images: Pixels) -> dict[str, float]:
        """Return the mean absolute change of a logit by layer, when it alone is in int8."""
        expected = _logits(draft, images)
        moved = {}
        for layer in self.layers:
            others = [each.name for each in self.layers if each is not layer]
            self.write(draft.path / MODEL_INT8, kept=others)
            moved[layer.name] = float(np.abs(_logits(_in_int8(draft), images) - expected).mean())
        return moved


def _layers(graph: Any) -> Iterator[_Layer]:
    """Yield convolutions, each with the ReLU6 behind it, and linear layers, named as in the network."""
    behind = {name: node for node in graph.node if node.op_type in ("Clip", "Add") for name in node.input}
    for node in graph.node:
        following = behind.get(node.output[0])
        if node.op_type == "Conv":
            clips = [following.name] if following is not None and following.op_type == "Clip" else []
            yield _Layer(_own_name(node.input[1]).removesuffix(".conv"), (node.name, *clips))
        elif node.op_type == "MatMul" and following is not None:
            # Of its matrix, transposed and folded, the bias alone has kept the name.
            biases = [name for name in following.input if name.endswith(".bias")]
            yield from (_Layer(_own_name(bias), (node.name,)) for bias in biases)


def _own_name(tensor: str) -> str:
    return tensor.rpartition("network.")[2].rpartition(".")[0]


@dataclass(frozen=True, slots=True)
class _Judge:
    """The images that decide, how fp32 scores them, and its top-1 on them before a training."""

    val: Sequence[Example]
    fp32: ScoredImages
    before: float | None

    def gate(self, draft: Bundle) -> Gate:
        """Compare the bundle's model in int8 with what it answers in fp32."""
        int8 = scoring.score(_in_int8(draft), self.val)
        if self.fp32.examples != int8.examples:
            raise QualityGateError("scores in int8 are not finite numbers for some images, so nothing was written")
        same = self.fp32.logits.argmax(axis=1) == int8.logits.argmax(axis=1)
        reports = [scoring.report(draft, scored)["all"] for scored in (self.fp32, int8)]
        return Gate(
            images=len(same),
            agreement=float(same.mean()),
            top1=(reports[0].top1.value, reports[1].top1.value),
            ece=(reports[0].ece.value, reports[1].ece.value),
            before=self.before,
        )


def _fewest_kept(
    draft: Bundle, quantizer: _Quantizer, moved: dict[str, float], judge: _Judge, note: Note
) -> tuple[tuple[str, ...], Gate]:
    """Keep more and more of the most sensitive layers in fp32 until the gate is passed."""
    order = sorted(moved, key=lambda name: -moved[name])
    tried: list[Gate] = []
    for number in (number for number in KEPT if number < len(order)):
        quantizer.write(draft.path / MODEL_INT8, kept=order[:number])
        gate = judge.gate(draft)
        note(f"{number} layers in fp32: {gate.line()}")
        if gate.passes:
            return tuple(order[:number]), gate
        tried.append(gate)
    best = max(tried, key=lambda gate: gate.agreement)
    raise QualityGateError(f"no model in int8 is good enough, so nothing was written; the best has {best.line()}")


def _in_int8(draft: Bundle) -> Bundle:
    """Return the draft with its model in int8, whose file no hash is known of yet."""
    return replace(draft, precision="int8")


def _logits(bundle: Bundle, images: Pixels) -> Floats:
    classifier = OnnxClassifier(bundle)
    return np.concatenate([classifier.logits(images[i : i + BATCH]) for i in range(0, len(images), BATCH)])


def _paces(draft: Bundle, images: Pixels) -> tuple[float, float]:
    """Return processor milliseconds per image in fp32 and in int8, the median of rounds in turns."""
    classifiers = [OnnxClassifier(draft), OnnxClassifier(_in_int8(draft))]
    rounds = [[_milliseconds(classifier, images) for classifier in classifiers] for _ in range(5)]
    fp32, int8 = np.median(rounds, axis=0)
    return float(fp32), float(int8)


def _milliseconds(classifier: OnnxClassifier, images: Pixels) -> float:
    begun = time.process_time()
    for start in range(0, len(images), BATCH):
        classifier.logits(images[start : start + BATCH])
    return (time.process_time() - begun) / len(images) * 1000


def _add_golden(draft: Bundle) -> None:
    kept = read_golden(draft, LOGITS)
    int8 = _in_int8(draft)
    np.savez_compressed(draft.path / GOLDEN, **kept | {golden_key(int8): _logits(int8, kept[IMAGES])})
