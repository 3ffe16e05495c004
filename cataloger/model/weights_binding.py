"""Whether an ONNX file of a bundle holds the tensors of its weights.safetensors, whose hash is the model's identity.

Each tensor of the weights must be among the constants of the file: as it is, rounded to fp16, transposed, or, of a
batch norm, multiplied into the convolution before it. In integers it may differ by half a step of seven bits.
Constants that none of the weights explains must be small or all the same, as shapes and limits are. Behind the last
of the weights stands nothing that could change or exchange scores.

So a file with other weights cannot go under the identity of these. What the nodes between the tensors compute is not
compared here: `cataloger.model.reference_network` says what they must answer.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cataloger.model.onnx_graph import Graph, Node, read_graph
from cataloger.model.untrusted import refusal
from cataloger.model.weights_file import NORM, Tensors, folded

REMEDY = "do not use this model; get it again from who made it, or export it again"

HALF = 2.0**-10
"""Relative difference of a value that was rounded to fp16, and of one that a batch norm was folded into as well."""
NEARLY_ZERO = 1e-7
FOLDED = 1e-5
"""Difference of two ways to fold, of a tensor's largest value."""
MOST = 64.0
STEPS = 120
"""The integers reach from -64 to 64, so half a step is the largest weight of a channel divided by 128."""
STEPS_OF_SUMS = STEPS * 255 / 6.0
"""The same of a bias: its step is that of the kernel times that of what goes in, of 0 to 6 in eight bits."""

FREE = 8
"""Values that a constant may have without being one of the weights."""
MOST_FREE = 1000
"""And all such constants together; those of ours have 129."""

LAST = frozenset(
    ["Add", "Cast", "CastLike", "DequantizeLinear", "Gemm", "Identity", "MatMul", "QuantizeLinear", "ReduceMean"]
)
"""Operators that may stand between the last matrix and the scores."""
STORED = frozenset(["Cast", "CastLike", "DequantizeLinear", "Identity", "Transpose"])
"""Those that turn a constant from how it is stored into how it is used."""


def check_tensors(path: Path, weights: Tensors, *, output: str, is_int8: bool) -> None:
    """Compare an ONNX file that `check_onnx` has let pass with the weights of its bundle; see the module.

    output: name of the scores. is_int8: whether the file may differ as much as integers do. Raises BundleError.
    """
    file = _File(path, read_graph(path), is_int8)
    file.collect()
    for name, ways in _wanted(weights):
        if not any(all(map(file.holds, way)) for way in ways):
            raise refusal(path, f"does not hold the tensor {name} of its weights", remedy=REMEDY)
    _check_rest(file)
    _check_end(file, output)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A tensor that a file should hold. slack, half_step: how much it may differ, besides rounding to fp16."""

    values: Any
    slack: float = 0.0
    half_step: Any = 0.0


@dataclass(frozen=True, slots=True)
class _Constant:
    """Values that the graph computes with. names: of the constants that they are stored in."""

    names: tuple[str, ...]
    values: Any
    is_integer: bool = False


@dataclass(slots=True)
class _File:
    """An ONNX file. by_size: its constants by their number of values. explained: names of those that are weights."""

    path: Path
    graph: Graph
    is_int8: bool
    by_size: dict[int, list[_Constant]] = field(default_factory=lambda: defaultdict(list))
    explained: set[str] = field(default_factory=set)

    def collect(self) -> None:
        """Find the constants: those that are floats, and integers with the node that turns them into floats."""
        constants = self.graph.constants
        for name, values in constants.items():
            if values.dtype.kind == "f":
                self.by_size[values.size].append(_Constant((name,), np.atleast_1d(values)))
        for node in self.graph.nodes:
            if node.operator == "DequantizeLinear" and all(name in constants for name in node.inputs):
                constant = _dequantized(node, constants)
                self.by_size[constant.values.size].append(constant)

    def holds(self, wanted: _Wanted) -> bool:
        """True where a tensor is among the constants, which are explained then, or is the same everywhere.

        What is the same everywhere, as a bias of zeros, is left out by optimizers where it changes nothing.
        """
        found = [each for each in self.by_size.get(wanted.values.size, ()) if self._is_same(each, wanted)]
        self.explained.update(name for each in found for name in each.names)
        return bool(found) or _is_uniform(wanted.values)

    def _is_same(self, constant: _Constant, wanted: _Wanted) -> bool:
        turns = [constant.values, constant.values.T] if wanted.values.ndim == 2 else [constant.values]
        slack = wanted.slack + NEARLY_ZERO
        steps = wanted.half_step if self.is_int8 and constant.is_integer else 0.0
        return any(
            turn.shape == wanted.values.shape and _is_near(turn, wanted.values, slack, steps) for turn in turns
        )


def _is_near(found: Any, wanted: Any, slack: float, steps: Any) -> bool:
    """Compare two arrays. steps: a further difference for each row, or 0."""
    for part in (slice(1), slice(None)):  # most tensors of the same shape differ in their first row
        allowed = np.abs(wanted[part])
        allowed *= HALF
        allowed += slack + (steps[part] if np.ndim(steps) else steps)
        if not (np.abs(found[part] - wanted[part]) <= allowed).all():
            return False
    return True


def _half_step(kernel: Any) -> Any:
    """Return half a step of each output channel, in the shape of a kernel or matrix but for the other lengths."""
    largest = np.abs(kernel).reshape(len(kernel), -1).max(axis=1, initial=0.0)
    return largest.reshape(-1, *[1] * (kernel.ndim - 1)) / STEPS


def _dequantized(node: Node, constants: Mapping[str, Any]) -> _Constant:
    """Return what a node makes of integers, their scale and the integer that means zero."""
    integers, scale, *zero = (np.asarray(constants[name], dtype=np.float32) for name in node.inputs)
    axis = 1 if node.axis is None else node.axis
    if scale.ndim == 1 and scale.size > 1 and -integers.ndim <= axis < integers.ndim:
        along = [1] * integers.ndim
        along[axis] = -1
        scale, zero = scale.reshape(along), [each.reshape(along) for each in zero]
    with np.errstate(all="ignore"):
        try:
            values = (integers - zero[0] if zero else integers) * scale
        except ValueError:
            values = np.empty(0)  # lengths that do not fit, which onnxruntime will say
    return _Constant(node.inputs, values, is_integer=True)


def _wanted(weights: Tensors) -> Iterator[tuple[str, list[list[_Wanted]]]]:
    """Yield each tensor, or those of a convolution with its batch norm together, with the ways to hold it."""
    norms = {name.removesuffix(".conv.weight") for name in weights if name.endswith(".conv.weight")}
    norms = {layer for layer in norms if all(f"{layer}.bn.{part}" in weights for part in NORM)}
    within = {f"{layer}.bn.{part}": layer for layer in norms for part in NORM}
    for name in weights:
        layer = name.removesuffix(".conv.weight")
        if layer in norms and layer != name:
            parts = [name, *(f"{layer}.bn.{part}" for part in NORM)]
            yield name, [[_Wanted(weights[part].astype(np.float32)) for part in parts], _folded(weights, layer)]
        elif name not in within:
            values = np.atleast_1d(weights[name].astype(np.float32))
            yield name, [[_Wanted(values, half_step=_half_step(values) if values.ndim >= 2 else 0.0)]]


def _folded(weights: Tensors, layer: str) -> list[_Wanted]:
    kernel, bias = folded(weights, layer)
    added = weights[f"{layer}.bn.bias"]
    terms = np.abs(added) + np.abs(bias - added)
    steps = _half_step(kernel)
    largest = steps.reshape(-1) * STEPS
    # The step of a channel whose kernel is nothing but zeros is 1, and that of its bias as much larger.
    largest = np.where(largest == 0.0, MOST, largest)
    return [
        _Wanted(kernel, FOLDED * np.abs(kernel).max(initial=0.0), steps),
        _Wanted(bias, FOLDED * terms.max(initial=0.0), largest / STEPS_OF_SUMS),
    ]


def _check_rest(file: _File) -> None:
    """Refuse constants that none of the weights explains and that could be weights themselves."""
    free = 0
    rest = {name: values for name, values in file.graph.constants.items() if name not in file.explained}
    for name, values in (*rest.items(), *(("of an operator", values) for values in file.graph.unnamed)):
        if values.size <= FREE:
            free += values.size
        elif not _is_uniform(values):
            raise refusal(file.path, f"holds a tensor {name} that is none of its weights", remedy=REMEDY)
    if free > MOST_FREE:
        raise refusal(file.path, f"holds {free:,} numbers that are none of its weights", remedy=REMEDY)


def _is_uniform(values: Any) -> bool:
    return bool((values == values.reshape(-1)[:1]).all())


def _check_end(file: _File, output: str) -> None:
    """Refuse nodes behind the last matrix of the weights that could change or exchange the scores."""
    producers = {name: node for node in file.graph.nodes for name in node.outputs}
    waiting = [output]
    for _ in range(len(file.graph.nodes) + 1):
        name = waiting.pop()
        node = producers.get(name)
        if node is None or node.operator not in LAST:
            what = node.operator if node else "nothing"
            raise refusal(file.path, f"has {what} where only its last weights may decide {output}", remedy=REMEDY)
        stored = [_stored(each, producers, file.graph) for each in node.inputs]
        is_weight = [each in file.explained for each in stored if each is not None]
        computed = [each for each, constant in zip(node.inputs, stored, strict=True) if constant is None]
        if node.operator in ("MatMul", "Gemm") and is_weight and all(is_weight):
            return
        adds_others = node.operator in ("Add", "MatMul", "Gemm") and not (is_weight and all(is_weight))
        if adds_others or len(computed) != 1:
            raise refusal(file.path, f"changes {output} behind its last weights, by {node.operator}", remedy=REMEDY)
        waiting.append(computed[0])
    raise refusal(file.path, f"computes {output} from itself", remedy=REMEDY)


def _stored(name: str, producers: Mapping[str, Node], graph: Graph) -> str | None:
    """Return the constant that a value is, as it is stored; None where it depends on an image."""
    for _ in range(len(graph.nodes) + 1):
        if name in graph.constants:
            return name
        node = producers.get(name)
        if node is None or node.operator not in STORED or not node.inputs:
            return None
        name = node.inputs[0]
    return None
