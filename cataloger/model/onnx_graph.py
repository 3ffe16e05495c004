"""An ONNX file as protocol buffers: its fields, and the graph with its constants. Package `onnx` is not needed.

What two readers of such a file could take for different things is refused: a constant of one name twice, values of a
tensor in two places, or as many as it does not say.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cataloger.model.untrusted import LARGEST_FILE, read_file, refusal

# Field numbers in onnx.proto.
MODEL_GRAPH, MODEL_TRAINING, MODEL_FUNCTIONS = 7, 20, 25
GRAPH_NODE, GRAPH_INITIALIZER, GRAPH_INPUT, GRAPH_SPARSE = 1, 5, 11, 15
NODE_INPUT, NODE_OUTPUT, NODE_OPERATOR, NODE_ATTRIBUTE, NODE_DOMAIN = 1, 2, 4, 5, 7
ATTRIBUTE_FLOAT, ATTRIBUTE_INT, ATTRIBUTE_FLOATS, ATTRIBUTE_INTS = 2, 3, 7, 8
ATTRIBUTE_TENSOR, ATTRIBUTE_GRAPH, ATTRIBUTE_TENSORS, ATTRIBUTE_GRAPHS, ATTRIBUTE_SPARSE = 5, 6, 10, 11, (22, 23)
TENSOR_DIMS, TENSOR_TYPE, TENSOR_NAME, TENSOR_RAW, TENSOR_EXTERNAL, TENSOR_LOCATION = 1, 2, 8, 9, 13, 14
NAME = 1

TYPES = {
    1: "<f4", 2: "u1", 3: "i1", 4: "<u2", 5: "<i2", 6: "<i4", 7: "<i8", 9: "?", 10: "<f2", 11: "<f8", 12: "<u4",
    13: "<u8",
}  # fmt: skip
"""numpy's types of tensors by their number; of others no constant is read."""
LISTS = {4: (1,), 5: (2, 3, 4, 5, 6, 9), 7: (7,), 10: (11,), 11: (12, 13)}
"""Fields that hold the values of small tensors, and the types that may be in them."""
FIXED = {4: "<f4", 10: "<f8"}
"""Of these, those with values of a fixed length; the others hold numbers of varying length."""
MOST_LISTED = 4096
"""Values of varying length that one tensor may have; larger ones are stored raw by every exporter."""


class NotOnnxError(ValueError):
    """The bytes are no protocol buffer, or not one of ONNX."""


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
            raise NotOnnxError("a number stands where a message should")
        return self.value

    def integers(self) -> list[int]:
        """Return the numbers that it holds, as they are or packed; negative ones as their complement to 2^64."""
        return [self.value] if isinstance(self.value, int) else list(varints(self.value))


def fields(message: memoryview, *, fixed: bool = False) -> Iterator[Field]:
    """Yield the fields of a message. Raises NotOnnxError where its lengths do not fit.

    fixed: also those of 4 or 8 bytes that stand by themselves, as their bytes.
    """
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
            raise NotOnnxError("it ends within a field")
        if kind == 2 or fixed:
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
    raise NotOnnxError("it ends within a number, or a number does not end")


def varints(packed: memoryview) -> Iterator[int]:
    """Yield packed numbers."""
    place = 0
    while place < len(packed):
        value, place = _varint(packed, place)
        yield value


@dataclass(frozen=True, slots=True)
class Node:
    """An operation of a graph. axis: its attribute of that name, if it has one."""

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    axis: int | None = None


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes, and the constants by name. unnamed: floats that are attributes of nodes."""

    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, Any] = field(default_factory=dict)
    unnamed: list[Any] = field(default_factory=list)

    def add(self, name: str, values: Any) -> None:
        """Add a constant. Raises NotOnnxError where there is one of this name."""
        if name in self.constants:
            raise NotOnnxError(f"it has two constants {name!r}")
        self.constants[name] = values


def read_graph(path: Path) -> Graph:
    """Read the graph of a file that `check_onnx` has let pass. Raises BundleError."""
    graph = Graph()
    try:
        for message in (each.message() for each in fields(memoryview(read_file(path))) if each.number == MODEL_GRAPH):
            for each in fields(message):
                if each.number == GRAPH_INITIALIZER:
                    graph.add(*_tensor(each.message()))
                elif each.number == GRAPH_NODE:
                    _add_node(graph, each.message())
    except NotOnnxError as error:
        raise refusal(path, f"is no ONNX model that can be compared with its weights: {error}") from error
    return graph


def _add_node(graph: Graph, message: memoryview) -> None:
    parts = list(fields(message))
    operator = "".join(each.text() for each in parts if each.number == NODE_OPERATOR)
    inputs = tuple(each.text() for each in parts if each.number == NODE_INPUT)
    outputs = tuple(each.text() for each in parts if each.number == NODE_OUTPUT)
    axis, values = None, list[Any]()
    for each in parts:
        if each.number == NODE_ATTRIBUTE:
            attribute = list(fields(each.message(), fixed=True))
            values += _attribute_values(attribute)
            if any(part.number == NAME and part.text() == "axis" for part in attribute):
                axis = next((_signed(part.value) for part in attribute if isinstance(part.value, int)), None)
    graph.nodes.append(Node(operator, inputs, outputs, axis))
    if operator == "Constant":
        if len(values) > 1 or len(outputs) != 1:
            raise NotOnnxError("a constant has several values")
        graph.add(outputs[0], values[0] if values else np.empty(0))
    else:
        graph.unnamed.extend(each for each in values if each.dtype != np.int64)


def _attribute_values(attribute: Sequence[Field]) -> list[Any]:
    """Return the tensors and lists of numbers of an attribute; single numbers, too, as lists."""
    found: list[Any] = []
    for each in attribute:
        if each.number in (ATTRIBUTE_TENSOR, ATTRIBUTE_TENSORS):
            found.append(_tensor(each.message())[1])
    single = [each.message() for each in attribute if each.number == ATTRIBUTE_FLOAT]
    floats = [each.message() for each in attribute if each.number == ATTRIBUTE_FLOATS]
    integers = [each.integers() for each in attribute if each.number == ATTRIBUTE_INTS]
    number = [each.integers() for each in attribute if each.number == ATTRIBUTE_INT]
    found += [_fixed(parts, "<f4") for parts in (single, floats) if parts]
    found += [np.array([_signed(each) for part in parts for each in part]) for parts in (integers, number) if parts]
    return found


def _fixed(parts: Sequence[memoryview], kind: str) -> Any:
    data = parts[0] if len(parts) == 1 else b"".join(parts)
    if len(data) % np.dtype(kind).itemsize:
        raise NotOnnxError("a list of numbers ends within one")
    return np.frombuffer(data, kind)


def _signed(value: int | memoryview) -> int:
    number = value if isinstance(value, int) else 0
    return number - 2**64 if number >= 2**63 else number


def _tensor(message: memoryview) -> tuple[str, Any]:
    """Return name and values of a tensor."""
    parts = list(fields(message, fixed=True))
    dims = [number for each in parts if each.number == TENSOR_DIMS for number in each.integers()]
    kind = _only([each for each in parts if each.number == TENSOR_TYPE])
    name = "".join(each.text() for each in parts if each.number == TENSOR_NAME)
    raw = [each.message() for each in parts if each.number == TENSOR_RAW]
    listed = [each for each in parts if each.number in LISTS]
    number = kind.value if kind is not None and isinstance(kind.value, int) else 0
    if number not in TYPES:
        raise NotOnnxError(f"the constant {name!r} is of type {number}")
    if raw and listed:
        raise NotOnnxError(f"the constant {name!r} has values in two places")
    values = _listed(listed, number) if listed else _fixed(raw[:1] or [memoryview(b"")], TYPES[number])
    if len(raw) > 1 or max(dims, default=0) > LARGEST_FILE or values.size != math.prod(dims):
        raise NotOnnxError(f"the constant {name!r} has not as many values as it says")
    return name, values.reshape(dims)


def _only(found: Sequence[Field]) -> Field | None:
    if len(found) > 1:
        raise NotOnnxError("a tensor has several types")
    return found[0] if found else None


def _listed(listed: Sequence[Field], number: int) -> Any:
    """Return the values of a tensor that are not stored raw."""
    places = {each.number for each in listed}
    if len(places) > 1 or number not in LISTS[next(iter(places))]:
        raise NotOnnxError("a tensor has values of another type")
    place = places.pop()
    if place in FIXED:
        return _fixed([each.message() for each in listed], FIXED[place])
    if sum(1 if isinstance(each.value, int) else len(each.value) for each in listed) > 10 * MOST_LISTED:
        raise NotOnnxError("a tensor of many values is not stored raw")
    numbers = [_signed(number) for each in listed for number in each.integers()]
    return np.array(numbers, dtype=np.int64).astype(TYPES[number])
