"""An ONNX file goes with its weights, or one line says which tensor is another one."""

import shutil
from functools import cache

import numpy as np
import onnx
import pytest
import safetensors.numpy
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization.shape_inference import quant_pre_process

from cataloger.errors import BundleError
from cataloger.model.bundle import LOGITS, MODEL, MODEL_INT8, WEIGHTS, check_bound, default_bundle_path, read_bundle
from cataloger.model.onnx_file import check_onnx
from cataloger.model.weights_binding import check_tensors
from cataloger.model.weights_file import read_weights

SHIPPED = default_bundle_path()


@cache
def weights():
    return read_weights(SHIPPED / WEIGHTS, sha256=read_bundle(SHIPPED, check=()).files[WEIGHTS])


def tensor_of(made, name):
    [found] = [each for each in made.graph.initializer if each.name == name]
    return found


def change(made, name, edit):
    """Put what `edit` makes of a tensor in its place."""
    tensor = tensor_of(made, name)
    tensor.CopyFrom(numpy_helper.from_array(edit(numpy_helper.to_array(tensor).copy()), name))


def one_more(at, by):
    def edit(values):
        values.reshape(-1)[at] += by
        return values

    return lambda made, name: change(made, name, edit)


def behind(made, *nodes, before="logits", constants=()):
    """Put nodes, which turn `plain` into a value, behind the node that has computed this value so far."""
    [node] = [each for each in made.graph.node if before in each.output]
    node.output[:] = ["plain" if name == before else name for name in node.output]
    at = list(made.graph.node).index(node) + 1
    rest = [*made.graph.node][at:]
    del made.graph.node[at:]
    made.graph.node.extend([*nodes, *rest])
    made.graph.initializer.extend(numpy_helper.from_array(np.asarray(values), name) for name, values in constants)


def check(made, tmp_path, *, is_int8=False):
    path = tmp_path / "model.onnx"
    onnx.save(made, path)
    onnx.checker.check_model(made)
    check_onnx(path)
    check_tensors(path, weights(), output=LOGITS, is_int8=is_int8)


def refused(made, tmp_path, *, is_int8=False):
    with pytest.raises(BundleError) as caught:
        check(made, tmp_path, is_int8=is_int8)
    message = str(caught.value)
    assert message.isprintable()
    return message


def transposed(made):
    """Store a matrix the other way round, as the network has it, with a node that turns it."""
    change(made, "val_487_half", lambda values: np.ascontiguousarray(values.T))
    [cast] = [each for each in made.graph.node if "val_487_half" in each.input]
    turn = helper.make_node("Transpose", ["val_487_half"], ["turned"], perm=[1, 0])
    cast.input[0] = "turned"
    made.graph.node.insert(0, turn)


def in_half(made):
    """Round the bias of the last layer to fp16."""
    name = "network.head.output.bias"
    half = numpy_helper.from_array(numpy_helper.to_array(tensor_of(made, name)).astype(np.float16), "bias_half")
    tensor_of(made, name).CopyFrom(half)
    made.graph.node.insert(0, helper.make_node("Cast", ["bias_half"], [name], to=TensorProto.FLOAT))


def in_float(made):
    """Store a kernel as the floats that it is rounded from."""
    name = "network.conv1.conv.weight"
    change(made, f"{name}_half", lambda values: values.astype(np.float32) * np.float32(1 + 2.0**-13))


SAME = {"as shipped": lambda _made: None, "transposed": transposed, "fp16": in_half, "fp32": in_float}


@pytest.mark.parametrize("edit", SAME.values(), ids=SAME)
def test_the_same_tensors_in_another_form_pass(tmp_path, edit):
    made = onnx.load(SHIPPED / MODEL)
    edit(made)
    check(made, tmp_path)


def test_batch_norms_folded_into_their_convolutions_pass(tmp_path):
    quant_pre_process(str(SHIPPED / MODEL), str(tmp_path / "folded.onnx"), skip_symbolic_shape=True)
    made = onnx.load(tmp_path / "folded.onnx")
    assert "BatchNormalization" not in {node.op_type for node in made.graph.node}
    check(made, tmp_path)
    name = "ConvBnFusion_W_network.conv1.conv.weight"
    change(made, name, lambda values: values * np.float32(1.01))
    assert "does not hold the tensor conv1.conv.weight" in refused(made, tmp_path)


def test_the_shipped_integers_pass(tmp_path):
    check(onnx.load(SHIPPED / MODEL_INT8), tmp_path, is_int8=True)


CHANGED = {
    "kernel": ("network.block7.pointwise.conv.weight_half", one_more(77, 0.01), "block7.pointwise.conv.weight"),
    "mean": ("network.block1.depthwise.bn.running_mean", one_more(3, 0.01), "block1.depthwise.conv.weight"),
    "variance": ("network.conv1.bn.running_var", one_more(3, 0.1), "conv1.conv.weight"),
    "matrix": ("val_487_half", one_more(500, 0.01), "head.output.weight"),
    "bias": ("network.head.output.bias", one_more(7, 0.001), "head.output.bias"),
    "positions": ("network.attention.position_half", one_more(7, 0.01), "attention.position"),
    "prototypes": ("permute_1_half", one_more(7, 0.01), "familiarity.prototypes"),
    "not a number": ("network.head.output.bias", one_more(7, np.nan), "head.output.bias"),
}


@pytest.mark.parametrize(("name", "edit", "expected"), CHANGED.values(), ids=CHANGED)
def test_one_changed_value_is_named(tmp_path, name, edit, expected):
    made = onnx.load(SHIPPED / MODEL)
    edit(made, name)
    assert f"does not hold the tensor {expected} of its weights" in refused(made, tmp_path)


def test_classes_in_another_order_are_other_weights(tmp_path):
    made = onnx.load(SHIPPED / MODEL)
    change(made, "val_487_half", lambda values: values[:, ::-1].copy())
    change(made, "network.head.output.bias", lambda values: values[::-1].copy())
    assert "does not hold the tensor head.output" in refused(made, tmp_path)


ORDER = np.arange(39)[::-1].copy()
ONE_LABEL = np.eye(39, dtype=np.float32)[4] * 9
ADDED = {
    "a factor": ([("Mul", ["plain", "c"])], [("c", np.float32(2))], "has Mul where only its last weights"),
    "a number for each": ([("Add", ["plain", "c"])], [("c", ONE_LABEL)], "holds a tensor c that is none of"),
    "the same number": (
        [("Add", ["plain", "c"])],
        [("c", np.ones(39, np.float32))],
        "changes logits behind its last",
    ),
    "another order": ([("Gather", ["plain", "c"])], [("c", ORDER)], "holds a tensor c that is none of"),
    "an order from the start": (
        [("Slice", ["plain", "a", "b", "d", "e"])],
        [("a", [-1]), ("b", [-(2**31)]), ("d", [1]), ("e", [-1])],
        "has Slice where only its last weights",
    ),
}


@pytest.mark.parametrize(("nodes", "constants", "expected"), ADDED.values(), ids=ADDED)
def test_nothing_stands_behind_the_last_weights(tmp_path, nodes, constants, expected):
    made = onnx.load(SHIPPED / MODEL)
    axis = {"axis": 1} if nodes[0][0] == "Gather" else {}
    added = [helper.make_node(operator, inputs, ["logits"], **axis) for operator, inputs in nodes]
    behind(made, *added, constants=constants)
    assert expected in refused(made, tmp_path)


def test_a_further_tensor_is_refused_wherever_it_is(tmp_path):
    made = onnx.load(SHIPPED / MODEL)
    added = np.random.default_rng(0).normal(size=512).astype(np.float32)
    behind(made, helper.make_node("Add", ["plain", "more"], ["relu"]), before="relu", constants=[("more", added)])
    assert "holds a tensor more that is none of its weights" in refused(made, tmp_path)


def test_a_tensor_in_many_parts_is_refused(tmp_path):
    made = onnx.load(SHIPPED / MODEL)
    parts = np.random.default_rng(0).normal(size=(130, 8)).astype(np.float32)
    names = [f"part_{number}" for number in range(len(parts))]
    nodes = [helper.make_node("Concat", names, ["more"], axis=0)]
    nodes += [
        helper.make_node("ReduceSum", ["more"], ["sum"], keepdims=0),
        helper.make_node("Add", ["plain", "sum"], ["relu"]),
    ]
    behind(made, *nodes, before="relu", constants=zip(names, parts, strict=True))
    assert "numbers that are none of its weights" in refused(made, tmp_path)


def test_a_constant_of_one_name_twice_is_refused(tmp_path):
    made = onnx.load(SHIPPED / MODEL)
    name = "network.head.output.bias"
    twice = numpy_helper.from_array(np.zeros(39, np.float32), name)
    path = tmp_path / "model.onnx"
    made.graph.initializer.append(twice)
    path.write_bytes(made.SerializeToString())
    with pytest.raises(BundleError, match=r"two constants 'network\.head\.output\.bias'"):
        check_tensors(path, weights(), output=LOGITS, is_int8=False)


def test_values_in_two_places_are_refused(tmp_path):
    made = onnx.load(SHIPPED / MODEL)
    tensor_of(made, "network.head.output.bias").float_data.extend([0.0] * 39)
    path = tmp_path / "model.onnx"
    path.write_bytes(made.SerializeToString())
    with pytest.raises(BundleError, match="has values in two places"):
        check_tensors(path, weights(), output=LOGITS, is_int8=False)


KERNEL = "ConvBnFusion_W_network.block9.depthwise.conv.weight"
MATRIX = "val_487"
INTEGERS = {
    "one integer": (f"{KERNEL}_quantized", one_more(50, 2), "block9.depthwise.conv.weight"),
    "one integer of a matrix": (f"{MATRIX}_quantized", one_more(50, 2), "head.output.weight"),
    "the scale": (f"{MATRIX}_scale", one_more(4, 0.001), "head.output.weight"),
    "one zero": (f"{KERNEL}_zero_point", one_more(4, 2), "block9.depthwise.conv.weight"),
    "a bias": (
        "ConvBnFusion_BN_B_network.block9.depthwise.bn.bias_quantized",
        one_more(50, 10_000),
        "block9.depthwise.conv.weight",
    ),
    "a float": ("network.head.output.bias", one_more(7, 0.01), "head.output.bias"),
}


@pytest.mark.parametrize(("name", "edit", "expected"), INTEGERS.values(), ids=INTEGERS)
def test_changed_integers_are_named(tmp_path, name, edit, expected):
    made = onnx.load(SHIPPED / MODEL_INT8)
    edit(made, name)
    assert f"does not hold the tensor {expected} of its weights" in refused(made, tmp_path, is_int8=True)


def test_steps_are_no_larger_than_the_weights_need(tmp_path):
    """With steps four times as large, every value is within half a step of what it was, and none is what it was."""
    made = onnx.load(SHIPPED / MODEL_INT8)
    change(made, f"{MATRIX}_scale", lambda values: values * 4)
    change(made, f"{MATRIX}_quantized", lambda values: np.rint(values / 4).astype(values.dtype))
    assert "does not hold the tensor head.output.weight" in refused(made, tmp_path, is_int8=True)


@pytest.fixture
def without_weights(tmp_path):
    folder = tmp_path / "bundle"
    shutil.copytree(SHIPPED, folder)
    (folder / WEIGHTS).unlink()
    return folder


def test_without_weights_only_what_was_shipped_is_used(without_weights):
    bundle = read_bundle(without_weights, check=())
    for precision in ("fp32", "int8"):
        check_bound(bundle.at(precision))
    with (without_weights / MODEL).open("ab") as file:
        file.write(b"\x32\x00")  # an empty text, which changes nothing but the hash
    with pytest.raises(
        BundleError, match=r"weights.safetensors is missing, so nothing says whether model\.onnx belongs"
    ):
        check_bound(bundle)


WRONG_WEIGHTS = {
    "nothing": b"",
    "text": b"no weights at all",
    "header without end": (2**40).to_bytes(8, "little") + b"{}",
    "no object": (2).to_bytes(8, "little") + b"[]",
    "deep": (100_000).to_bytes(8, "little") + b"[" * 100_000,
    "unknown type": safetensors.numpy.save({"a": np.zeros(3, np.complex64)}),
    "cut": safetensors.numpy.save({"a": np.zeros(30, np.float32)})[:-1],
}


@pytest.mark.parametrize("data", WRONG_WEIGHTS.values(), ids=WRONG_WEIGHTS)
def test_weights_that_cannot_be_read_are_refused(tmp_path, data):
    from hashlib import sha256

    path = tmp_path / WEIGHTS
    path.write_bytes(data)
    with pytest.raises(BundleError, match="holds no tensors that can be read") as caught:
        read_weights(path, sha256=sha256(data).hexdigest())
    assert str(caught.value).isprintable()
    with pytest.raises(BundleError, match="SHA-256 differs"):
        read_weights(path, sha256="0" * 64)
