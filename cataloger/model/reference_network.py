"""What the network of some weights answers, computed with numpy alone: the measure for every ONNX file made of them.

`cataloger.model.weights_binding` compares tensors; this says what must come out of them, whatever nodes a file has.
It is the network of `cataloger.model.network`, which needs torch, written once more; an image takes a tenth of a
second.
"""

from collections.abc import Iterator

import numpy as np

from cataloger.model.weights_file import NORM, Tensors, folded
from cataloger.options import NetworkConfig
from cataloger.records import Floats, Pixels

BLOCKS = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1),
    (512, 1), (512, 1), (512, 1), (512, 1), (1024, 2), (1024, 1),
)  # fmt: skip
"""Output channels and stride of the depthwise separable blocks, as in `cataloger.model.network`."""
EARLY_BLOCK, EARLY_CHANNELS = 12, 512
"""Block behind whose depthwise convolution early attention stands, and the channels there."""
PROTOTYPES = "familiarity.prototypes"
NORM_EPSILON = 1e-5
"""Of the layer norm."""


def is_of_network(weights: Tensors, config: NetworkConfig, *, size: int) -> bool:
    """True where the tensors are those of a network of ours of this shape, for images of size x size pixels."""
    stored = {name: values.shape for name, values in weights.items()}
    prototypes = stored.pop(PROTOTYPES, (1, BLOCKS[-1][0]))
    return prototypes[1:] == (BLOCKS[-1][0],) and stored == dict(_shapes(config, size))


def expected_scores(weights: Tensors, config: NetworkConfig, images: Pixels) -> tuple[Floats, Floats | None]:
    """Return the logits, float32 N x labels, and the familiarity, N, of uint8 images N x size x size x 3.

    The weights must be those of the network. No familiarity where they have no prototypes.
    """
    features = _features(weights, config, images.astype(np.float32) / np.float32(127.5) - np.float32(1))
    tokens = features.reshape(len(features), -1, features.shape[-1])
    familiarity = _familiarity(weights, tokens)
    if config.attention == "mhsa":
        tokens = _projected(weights, config, tokens)
        tokens = tokens + _attended(weights, config, tokens)
    if config.head == "double":
        tokens = np.maximum(_linear(weights, "head.hidden", tokens), 0)
    return _linear(weights, "head.output", tokens).mean(axis=1), familiarity


def _shapes(config: NetworkConfig, size: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield name and shape of each tensor."""
    yield from _convolution("conv1", (32, 3, 3, 3))
    channels = 32
    for number, (outputs, _) in enumerate(BLOCKS, start=1):
        yield from _convolution(f"block{number}.depthwise", (channels, 1, 3, 3))
        yield from _convolution(f"block{number}.pointwise", (outputs, channels, 1, 1))
        channels = outputs
    width = config.width if config.attention == "mhsa" else channels
    linear: dict[str, tuple[int, ...]] = {"head.output": (config.classes, width)}
    if config.head == "double":
        linear = {"head.hidden": (config.hidden, width), "head.output": (config.classes, config.hidden)}
    if config.attention != "none":
        taken, given = (channels, config.width) if config.attention == "mhsa" else (EARLY_CHANNELS, EARLY_CHANNELS)
        linear |= {"attention.project": (config.width, taken), "attention.output": (given, config.width)}
        linear |= {"attention.query_key_value": (3 * config.width, config.width)}
        yield from (("attention.norm.weight", (config.width,)), ("attention.norm.bias", (config.width,)))
        if config.positions:
            yield "attention.position", ((-(-size // 32)) ** 2, config.width)
    for name, shape in linear.items():
        yield from ((f"{name}.weight", shape), (f"{name}.bias", shape[:1]))


def _convolution(name: str, kernel: tuple[int, ...]) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.conv.weight", kernel
    for part in NORM:
        yield f"{name}.bn.{part}", kernel[:1]


def _features(weights: Tensors, config: NetworkConfig, x: Floats) -> Floats:
    """Run the convolutions: N x size x size x 3 -> N x 7 x 7 x 1024 for images of 224 pixels."""
    x = _convolved(x, *folded(weights, "conv1"), stride=2)
    for number, (_, stride) in enumerate(BLOCKS, start=1):
        x = _convolved(x, *folded(weights, f"block{number}.depthwise"), stride=stride)
        if number == EARLY_BLOCK and config.attention == "mhsa-early":
            tokens = _projected(weights, config, x.reshape(len(x), -1, x.shape[-1]))
            x = x + _attended(weights, config, tokens).reshape(x.shape)
        kernel, bias = folded(weights, f"block{number}.pointwise")
        x = _relu6(x @ kernel[:, :, 0, 0].T, bias)
    return x


def _convolved(x: Floats, kernel: Floats, bias: Floats, *, stride: int) -> Floats:
    """Run a 3x3 convolution, of each channel alone where the kernel says so, with TensorFlow's SAME padding."""
    padding = (0, 1) if stride == 2 else (1, 1)
    x = np.pad(x, ((0, 0), padding, padding, (0, 0)))
    height, width = ((length - 3) // stride + 1 for length in x.shape[1:3])
    sums = np.zeros((len(x), height, width, len(kernel)), np.float32)
    for i in range(3):
        for j in range(3):
            part = x[:, i : i + stride * height : stride, j : j + stride * width : stride]
            sums += part * kernel[:, 0, i, j] if kernel.shape[1] == 1 else part @ kernel[:, :, i, j].T
    return _relu6(sums, bias)


def _relu6(sums: Floats, bias: Floats) -> Floats:
    sums += bias
    return np.clip(sums, 0, 6, out=sums)


def _linear(weights: Tensors, name: str, x: Floats) -> Floats:
    values: Floats = x @ weights[f"{name}.weight"].astype(np.float32).T + weights[f"{name}.bias"]
    return values


def _projected(weights: Tensors, config: NetworkConfig, tokens: Floats) -> Floats:
    x = _linear(weights, "attention.project", tokens)
    return x + weights["attention.position"].astype(np.float32) if config.positions else x


def _attended(weights: Tensors, config: NetworkConfig, x: Floats) -> Floats:
    """Return what attention adds to projected tokens, N x T x width."""
    centred = x - x.mean(axis=-1, keepdims=True)
    unit = centred / np.sqrt(x.var(axis=-1, keepdims=True) + NORM_EPSILON)
    normed = unit * weights["attention.norm.weight"] + weights["attention.norm.bias"]
    parts = np.split(_linear(weights, "attention.query_key_value", normed), 3, axis=-1)
    shape = (*x.shape[:2], config.heads, -1)
    query, key, value = (part.reshape(shape).transpose(0, 2, 1, 3) for part in parts)
    scores = query @ key.transpose(0, 1, 3, 2) / np.float32(np.sqrt(query.shape[-1]))
    shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
    mixed = shares / shares.sum(axis=-1, keepdims=True) @ value
    return _linear(weights, "attention.output", mixed.transpose(0, 2, 1, 3).reshape(x.shape))


def _familiarity(weights: Tensors, tokens: Floats) -> Floats | None:
    if PROTOTYPES not in weights:
        return None
    pooled = tokens.mean(axis=1)
    pooled = pooled / np.maximum(np.linalg.norm(pooled, axis=1, keepdims=True), 1e-12)
    best: Floats = (pooled @ weights[PROTOTYPES].astype(np.float32).T).max(axis=1)
    return best
