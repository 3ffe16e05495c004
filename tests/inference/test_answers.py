"""A model that was exchanged, whatever was made anew to hide it, is an error of one line wherever it is used."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from small_bundles import put, small_bundle
from typer.testing import CliRunner

from cataloger.cli.app import app
from cataloger.errors import BundleError
from cataloger.inference import OnnxClassifier, verify_model
from cataloger.model.bundle import GOLDEN, MODEL, MODEL_INT8, check_bound, default_bundle_path, read_bundle, seal
from cataloger.model.golden import golden_images, read_golden

IMAGES = Path(__file__).parents[2] / "examples" / "images"
PIXELS = np.full((1, 224, 224, 3), 100, np.uint8)


@pytest.fixture
def bundle(tmp_path):
    """A copy of the shipped bundle, which is not known to be ours."""
    shutil.copytree(default_bundle_path(), tmp_path / "model")
    return read_bundle(tmp_path / "model")


def exchange(bundle, name, edit):
    """Change a model, and make anew whatever is made of it: its hash, the identities, the golden logits."""
    made = onnx.load(bundle.path / name)
    edit(made)
    (bundle.path / name).write_bytes(made.SerializeToString())
    golden = read_golden(bundle, "logits", "logits_int8")
    draft = replace(bundle, path=bundle.path.parent / "draft", precision="int8" if name == MODEL_INT8 else "fp32")
    draft.path.mkdir()
    shutil.copy(bundle.path / name, draft.path)
    key = "logits_int8" if name == MODEL_INT8 else "logits"
    golden[key] = OnnxClassifier(draft).logits(golden["images"])
    np.savez_compressed(bundle.path / GOLDEN, **golden)
    for file in (name, GOLDEN):
        put(bundle, file, (bundle.path / file).read_bytes())
    return read_bundle(bundle.path)


def in_another_order(made):
    """Exchange the scores of the classes, in the tensors of the last layer."""
    for tensor in made.graph.initializer:
        if tensor.name.startswith(("val_487_", "network.head.output.bias")):
            values = numpy_helper.to_array(tensor)
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values[..., ::-1]), tensor.name))


def rewired(made):
    """Let the hidden layer count three times, with no tensor changed and nothing put behind the last of them."""
    [at] = [at for at, node in enumerate(made.graph.node) if node.op_type == "Relu"]
    name = made.graph.node[at].output[0]
    made.graph.node[at].output[0] = "plain"
    made.graph.node.insert(at + 1, helper.make_node("Mul", ["plain", "three"], [name]))
    made.graph.initializer.append(helper.make_tensor("three", TensorProto.FLOAT, [], [3.0]))


def one_line(call, *arguments):
    with pytest.raises(BundleError) as caught:
        call(*arguments)
    message = str(caught.value)
    assert message.isprintable()
    return message


def test_the_shipped_bundle_and_a_copy_of_it_are_made_of_their_weights(bundle):
    shipped = read_bundle(default_bundle_path())
    for each in (shipped.at("fp32"), shipped.at("int8"), bundle.at("int8")):
        assert verify_model(each).unchecked == ()


@pytest.mark.parametrize(("name", "precision"), [(MODEL, "fp32"), (MODEL_INT8, "int8")])
def test_an_exchanged_model_is_refused_wherever_it_would_be_used(bundle, tmp_path, name, precision):
    identity = bundle.weights_id
    exchanged = exchange(bundle, name, in_another_order)
    assert exchanged.weights_id == identity
    said = f"{name} does not hold the tensor head.output"
    assert said in one_line(seal, exchanged)
    assert said in one_line(OnnxClassifier, exchanged.at(precision))
    (tmp_path / "photos").mkdir()
    shutil.copy(IMAGES / "baseball-cap.png", tmp_path / "photos")
    database = f"sqlite:///{tmp_path}/catalog.db"
    commands = (
        ["models", "verify", str(bundle.path)],
        ["tag", str(tmp_path / "photos"), "--db", database, "--model", str(bundle.path), "--precision", precision],
    )
    for command in commands:
        result = CliRunner().invoke(app, command)
        assert (result.exit_code, result.stdout) == (1, "")
        [line] = [line for line in result.stderr.splitlines() if "error" in line]
        assert said in line


@pytest.mark.parametrize(("name", "precision"), [(MODEL, "fp32"), (MODEL_INT8, "int8")])
def test_the_same_tensors_that_answer_otherwise_are_refused_before_their_first_answer(bundle, name, precision):
    exchanged = exchange(bundle, name, rewired).at(precision)
    check_bound(exchanged)  # no tensor says so
    said = f"{name} answers otherwise than its weights do"
    assert said in one_line(verify_model, exchanged)
    classifier = OnnxClassifier(exchanged)
    for _ in range(2):
        assert said in one_line(classifier.scores, PIXELS)


def test_a_familiarity_that_is_not_that_of_the_weights_is_refused(bundle):
    def edit(made):
        [node] = [node for node in made.graph.node if "familiarity" in node.output]
        node.output[0] = "plain"
        made.graph.node.append(helper.make_node("Max", ["plain", "one"], ["familiarity"]))
        made.graph.initializer.append(helper.make_tensor("one", TensorProto.FLOAT, [], [1.0]))

    classifier = OnnxClassifier(exchange(bundle, MODEL, edit))
    assert "finds images familiar that its weights do not" in one_line(classifier.scores, PIXELS)


def test_golden_images_that_were_made_anew_decide_nothing(bundle):
    """Where all of them are black, a model could answer for them as it should and otherwise for all others."""
    exchanged = exchange(bundle, MODEL, rewired)
    black = np.zeros((8, 224, 224, 3), np.uint8)
    logits = np.zeros((8, len(bundle.labels)), np.float32)
    np.savez_compressed(bundle.path / GOLDEN, images=black, logits=logits)
    put(bundle, GOLDEN, (bundle.path / GOLDEN).read_bytes())
    assert "answers otherwise" in one_line(verify_model, read_bundle(exchanged.path))


def test_what_cannot_be_found_out_is_said(tmp_path):
    bundle = small_bundle(tmp_path / "model")
    assert verify_model(bundle).unchecked == (
        "its weights are those of another network than ours: what they must answer is not known",
    )
    result = CliRunner().invoke(app, ["models", "verify", str(bundle.path)])
    assert "in fp32: its weights are those of another network" in result.stdout
    result = CliRunner().invoke(app, ["models", "verify", str(bundle.path), "--json"])
    assert list(json.loads(result.stdout)["unchecked"]) == ["fp32"]


def test_the_images_that_are_compared_are_not_alike():
    images = golden_images(32)
    assert len({image.tobytes() for image in images}) == len(images) == 8
