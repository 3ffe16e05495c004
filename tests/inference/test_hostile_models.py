"""An ONNX file that anybody may have made: it classifies, or one line says why it is not used."""

import json
import subprocess
import sys
from contextlib import closing

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from small_bundles import LABELS, SIZE, constant, model, put, refused, saved_elsewhere, small_bundle

from cataloger.inference import open_classifier, replay_golden
from cataloger.inference.classifier import classify
from cataloger.inference.onnx import OnnxClassifier
from cataloger.model.bundle import MODEL_INT8, default_bundle_path, read_bundle
from cataloger.model.onnx_file import check_onnx
from cataloger.records import Batch, Failure, Image, Item, Prediction

PIXELS = np.full((4, SIZE, SIZE, 3), 100, np.uint8)
HUGE = 2**18


def node(operator, inputs, outputs, **attributes):
    return helper.make_node(operator, inputs.split(), outputs.split(), **attributes)


def classified(bundle):
    with closing(open_classifier(bundle)) as classifier:
        return classifier.scores(PIXELS)


def test_a_small_model_classifies(tmp_path):
    bundle = small_bundle(tmp_path / "model")
    assert classified(bundle).logits == pytest.approx(np.full((4, len(LABELS)), 100.0))
    assert replay_golden(bundle) == 0.0


@pytest.mark.parametrize("name", ["model.onnx", MODEL_INT8])
def test_the_shipped_models_hold_nothing_else(name):
    check_onnx(default_bundle_path() / name)


def within(made):
    """Put a node with a graph of its own before the others."""
    empty = helper.make_tensor_value_info("inner", TensorProto.FLOAT, [])
    inner = saved_elsewhere(
        helper.make_model(helper.make_graph([], "inner", [], [empty], [constant("inner", 1.0)])), "x"
    )
    branch = {"then_branch": inner.graph, "else_branch": inner.graph}
    made.graph.node.insert(0, helper.make_node("If", ["yes"], ["inner_result"], **branch))
    made.graph.initializer.append(constant("yes", True, dtype=bool))
    return made


def with_functions(made):
    opsets = [helper.make_opsetid("", 20)]
    made.functions.append(helper.make_function("", "Abs", ["x"], ["y"], [node("Identity", "x", "y")], opsets))
    return made


def with_sparse(made):
    values = helper.make_tensor("sparse", TensorProto.FLOAT, [1], [1.0])
    places = helper.make_tensor("places", TensorProto.INT64, [1], [0])
    made.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [2**40]))
    return made


def gigantic(made):
    tensor = constant("gigantic", 1.0, dtype=np.float32)
    tensor.dims[:] = [2**20, 2**20]
    made.graph.initializer.append(tensor)
    return made


def in_an_attribute(location):
    """Return a model whose tensor in another file is the value of a node."""
    tensor = saved_elsewhere(helper.make_model(helper.make_graph([], "g", [], [], [constant("t", 1.0)])), location)
    return model([helper.make_node("Constant", [], ["unused"], value=tensor.graph.initializer[0])])


FORBIDDEN = {
    "another file": (lambda: saved_elsewhere(model(), "weights.bin"), "that lies in another file"),
    "another file, absolute": (lambda: saved_elsewhere(model(), "/etc/passwd"), "that lies in another file"),
    "another file, above": (lambda: saved_elsewhere(model(), "../../key"), "that lies in another file"),
    "another file in an attribute": (lambda: in_an_attribute("/etc/passwd"), "that lies in another file"),
    "a graph in a node": (lambda: within(model()), "a graph or a sparse tensor within a node"),
    "functions": (lambda: with_functions(model()), "functions or training steps"),
    "sparse tensors": (lambda: with_sparse(model()), "contains sparse tensors"),
    "a tensor that is not there": (lambda: gigantic(model()), "claims 1,099,511,627,776 values"),
    "another domain": (lambda: model([node("Evil", "mean", "x", domain="com.evil")]), "the operator com.evil.Evil"),
    "an own operator": (lambda: model([node("Evil\x1b[2J", "mean", "x")]), "the operator Evil\\x1b[2J"),
    "random numbers": (lambda: model([node("RandomNormalLike", "mean", "x")]), "RandomNormalLike"),
    "a shape from pixels": (
        lambda: model([node("Cast", "mean", "m", to=TensorProto.INT64), node("ConstantOfShape", "m", "x")]),
        "a shape that depends on what an image shows, in ConstantOfShape",
    ),
}


@pytest.mark.parametrize(("make", "expected"), FORBIDDEN.values(), ids=FORBIDDEN)
def test_what_no_model_of_ours_needs_is_refused_before_it_is_loaded(tmp_path, make, expected):
    bundle = small_bundle(tmp_path / "model", make())
    assert expected in refused(check_onnx, bundle.model_path)
    assert expected in refused(OnnxClassifier, bundle)


BYTES = {
    "nothing": b"",
    "text": b"no model",
    "zeros": bytes(1000),
    "ends within": model().SerializeToString()[:-3],
    "length without end": b"\x3a" + b"\xff" * 20,
    "two graphs": model().SerializeToString() + b"\x3a\x00",
}


@pytest.mark.parametrize("data", BYTES.values(), ids=BYTES)
def test_what_is_no_model_is_refused(tmp_path, data):
    assert "is no ONNX model" in refused(OnnxClassifier, small_bundle(tmp_path / "model", data))


GIGANTIC = {
    "from a constant": (
        [node("ConstantOfShape", "shape", "big"), node("ReduceSum", "big", "sum", keepdims=0)],
        [constant("shape", HUGE, HUGE)],
    ),
    "from two vectors": (
        [node("Add", "row column_", "big"), node("ReduceSum", "big", "sum", keepdims=0)],
        [
            numpy_helper.from_array(np.ones((1, HUGE), np.float32), "row"),
            numpy_helper.from_array(np.ones((HUGE, 1), np.float32), "column_"),
        ],
    ),
    "from the images": (
        [
            node("Expand", "mean shape", "big"),
            node("ReduceSum", "big", "sum", keepdims=0),
        ],
        [constant("shape", HUGE, 2**14, 4)],
    ),
}


# Linux counts the memory of children over all of them, so whoever measures must be a process with no others.
MEASURED = """
import json, resource, sys
from pathlib import Path
import numpy as np
from cataloger.errors import BundleError
from cataloger.inference import open_classifier
from cataloger.model import read_bundle

classifier = open_classifier(read_bundle(Path(sys.argv[1])))
try:
    classifier.scores(np.full((4, int(sys.argv[2]), int(sys.argv[2]), 3), 100, np.uint8))
    refused = ""
except BundleError as error:
    refused = str(error)
classifier.close()
print(json.dumps([refused, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss]))
"""


@pytest.mark.parametrize(("nodes", "tensors"), GIGANTIC.values(), ids=GIGANTIC)
def test_gigantic_shapes_are_refused_before_the_memory_is_taken(tmp_path, nodes, tensors):
    made = model([*nodes, node("Add", "mean sum", "more")], tensors, last="more")
    bundle = small_bundle(tmp_path / "model", made)
    command = [sys.executable, "-c", MEASURED, str(bundle.path), str(SIZE)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    message, kilobytes = json.loads(done.stdout)
    assert "needs more memory than any model of this size should" in message
    assert 10_000 < kilobytes < 1_500_000
    assert done.stderr == ""  # onnxruntime would print what it also raises
    assert classified(small_bundle(tmp_path / "other")).logits.shape == (4, len(LABELS))


SHAPES = {
    "images of another size": (lambda: model(size=32), "has images of batch x 32 x 32 x 3, and the bundle"),
    "other labels": (lambda: model(labels=2), "has logits of batch x 2, and the bundle says N x 3"),
    "no logits": (lambda: renamed(model(), "logits", "answers"), "the output logits"),
    "no images": (lambda: renamed(model(), "images", "photos"), "the input images alone"),
    "a fixed batch": (lambda: fixed(model()), "must take any number of images as bytes"),
}


def renamed(made, name, other):
    for value in (*made.graph.input, *made.graph.output):
        value.name = other if value.name == name else value.name
    for each in made.graph.node:
        for names in (each.input, each.output):
            names[:] = [other if known == name else known for known in names]
    return made


def test_names_that_are_no_text_are_refused(tmp_path, capfd):
    data = renamed(model(), "logits", "logitz").SerializeToString().replace(b"logitz", b"logit\xff")
    assert "names that are no text" in refused(OnnxClassifier, small_bundle(tmp_path / "model", data))
    assert capfd.readouterr() == ("", "")


def fixed(made):
    made.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    return made


@pytest.mark.parametrize(("make", "expected"), SHAPES.values(), ids=SHAPES)
def test_a_model_is_what_its_bundle_says(tmp_path, make, expected):
    assert expected in refused(OnnxClassifier, small_bundle(tmp_path / "model", make()))


def test_outputs_of_another_shape_than_they_were_said_to_have_are_refused(tmp_path):
    made = model([node("Concat", "mean mean", "twice", axis=0)], last="twice")
    assert "gives logits of shape (8, 3) where (4, 3) is needed" in refused(
        classified, small_bundle(tmp_path / "model", made)
    )


def with_familiarity(value):
    """Return a model that finds every image equally familiar."""
    nodes = [node("Mul", "mean none", "nothing"), node("Add", "nothing value", "familiarity")]
    tensors = [constant("none", 0, dtype=np.float32), constant("value", value, dtype=np.float32)]
    made = model(nodes, tensors)
    made.graph.output.append(helper.make_tensor_value_info("familiarity", TensorProto.FLOAT, ["batch"]))
    return made


@pytest.mark.parametrize(("value", "kind"), [(0.5, Prediction), (np.nan, Failure), (np.inf, Failure)])
def test_an_image_whose_familiarity_is_no_number_fails_alone(tmp_path, value, kind):
    classifier = OnnxClassifier(small_bundle(tmp_path / "model", with_familiarity(value)))
    [answer] = classify(classifier, Batch((Image(Item("a", "a", ""), "h", PIXELS[0], 16, 16),)), top_k=1)
    assert isinstance(answer, kind)
    assert kind is Prediction or answer.code == "classify.not_finite"


def test_a_model_in_int8_is_looked_at_as_well(tmp_path):
    bundle = small_bundle(tmp_path / "model")
    put(bundle, MODEL_INT8, saved_elsewhere(model(), "/etc/passwd").SerializeToString())
    assert "that lies in another file" in refused(OnnxClassifier, read_bundle(bundle.path).at("int8"))
