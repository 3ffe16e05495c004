"""What an ONNX file of a bundle may contain, looked at before onnxruntime loads it.

A network of ours needs nothing but tensors that lie within the file and common operators whose shapes follow from the
number of images. Everything else that ONNX knows is refused: tensors in other files, operators of other domains,
functions, graphs within nodes, loops, random numbers, text, and shapes that depend on what an image shows. So what a
model needs in memory is known after its first batch. The file is read as protocol buffers, of which only a few fields
matter; package `onnx` is not needed for tagging.
"""

from pathlib import Path

from cataloger.model.onnx_graph import (
    ATTRIBUTE_GRAPH,
    ATTRIBUTE_GRAPHS,
    ATTRIBUTE_SPARSE,
    ATTRIBUTE_TENSOR,
    ATTRIBUTE_TENSORS,
    GRAPH_INITIALIZER,
    GRAPH_INPUT,
    GRAPH_NODE,
    GRAPH_SPARSE,
    MODEL_FUNCTIONS,
    MODEL_GRAPH,
    MODEL_TRAINING,
    NAME,
    NODE_ATTRIBUTE,
    NODE_DOMAIN,
    NODE_INPUT,
    NODE_OPERATOR,
    NODE_OUTPUT,
    TENSOR_DIMS,
    TENSOR_EXTERNAL,
    TENSOR_LOCATION,
    TENSOR_NAME,
    NotOnnxError,
    fields,
    varints,
)
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


def check_onnx(path: Path) -> None:
    """Raise BundleError where an ONNX file contains what no model of ours needs; see the module."""
    data = memoryview(read_file(path))
    try:
        _check_model(path, data)
    except NotOnnxError as error:
        raise refusal(path, f"is no ONNX model: {error}") from error


def _check_model(path: Path, data: memoryview) -> None:
    graphs = []
    for field in fields(data):
        if field.number == MODEL_GRAPH:
            graphs.append(field.message())
        elif field.number in (MODEL_TRAINING, MODEL_FUNCTIONS):
            raise refusal(path, "contains functions or training steps of its own", remedy=REMEDY)
    if len(graphs) != 1:
        raise NotOnnxError("it has no graph, or several")
    parts = list(fields(graphs[0]))
    seen: set[str] = set()
    for field in parts:
        if field.number == GRAPH_INITIALIZER:
            _check_tensor(path, field.message())
        elif field.number == GRAPH_SPARSE:
            raise refusal(path, "contains sparse tensors", remedy=REMEDY)
        elif field.number == GRAPH_INPUT:
            seen |= {part.text() for part in fields(field.message()) if part.number == NAME}
    for field in parts:
        if field.number == GRAPH_NODE:
            _check_node(path, field.message(), seen)


def _check_node(path: Path, node: memoryview, seen: set[str]) -> None:
    """Check one node. seen: names of the values that depend on what an image shows; its results are added."""
    operator, domain, inputs, outputs = "", "", list[str](), list[str]()
    for field in fields(node):
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
    for field in fields(attribute):
        if field.number in (ATTRIBUTE_TENSOR, ATTRIBUTE_TENSORS):
            _check_tensor(path, field.message())
        elif field.number in (ATTRIBUTE_GRAPH, ATTRIBUTE_GRAPHS, *ATTRIBUTE_SPARSE):
            raise refusal(path, "contains a graph or a sparse tensor within a node", remedy=REMEDY)


def _check_tensor(path: Path, tensor: memoryview) -> None:
    """Refuse a tensor that lies in another file, or that says to be larger than this one."""
    name, values, stored = "", 1, len(tensor)
    for field in fields(tensor):
        if field.number == TENSOR_NAME:
            name = field.text()
        elif field.number == TENSOR_DIMS:
            for length in [field.value] if isinstance(field.value, int) else varints(field.value):
                values *= length
        elif field.number == TENSOR_EXTERNAL or (field.number == TENSOR_LOCATION and field.value != 0):
            raise refusal(
                path, f"has a tensor {name!r} that lies in another file, which is never read", remedy=REMEDY
            )
    # Two values of four bits share a byte; all others take at least one.
    if values > 2 * stored:
        raise refusal(path, f"has a tensor {name!r} that claims {values:,} values in {stored:,} bytes")
