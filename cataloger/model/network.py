"""MobileNet v1 with multi-head self-attention over one of its last feature maps.

The paper is "Less complex Multi-head Attentive CNN for Landmark-free Clothing Category Classification Using
MobileNet". The convolutions are those of MobileNet v1 1.0 (Howard et al., arXiv:1704.04861) with TensorFlow's
SAME padding, so that the published ImageNet weights fit. The 7x7 map becomes 49 tokens; self-attention
(Vaswani et al., arXiv:1706.03762) mixes them; the first fully connected layer and its activation run on every
token, and the second, being linear, commutes with the mean over the tokens. Hence the logits are exactly the
mean of 49 *place scores*, and a class activation map is a reshape of them.

Attention stands behind the last convolutions, as in the paper ("mhsa"), or in front of them ("mhsa-early"), where
convolutions still follow that make features of what it mixed. Either way the head answers for every place.
"""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cataloger.options import NetworkConfig

FEATURES = 1024
BATCH_NORM_EPSILON = 0.001

# (output channels, stride) of the 13 depthwise separable blocks.
BLOCKS = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1),
    (512, 1), (512, 1), (512, 1), (512, 1), (1024, 2), (1024, 1),
)  # fmt: skip

PROTOTYPES = "familiarity.prototypes"
"""Name of the prototypes among a bundle's weights."""

FROZEN_BLOCK = 12
"""The paper freezes everything up to the batch norm of this block's depthwise convolution."""


class ConvBNReLU6(nn.Module):
    """3x3 or 1x1 convolution without bias, batch norm, ReLU6; TensorFlow's SAME padding."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.pads_after = stride == 2
        padding = 0 if self.pads_after else kernel // 2
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=BATCH_NORM_EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        activated: Tensor = F.relu6(self.bn(self._convolved(x)))
        return activated

    def _convolved(self, x: Tensor) -> Tensor:
        if not self.pads_after:
            mixed: Tensor = self.conv(x)
        elif self.conv.groups > 1 and self.training and torch.is_autocast_enabled("cpu"):
            # Every other place of the stride-1 convolution: the same numbers, whose gradient in bfloat16 is three
            # times as fast on a CPU as that of the padded stride-2 one.
            everywhere = F.conv2d(x, self.conv.weight, self.conv.bias, padding=1, groups=self.conv.groups)
            mixed = everywhere[:, :, 1::2, 1::2].contiguous(memory_format=torch.channels_last)
        else:
            mixed = self.conv(F.pad(x, (0, 1, 0, 1)))
        return mixed


class DepthwiseSeparable(nn.Module):
    """A 3x3 depthwise and a 1x1 pointwise convolution."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.depthwise = ConvBNReLU6(inputs, inputs, 3, stride=stride, groups=inputs)
        self.pointwise = ConvBNReLU6(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = self.pointwise(self.depthwise(x))
        return mixed


class TokenAttention(nn.Module):
    """Project the tokens to `width` channels and let each attend to all: N x T x C -> N x T x width."""

    def __init__(self, config: NetworkConfig, tokens: int, *, inputs: int = FEATURES) -> None:
        super().__init__()
        self.heads = config.heads
        self.project = nn.Linear(inputs, config.width)
        self.position = nn.Parameter(torch.zeros(tokens, config.width)) if config.positions else None
        self.norm = nn.LayerNorm(config.width)
        self.query_key_value = nn.Linear(config.width, 3 * config.width)
        self.output = nn.Linear(config.width, config.width)
        if self.position is not None:
            nn.init.normal_(self.position, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self._projected(tokens)
        attended: Tensor = x + self._attended(x)
        return attended

    def _projected(self, tokens: Tensor) -> Tensor:
        x: Tensor = self.project(tokens)
        return x if self.position is None else x + _positions(self.position, tokens.shape[1])

    def _attended(self, x: Tensor) -> Tensor:
        query, key, value = (self._split(part) for part in self.query_key_value(self.norm(x)).chunk(3, dim=-1))
        mixed = F.scaled_dot_product_attention(query, key, value)
        output: Tensor = self.output(mixed.transpose(1, 2).flatten(2))
        return output

    def _split(self, x: Tensor) -> Tensor:
        batch, places, _ = x.shape
        return x.reshape(batch, places, self.heads, -1).transpose(1, 2)


class MapAttention(TokenAttention):
    """Add to each place of a map what it attends to: N x C x H x W -> the same shape.

    The last layer starts at zero, so that the convolutions before and behind it start with what they have learned.
    """

    def __init__(self, config: NetworkConfig, tokens: int, *, inputs: int) -> None:
        super().__init__(config, tokens, inputs=inputs)
        self.output = nn.Linear(config.width, inputs)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, feature_map: Tensor) -> Tensor:
        attended = self._attended(self._projected(feature_map.flatten(2).transpose(1, 2)))
        return feature_map + attended.transpose(1, 2).reshape(feature_map.shape)


def _positions(learned: Tensor, tokens: int) -> Tensor:
    """Stretch the square map of learned positions to another number of tokens, for images of another size."""
    if len(learned) == tokens:
        return learned
    own, wanted = (math.isqrt(count) for count in (len(learned), tokens))
    as_map = learned.T.reshape(1, -1, own, own)
    return F.interpolate(as_map, (wanted, wanted), mode="bilinear", antialias=True)[0].flatten(1).T


class TwoLayerHead(nn.Module):
    """Fully connected, activation and dropout on every token, fully connected: N x T x C -> N x T x classes."""

    def __init__(self, inputs: int, config: NetworkConfig) -> None:
        super().__init__()
        self.hidden = nn.Linear(inputs, config.hidden)
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(config.hidden, config.classes)

    def forward(self, tokens: Tensor) -> Tensor:
        scores: Tensor = self.output(self.dropout(F.relu(self.hidden(tokens))))
        return scores


class SingleHead(nn.Module):
    """One fully connected layer on every token; its mean is the classifier of the published MobileNet."""

    def __init__(self, inputs: int, config: NetworkConfig) -> None:
        super().__init__()
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(inputs, config.classes)

    def forward(self, tokens: Tensor) -> Tensor:
        scores: Tensor = self.output(self.dropout(tokens))
        return scores


class Network(nn.Module):
    """The classifier. Input N x 3 x size x size, RGB in [-1, 1]; see `forward` for the outputs."""

    def __init__(self, config: NetworkConfig, *, size: int = 224) -> None:
        super().__init__()
        self.config = config
        self.conv1 = ConvBNReLU6(3, 32, 3, stride=2)
        channels = 32
        for number, (outputs, stride) in enumerate(BLOCKS, start=1):
            self.add_module(f"block{number}", DepthwiseSeparable(channels, outputs, stride))
            channels = outputs
        self.attention = _attention(config, tokens=(-(-size // 32)) ** 2)
        inputs = config.width if config.attention == "mhsa" else FEATURES
        self.head = SingleHead(inputs, config) if config.head == "single" else TwoLayerHead(inputs, config)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (N x classes) and place scores (N x tokens x classes), row-major over the map."""
        return self.classify(self.frozen_features(x))

    def frozen_features(self, x: Tensor) -> Tensor:
        """Run the part that the paper freezes: N x 512 x 7 x 7 for images of 224 pixels."""
        x = self.conv1(x)
        for number in range(1, FROZEN_BLOCK):
            x = self._block(number)(x)
        features: Tensor = self._block(FROZEN_BLOCK).depthwise(x)
        return features

    def classify(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Run the rest on the output of `frozen_features`; returns what `forward` returns."""
        return self.read(self.feature_map(features))

    def feature_map(self, features: Tensor) -> Tensor:
        """Run the remaining convolutions on the output of `frozen_features`: N x 1024 x 7 x 7."""
        if isinstance(self.attention, MapAttention):
            features = self.attention(features)
        x: Tensor = self._block(FROZEN_BLOCK).pointwise(features)
        for number in range(FROZEN_BLOCK + 1, len(BLOCKS) + 1):
            x = self._block(number)(x)
        return x

    def read(self, feature_map: Tensor) -> tuple[Tensor, Tensor]:
        """Run the head on the last feature map, after attention over it; returns what `forward` returns."""
        tokens = feature_map.flatten(2).transpose(1, 2)
        if self.attention is not None and not isinstance(self.attention, MapAttention):
            tokens = self.attention(tokens)
        place_scores = self.head(tokens)
        return place_scores.mean(dim=1), place_scores

    def frozen_modules(self) -> Iterator[nn.Module]:
        """Yield the modules that the paper's frozen setting keeps as they are."""
        yield self.conv1
        for number in range(1, FROZEN_BLOCK):
            yield self._block(number)
        yield self._block(FROZEN_BLOCK).depthwise

    def freeze(self) -> None:
        """Fix the frozen part: no gradients, batch norm on its stored statistics."""
        for module in self.frozen_modules():
            module.requires_grad_(False).eval()

    def _block(self, number: int) -> DepthwiseSeparable:
        block = self.get_submodule(f"block{number}")
        assert isinstance(block, DepthwiseSeparable)
        return block


def _attention(config: NetworkConfig, *, tokens: int) -> TokenAttention | None:
    """Create the attention of a network whose last maps have this number of places."""
    if config.attention == "none":
        attention = None
    elif config.attention == "mhsa":
        attention = TokenAttention(config, tokens)
    else:
        attention = MapAttention(config, tokens, inputs=BLOCKS[FROZEN_BLOCK - 2][0])
    return attention


def normalise(pixels: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Turn uint8 N x size x size x 3 into the network's input N x 3 x size x size in [-1, 1]."""
    return pixels.permute(0, 3, 1, 2).to(dtype) / 127.5 - 1.0


class FromPixels(nn.Module):
    """The network with normalisation in front, so that no caller can get that wrong.

    prototypes: K x 1024 of length one, in the dtype of the weights; see `cataloger.training.calibration.familiarity`.
    """

    prototypes: Tensor

    def __init__(self, network: Network, prototypes: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("prototypes", prototypes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits, place scores and familiarity (N) of uint8 images N x size x size x 3."""
        inputs = normalise(images, self.prototypes.dtype)
        feature_map = self.network.feature_map(self.network.frozen_features(inputs))
        logits, place_scores = self.network.read(feature_map)
        pooled = F.normalize(feature_map.mean(dim=(2, 3)), dim=1)
        return logits, place_scores, (pooled @ self.prototypes.T).amax(dim=1)


def count_parameters(network: nn.Module) -> tuple[int, int]:
    """Count (all, trainable) values: parameters and running statistics, not the batch counters."""
    trainable = sum(p.numel() for p in network.parameters() if p.requires_grad)
    fixed = sum(p.numel() for p in network.parameters() if not p.requires_grad)
    statistics = sum(b.numel() for name, b in network.named_buffers() if "num_batches" not in name)
    return trainable + fixed + statistics, trainable


def load_backbone(network: Network, state: dict[str, Tensor]) -> None:
    """Copy convolution and batch-norm tensors into the network.

    state: keys `conv1.{conv,bn}.*`, `block1..13.{depthwise,pointwise}.{conv,bn}.*`; fp16 is widened.
    Raises KeyError or RuntimeError where a tensor is missing or of another shape.
    """
    own = network.state_dict()
    wanted = [key for key in own if key.startswith(("conv1.", "block")) and "num_batches" not in key]
    missing = sorted(set(wanted) - set(state))
    if missing:
        raise KeyError(f"backbone weights lack {len(missing)} tensors, the first is {missing[0]}")
    network.load_state_dict({key: state[key].float() for key in wanted}, strict=False)


def load_head(
    network: Network, state: dict[str, Tensor], *, known: Sequence[str], wanted: Sequence[str]
) -> list[str]:
    """Copy attention and head of a trained network; return the labels whose rows of the last layer were kept.

    known, wanted: labels of the trained network and of this one; rows are matched by label, and those of new labels
    stay as they were drawn. Nothing is copied where the rest of attention and head has another shape.
    """
    own = network.state_dict()
    shared = [key for key in own if key.startswith(("attention.", "head.")) and not key.startswith("head.output.")]
    same = all(key in state and state[key].shape == own[key].shape for key in shared)
    if not same or state["head.output.weight"].shape[1:] != own["head.output.weight"].shape[1:]:
        return []
    rows = {label: row for row, label in enumerate(known)}
    kept = [label for label in wanted if label in rows]
    for key in ("head.output.weight", "head.output.bias"):
        for row, label in enumerate(wanted):
            if label in rows:
                own[key][row] = state[key][rows[label]].float()
    network.load_state_dict({key: state[key].float() for key in shared}, strict=False)
    return kept
