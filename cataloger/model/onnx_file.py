"""What an ONNX file of a bundle may contain, looked at before onnxruntime loads it.

A network of ours needs nothing but tensors that lie within the file and common operators whose shapes follow from the
number of images. Everything else that ONNX knows is refused: tensors in other files, operators of other domains,
functions, graphs within nodes, loops, random numbers, text, and shapes that depend on what an image shows. So what a
model needs in memory is known after its first batch. The file is read as protocol buffers, of which only a few fields
matter; package `onnx` is not needed for tagging.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from cataloger.model.untrusted import read_file, refusal

DOMAINS = ("", "ai.onnx")

OPERATORS = frozenset(
    # What the exporter of this or an earlier version writes, and their relatives.
    [
        "Abs",
        "Add",
        "And",
        "ArgMax",
        "AveragePool",
        "BatchNormalization",
        "Cast",
        "CastLike",
        "Ceil",
        "Clip",
        "Concat",
        "Constant",
        "ConstantOfShape",
        "Conv",
        "CumSum",
        "DequantizeLinear",
        "Div",
        "Dropout",
        "Einsum",
        "Elu",
        "Equal",
        "Erf",
        "Exp",
        "Expand",
        "Flatten",
        "Floor",
        "Gather",
        "GatherElements",
        "Gelu",
        "Gemm",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "Greater",
        "GreaterOrEqual",
        "GroupNormalization",
        "HardSigmoid",
        "HardSwish",
        "Identity",
        "InstanceNormalization",
        "LayerNormalization",
        "LeakyRelu",
        "Less",
        "LessOrEqual",
        "Log",
        "LogSoftmax",
        "MatMul",
        "Max",
        "MaxPool",
        "Mean",
        "Min",
        "Mish",
        "Mod",
        "Mul",
        "Neg",
        "Not",
        "Or",
        "PRelu",
        "Pad",
        "Pow",
        "QLinearConv",
        "QLinearMatMul",
        "QuantizeLinear",
        "Range",
        "Reciprocal",
        "ReduceL1",
        "ReduceL2",
        "ReduceLogSumExp",
        "ReduceMax",
        "ReduceMean",
        "ReduceMin",
        "ReduceProd",
        "ReduceSum",
        "ReduceSumSquare",
        "Relu",
        "Reshape",
        "Resize",
        "Round",
        "Shape",
        "Sigmoid",
        "Sign",
        "Size",
        "Slice",
        "Softmax",
        "Softplus",
        "Split",
        "Sqrt",
        "Squeeze",
        "Sub",
        "Sum",
        "Tanh",
        "Tile",
        "TopK",
        "Transpose",
        "Unsqueeze",
        "Where",
        "Xor",
    ]
)

SHAPE_OPERANDS = {
    "ConstantOfShape": (0,), "Expand": (1,), "Pad": (1, 3), "Range": (0, 1, 2), "Reshape": (1,), "Resize": (1, 2, 3),
    "Slice": (1, 2, 3, 4), "Split": (1,), "Squeeze": (1,), "Tile": (1,), "TopK": (1,), "Unsqueeze": (1,),
    "ReduceL1": (1,), "ReduceL2": (1,), "ReduceLogSumExp": (1,), "ReduceMax": (1,), "ReduceMean": (1,),
    "ReduceMin": (1,), "ReduceProd": (1,), "ReduceSum": (1,), "ReduceSumSquare": (1,),
}  # fmt: skip
"""Operand numbers that decide the shape of a result."""

REMEDY = "do not use this model; `cataloger train` makes one without it"

# Field numbers in onnx.proto.
MODEL_GRAPH, MODEL_TRAINING, MODEL_FUNCTIONS = 7, 20, 25
GRAPH_NODE, GRAPH_INITIALIZER, GRAPH_INPUT, GRAPH_SPARSE = 1, 5, 11, 15
NODE_INPUT, NODE_OUTPUT, NODE_OPERATOR, NODE_ATTRIBUTE, NODE_DOMAIN = 1, 2, 4, 5, 7
ATTRIBUTE_TENSOR, ATTRIBUTE_GRAPH, ATTRIBUTE_TENSORS, ATTRIBUTE_GRAPHS, ATTRIBUTE_SPARSE = 5, 6, 10, 11, (22, 23)
TENSOR_DIMS, TENSOR_NAME, TENSOR_EXTERNAL, TENSOR_LOCATION = 1, 8, 13, 14
NAME = 1


class _NotOnnxError(ValueError):
    """The bytes are no protocol buffer."""


class Field(NamedTuple):
    """A field of a message. value: an integer, or the bytes of text, a message or packed numbers."""

    number: int
    value: int | memoryview

    def text(self) -> str:
        """Return the text that it holds."""
        return bytes(self.message()).decode("utf-8", "replace")

    def message(self) -> memoryview:
        """Return the bytes that it holds."""
        if isinstance(self.value, int):
            raise _NotOnnxError("a number stands where a message should")
        return self.value


def check_onnx(path: Path) -> None:
    """Raise BundleError where an ONNX file contains what no model of ours needs; see the module."""
    data = memoryview(read_file(path))
    try:
        _check_model(path, data)
    except _NotOnnxError as error:
        raise refusal(path, f"is no ONNX model: {error}") from error


def _check_model(path: Path, data: memoryview) -> None:
    graphs = []
    for field in _fields(data):
        if field.number == MODEL_GRAPH:
            graphs.append(field.message())
        elif field.number in (MODEL_TRAINING, MODEL_FUNCTIONS):
            raise refusal(path, "contains functions or training steps of its own", remedy=REMEDY)
    if len(graphs) != 1:
        raise _NotOnnxError("it has no graph, or several")
    fields = list(_fields(graphs[0]))
    seen: set[str] = set()
    for field in fields:
        if field.number == GRAPH_INITIALIZER:
            _check_tensor(path, field.message())
        elif field.number == GRAPH_SPARSE:
            raise refusal(path, "contains sparse tensors", remedy=REMEDY)
        elif field.number == GRAPH_INPUT:
            seen |= {part.text() for part in _fields(field.message()) if part.number == NAME}
    for field in fields:
        if field.number == GRAPH_NODE:
            _check_node(path, field.message(), seen)


def _check_node(path: Path, node: memoryview, seen: set[str]) -> None:
    """Check one node. seen: names of the values that depend on what an image shows; its results are added."""
    operator, domain, inputs, outputs = "", "", list[str](), list[str]()
    for field in _fields(node):
        if field.number == NODE_INPUT:
            inputs.append(field.text())
        elif field.number == NODE_OUTPUT:
            outputs.append(field.text())
        elif field.number == NODE_OPERATOR:
            operator = field.text()
        elif field.number == NODE_DOMAIN:
            domain = field.text()
        elif field.number == NODE_ATTRIBUTE:
            _check_attribute(path, field.message())
    if domain not in DOMAINS or operator not in OPERATORS:
        name = f"{domain}.{operator}" if domain else operator
        raise refusal(path, f"contains the operator {name}, which no model of ours needs", remedy=REMEDY)
    if any(inputs[place] in seen for place in SHAPE_OPERANDS.get(operator, ()) if place < len(inputs)):
        raise refusal(path, f"contains a shape that depends on what an image shows, in {operator}", remedy=REMEDY)
    if operator not in ("Shape", "Size") and not seen.isdisjoint(inputs):
        seen.update(outputs)


def _check_attribute(path: Path, attribute: memoryview) -> None:
    for field in _fields(attribute):
        if field.number in (ATTRIBUTE_TENSOR, ATTRIBUTE_TENSORS):
            _check_tensor(path, field.message())
        elif field.number in (ATTRIBUTE_GRAPH, ATTRIBUTE_GRAPHS, *ATTRIBUTE_SPARSE):
            raise refusal(path, "contains a graph or a sparse tensor within a node", remedy=REMEDY)


def _check_tensor(path: Path, tensor: memoryview) -> None:
    """Refuse a tensor that lies in another file, or that says to be larger than this one."""
    name, values, stored = "", 1, len(tensor)
    for field in _fields(tensor):
        if field.number == TENSOR_NAME:
            name = field.text()
        elif field.number == TENSOR_DIMS:
            for length in [field.value] if isinstance(field.value, int) else _varints(field.value):
                values *= length
        elif field.number == TENSOR_EXTERNAL or (field.number == TENSOR_LOCATION and field.value != 0):
            raise refusal(
                path, f"has a tensor {name!r} that lies in another file, which is never read", remedy=REMEDY
            )
    # Two values of four bits share a byte; all others take at least one.
    if values > 2 * stored:
        raise refusal(path, f"has a tensor {name!r} that claims {values:,} values in {stored:,} bytes")


def _fields(message: memoryview) -> Iterator[Field]:
    """Yield the fields of a message. Raises _NotOnnxError where its lengths do not fit."""
    place, end = 0, len(message)
    while place < end:
        key, place = _varint(message, place)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, place = _varint(message, place)
            yield Field(number, value)
            continue
        length, place = _varint(message, place) if kind == 2 else ({1: 8, 5: 4}.get(kind, end + 1), place)
        if length > end - place:
            raise _NotOnnxError("it ends within a field")
        if kind == 2:
            yield Field(number, message[place : place + length])
        place += length


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    """Return a number, and the place behind it."""
    value = shift = 0
    while place < len(message) and shift < 70:
        byte = message[place]
        value |= (byte & 0x7F) << shift
        place += 1
        if byte < 0x80:
            return value, place
        shift += 7
    raise _NotOnnxError("it ends within a number, or a number does not end")


def _varints(packed: memoryview) -> Iterator[int]:
    place = 0
    while place < len(packed):
        value, place = _varint(packed, place)
        yield value
