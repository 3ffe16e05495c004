"""A model in int8: made, judged, refused; and the bundle that contains it."""

import json
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from safetensors.numpy import load_file
from typer.testing import CliRunner

pytest.importorskip("onnxscript", reason="the extra 'train' is not installed")

from cataloger.cli.app import app
from cataloger.errors import BundleError, QualityGateError, TrainingError, UsageError
from cataloger.inference import load_folded, load_network
from cataloger.inference.golden import replay_golden
from cataloger.inference.onnx import OnnxClassifier
from cataloger.model.bundle import (
    CARD,
    GOLDEN,
    LOGITS,
    MODEL,
    MODEL_INT8,
    WEIGHTS,
    copy_files,
    default_bundle_path,
    read_bundle,
    seal,
)
from cataloger.model.weights_binding import check_tensors
from cataloger.training.data.read import read_dataset
from cataloger.training.export import quantization_aware
from cataloger.training.export import quantize as module
from cataloger.training.export.integer_weights import with_integer_weights
from cataloger.training.export.onnx import write_golden, write_model_files
from cataloger.training.export.quantize import Gate, quantize_bundle
from cataloger.training.options import DataOptions

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """The example pictures, half of them to calibrate on and half to judge by."""
    path = tmp_path_factory.mktemp("labels") / "labels.csv"
    lines = (EXAMPLES / "labels.csv").read_text().splitlines()
    names = lines[0].split(",")
    rows = [dict(zip(names, line.split(","), strict=True)) for line in lines[1:]]
    splits = ["train" if number % 2 else "val" for number in range(len(rows))]
    text = "\n".join(f"{row['file']},{row['labels']},{split}" for row, split in zip(rows, splits, strict=True))
    path.write_text(f"file,labels,split\n{text}\n")
    return path


@pytest.fixture(scope="module")
def made(labelled, tmp_path_factory):
    """What the command makes of the shipped model without one in int8, and what it prints."""
    folder = tmp_path_factory.mktemp("models")
    arguments = ["models", "quantize", "default", str(labelled), "--images", str(EXAMPLES / "images")]
    with pytest.MonkeyPatch.context() as patch:
        # Ten pictures decide nothing about the gate; each that changes is a tenth.
        patch.setattr(module, "LEAST_AGREEMENT", 0.8)
        patch.setattr(module, "LARGEST_LOSS", 0.2)
        patch.setattr(module, "LARGEST_CALIBRATION_CHANGE", 0.2)
        patch.setattr(module, "SENSITIVITY_IMAGES", 2)
        result = CliRunner().invoke(app, [*arguments, "--output", str(folder / "int8"), "--json"])
    assert result.exit_code == 0, result.output
    return read_bundle(folder / "int8"), json.loads(result.stdout)


def test_both_precisions_are_whole(made):
    bundle, _ = made
    assert bundle.precisions == ("fp32", "int8")
    assert replay_golden(bundle) <= 1e-3
    assert replay_golden(bundle.at("int8")) == 0.0


def test_weights_and_calibration_stay(made):
    bundle, default = made[0], read_bundle(default_bundle_path())
    assert (bundle.weights_id, bundle.calibration_id) == (default.weights_id, default.calibration_id)


def test_the_output_fits_its_schema(made, fits_schema):
    fits_schema("models-quantize", made[1])


def test_its_weights_are_integers_of_seven_bits(made):
    bundle, printed = made
    tensors = onnx.load(bundle.path / MODEL_INT8).graph.initializer
    integers = [onnx.numpy_helper.to_array(t) for t in tensors if t.data_type == onnx.TensorProto.INT8 and t.dims]
    matrices = [values for values in integers if values.ndim >= 2]
    assert len(matrices) == len(printed["moved"]) - len(printed["kept"]) > 20
    assert all(np.abs(values.astype(int)).max() <= 64 for values in matrices)
    assert (bundle.path / MODEL_INT8).stat().st_size < 0.75 * (bundle.path / MODEL).stat().st_size


def test_every_layer_is_measured_by_its_name(made):
    moved = made[1]["moved"]
    assert {"conv1", "block1.depthwise", "block13.pointwise", "attention.query_key_value", "head.output"} <= set(
        moved
    )
    assert len(moved) == 32
    assert all(value > 0 for value in moved.values())


def test_scores_are_near_those_of_fp32(made):
    bundle, _ = made
    with np.load(bundle.path / GOLDEN) as golden:
        images = golden["images"]
    fp32, int8 = (OnnxClassifier(bundle.at(precision)).scores(images) for precision in bundle.precisions)
    assert 0 < np.abs(fp32.logits - int8.logits).mean() < 1.0
    assert np.abs(fp32.familiarity - int8.familiarity).max() < 0.2


def test_a_layer_that_is_kept_between_integers_is_really_in_fp32(labelled, tmp_path):
    bundle = read_bundle(default_bundle_path())
    data = read_dataset(DataOptions(data=labelled, images=EXAMPLES / "images"))
    images = module._pixels(bundle, data.split("train"))
    shutil.copyfile(bundle.model_path, tmp_path / MODEL)
    quantizer = module._Quantizer.prepared(bundle.model_path, tmp_path, images)
    expected, moved = OnnxClassifier(bundle).logits(images), []
    for kept in ([], ["block1.depthwise"]):
        quantizer.write(tmp_path / MODEL_INT8, kept=kept)
        int8 = replace(bundle, path=tmp_path, precision="int8")
        moved.append(np.abs(OnnxClassifier(int8).logits(images) - expected).mean())
    # Quantized at load, with one scale for all channels, it would move the logits several times as much.
    assert moved[1] < 1.5 * moved[0]


@pytest.fixture(scope="module")
def rough(tmp_path_factory):
    """The shipped model, whose weights are integers, with other weights near them that are none."""
    import torch

    folder = tmp_path_factory.mktemp("rough")
    bundle = read_bundle(default_bundle_path())
    copy_files(bundle, folder)
    model = load_network(bundle)
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in (each for each in model.network.parameters() if each.ndim >= 2):
            weight.mul_(1 + 0.05 * torch.randn_like(weight))
    write_model_files(model.network, model.prototypes.numpy(), folder, size=bundle.preprocess.size)
    other = replace(bundle, path=folder, files={})
    write_golden(other)
    (folder / MODEL_INT8).unlink()
    return seal(other)


@pytest.fixture
def reading(labelled, rough):
    """A model that was not trained with integers, the labels, and the pixels of those to calibrate on."""
    bundle = rough
    data = read_dataset(DataOptions(data=labelled, images=EXAMPLES / "images"))
    return bundle, data, module._pixels(bundle, data.split("train"))


def written(bundle, folder, images, model):
    """Return a bundle whose layers are all in int8, made of a model in fp32."""
    shutil.copyfile(bundle.model_path, folder / MODEL)
    module._Quantizer.prepared(model, folder, images).write(folder / MODEL_INT8, kept=[])
    return replace(bundle, path=folder, precision="int8")


def test_what_training_simulates_is_what_int8_computes(reading, tmp_path):
    import torch

    bundle, _, images = reading
    int8 = OnnxClassifier(written(bundle, tmp_path, images, bundle.model_path)).logits(images)
    network = load_folded(bundle, torch.float32)
    simulation = quantization_aware._Simulation.put_on(network)
    simulation.calibrate(images)
    with torch.inference_mode():
        simulated = network(torch.from_numpy(images))[0].numpy()
    moved = np.abs(int8 - OnnxClassifier(bundle).logits(images)).mean()
    assert np.abs(int8 - simulated).mean() < 0.5 * moved
    simulation.take_off()
    with torch.inference_mode():
        plain = network(torch.from_numpy(images))[0].numpy()
    # What it leaves has the integers of int8, and activations that are not rounded.
    assert np.abs(plain - simulated).mean() < 0.5 * moved
    weight = network.network.block5.pointwise.conv.weight
    assert torch.allclose(quantization_aware._RoundedWeight()(weight), weight, rtol=1e-6)


@pytest.fixture(scope="module")
def trained(labelled, rough, tmp_path_factory):
    """A model whose weights were trained to be integers, what it was, the pixels, and what was said."""
    folder, steps = tmp_path_factory.mktemp("trained"), []
    bundle = rough
    data = read_dataset(DataOptions(data=labelled, images=EXAMPLES / "images"))
    images = module._pixels(bundle, data.split("train"))
    copy_files(bundle, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quantization_aware, "BATCH", 5)
        patch.setattr(quantization_aware, "MOST_REPEATS", 8)
        made, _ = with_integer_weights(replace(bundle, path=folder), data, images, steps.append)
    return made, bundle, images, steps


def test_training_with_simulated_integers_brings_int8_nearer_to_fp32(trained, tmp_path):
    made, bundle, images, steps = trained
    moved = []
    for name, source in (("as-it-was", bundle), ("trained", made)):
        (tmp_path / name).mkdir()
        int8 = written(source, tmp_path / name, images, source.model_path)
        moved.append(np.abs(OnnxClassifier(int8).logits(images) - OnnxClassifier(source).logits(images)).mean())
    assert moved[1] < 0.5 * moved[0]
    assert "training with simulated integers: 100%" in steps


def test_weights_that_were_trained_are_the_integers_of_int8(trained, tmp_path):
    made, _, images, _ = trained
    int8 = written(made, tmp_path, images, made.model_path)
    weights = load_file(made.path / WEIGHTS)
    graph = onnx.load(int8.model_path).graph
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    kernel = weights["block5.pointwise.conv.weight"].astype(np.float64).reshape(256, -1)
    (integers,) = [
        values.reshape(256, -1).astype(np.float64)
        for name, values in stored.items()
        if "block5.pointwise" in name and values.dtype == np.int8 and values.ndim == 4
    ]
    # Each channel is its integers times one number, but for the rounding to fp16.
    factors = (kernel * integers).sum(axis=1) / (integers**2).sum(axis=1)
    assert np.abs(kernel - factors[:, None] * integers).max() <= np.abs(kernel).max() * 2**-10
    check_tensors(int8.model_path, weights, output=LOGITS, is_int8=True)


def test_batch_norms_stay_so_that_a_trained_model_can_learn_on(trained):
    made, bundle, images, _ = trained
    before, after = (load_file(each.path / WEIGHTS) for each in (bundle, made))
    assert all(np.array_equal(before[name], after[name]) for name in before if "running" in name)
    answers = [OnnxClassifier(each).logits(images).argmax(axis=1) for each in (bundle, made)]
    assert np.mean(answers[0] == answers[1]) >= 0.8


def test_what_the_card_says_of_the_weights_is_renewed(trained):
    made, bundle, _, _ = trained
    card = (made.path / CARD).read_text()
    assert card.count("## Decisions\n") == card.count("## Results on the test split\n") == 1
    assert "Learned on 10 validation images" in card
    assert made.calibration != bundle.calibration
    assert made.provenance["test"] == {}


def test_the_card_tells_of_it_once(made, labelled, tmp_path):
    assert (made[0].path / CARD).read_text().count("## int8\n") == 1
    assert "## Results on the test split" in (made[0].path / CARD).read_text()


def test_evaluate_measures_it(made):
    result = CliRunner().invoke(
        app, ["evaluate", str(EXAMPLES / "labels.csv"), "--images", str(EXAMPLES / "images"), "--model",
              str(made[0].path), "--precision", "int8", "--no-progress"]
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "in int8 on labels.csv" in " ".join(result.stdout.split())


def test_results_record_the_precision_that_was_asked_for(made, tmp_path):
    arguments = ["tag", str(EXAMPLES / "images"), "--db", f"sqlite:///{tmp_path / 'x.db'}", "--quiet"]
    result = CliRunner().invoke(app, [*arguments, "--model", str(made[0].path), "--precision", "int8"])
    assert result.exit_code == 0, result.output
    with sqlite3.connect(tmp_path / "x.db") as connection:
        assert connection.execute("SELECT precision, COUNT(*) FROM cataloger_result GROUP BY 1").fetchall() == [
            ("int8", 20)
        ]


def test_a_damaged_file_is_not_used(made, tmp_path):
    with pytest.raises(BundleError, match="SHA-256 differs"):
        replace(made[0], files={**made[0].files, MODEL_INT8: "0" * 64}).at("int8")


def test_a_bundle_without_it_says_what_makes_one():
    bundle = read_bundle(default_bundle_path())
    with pytest.raises(UsageError, match="has no int8 model, only fp32; `cataloger models quantize` makes one"):
        replace(bundle, files={MODEL: bundle.files[MODEL]}).at("int8")


def test_a_model_that_answers_otherwise_is_refused_and_nothing_is_written(labelled, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LEAST_AGREEMENT", 1.01)
    monkeypatch.setattr(module, "SENSITIVITY_IMAGES", 1)
    monkeypatch.setattr(module, "KEPT", (0,))
    data = read_dataset(DataOptions(data=labelled, images=EXAMPLES / "images"))
    with pytest.raises(QualityGateError, match=r"nothing was written; the best has the same best label for \d"):
        quantize_bundle(read_bundle(default_bundle_path()), data, tmp_path / "refused")
    assert list(tmp_path.iterdir()) == []


def test_images_to_judge_by_are_needed(labelled, tmp_path):
    data = read_dataset(DataOptions(data=labelled, images=EXAMPLES / "images"))
    alone = replace(data, examples=tuple(each for each in data.examples if each.split == "train"))
    with pytest.raises(TrainingError, match="no row has split val"):
        quantize_bundle(read_bundle(default_bundle_path()), alone, tmp_path / "none")


@pytest.mark.parametrize(
    ("gate", "passes"),
    [
        (Gate(100, 0.98, (0.9, 0.896), (0.02, 0.024)), True),
        (Gate(100, 0.97, (0.9, 0.9), (0.02, 0.02)), False),
        (Gate(100, 1.0, (0.9, 0.89), (0.02, 0.02)), False),
        (Gate(100, 1.0, (0.9, 0.92), (0.02, 0.02)), True),
        (Gate(100, 1.0, (0.9, 0.9), (0.03, 0.02)), False),
        (Gate(100, 1.0, (0.9, 0.9), (0.02, 0.02), before=0.904), True),
        (Gate(100, 1.0, (0.9, 0.9), (0.02, 0.02), before=0.91), False),
    ],
)
def test_what_the_gate_lets_through(gate, passes):
    assert gate.passes is passes
