"""Training with simulated integers, so that every layer of a network can run in int8.

Rounding to integers moves some layers too much to be repaired afterwards. Here the network is trained a little
further with weights and activations rounded as the model in int8 will round them (Jacob et al., arXiv:1712.05877);
gradients pass the rounding unchanged (straight-through estimator, Bengio et al., arXiv:1308.3432). It learns to
answer as it did in floating point (distillation, Hinton et al., arXiv:1503.02531), which needs no label.

What comes out are weights that are integers already, each channel by its scale. The model in int8 and the one in
floating point hold the same numbers then and differ by how activations are rounded, and by nothing else.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from cataloger.inference import load_folded, load_network
from cataloger.model import Bundle, ConvBNReLU6, Network
from cataloger.records import Failure, Pixels
from cataloger.training.data import Example, decode_examples
from cataloger.training.mixed_precision import mixed_precision

WEIGHT_LEVELS = 64
"""Largest integer of a weight: seven bits with their sign, as `cataloger.training.export.quantize` writes them."""
ACTIVATION_LEVELS = 255

BATCH = 32
IMAGES = 6_400
"""Training images that are seen, some of them twice where there are fewer."""
MOST_REPEATS = 4
SUM_WEIGHT = 0.1
LEAST_FACTOR = 1e-3
"""What a batch norm multiplies a channel with at least."""
LEARNING_RATE = 3e-5
TEMPERATURE = 2.0
"""Of the softmax whose probabilities are compared: above 1, unlikely categories count for more."""


class _Rounded(torch.autograd.Function):
    """Round to one of 256 values; gradients pass unchanged."""

    @staticmethod
    def forward(_ctx: Any, values: Tensor, step: float, zero: int) -> Tensor:
        """Return multiples of `step`, from -zero to 255 - zero of them, in the dtype of the values."""
        rounded = (values / step).round_()
        return rounded.clamp_(-zero, ACTIVATION_LEVELS - zero).mul_(step)

    @staticmethod
    def backward(_ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient as it came."""
        return gradients[0], None, None


@dataclass(slots=True)
class _Activation:
    """Rounds what a layer takes or gives to eight bits, within the range that the calibration images span."""

    low: float = 0.0
    high: float = 0.0
    is_observing: bool = True

    def __call__(self, values: Tensor) -> Tensor:
        if self.is_observing:
            self.low = min(self.low, float(values.min()))
            self.high = max(self.high, float(values.max()))
            return values
        step = max((self.high - self.low) / ACTIVATION_LEVELS, 1e-8)
        zero = min(max(round(-self.low / step), 0), ACTIVATION_LEVELS)
        rounded: Tensor = _Rounded.apply(values, step, zero)
        return rounded


class _RoundedWeight(nn.Module):
    """Rounds a weight to seven bits, one scale for each output channel."""

    def forward(self, weight: Tensor) -> Tensor:
        largest = weight.detach().abs().flatten(1).amax(dim=1).clamp_min(1e-8)
        zero = torch.zeros_like(largest, dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(
            weight, largest / WEIGHT_LEVELS, zero, 0, -WEIGHT_LEVELS, WEIGHT_LEVELS
        )


@dataclass(frozen=True, slots=True)
class _Simulation:
    """A network whose convolutions and linear layers compute as in int8. It is undone by `take_off`."""

    model: nn.Module
    activations: list[_Activation] = field(default_factory=list)
    handles: list[torch.utils.hooks.RemovableHandle] = field(default_factory=list)

    @classmethod
    def put_on(cls, model: nn.Module) -> "_Simulation":
        simulation = cls(model)
        for module in list(model.modules()):
            if isinstance(module, ConvBNReLU6 | nn.Linear):
                weighted = module.conv if isinstance(module, ConvBNReLU6) else module
                parametrize.register_parametrization(weighted, "weight", _RoundedWeight())
                # A convolution takes what another one gives, rounded already, but for the first: that takes pixels,
                # which are integers. What linear layers give stays in floating point.
                simulation._round(module, taken=isinstance(module, nn.Linear))
        return simulation

    def _round(self, module: nn.Module, *, taken: bool) -> None:
        activation = _Activation()
        self.activations.append(activation)
        if taken:
            handle = module.register_forward_pre_hook(lambda _module, inputs: (activation(inputs[0]),))
        else:
            handle = module.register_forward_hook(lambda _module, _inputs, output: activation(output))
        self.handles.append(handle)

    def calibrate(self, pixels: Pixels) -> None:
        """Measure the ranges of all activations; from then on they are rounded."""
        with torch.no_grad():
            for start in range(0, len(pixels), BATCH):
                self.model(torch.from_numpy(pixels[start : start + BATCH]))
        for activation in self.activations:
            activation.is_observing = False

    def take_off(self) -> None:
        """Leave the trained weights, rounded as they are in int8, in a plain network."""
        for handle in self.handles:
            handle.remove()
        for module in list(self.model.modules()):
            if parametrize.is_parametrized(module, "weight"):
                parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)


Progress = Callable[[int, int], None]


def train_for_int8(
    bundle: Bundle, train: Sequence[Example], calibration: Pixels, *, progress: Progress = lambda _done, _total: None
) -> Network:
    """Return a bundle's network, trained to answer in int8 as it did in floating point; its weights are integers.

    train: images to train on; their labels are not read. calibration: uint8 N x size x size x 3; they give the ranges
    of the activations. progress: receives the steps done and their number. Raises BundleError where the weights do
    not fit. Its answers in floating point change as well: it needs a calibration of its own.
    """
    torch.manual_seed(0)
    teacher, student = load_folded(bundle, torch.float32), load_folded(bundle, torch.float32)
    simulation = _Simulation.put_on(student)
    simulation.calibrate(calibration)
    images = min(IMAGES, MOST_REPEATS * len(train))
    steps = max(1, math.ceil(images / BATCH))
    _learn_without_dropout(student)
    optimizer = torch.optim.AdamW(student.parameters(), lr=LEARNING_RATE, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps + 1, pct_start=0.2)
    for step, pixels in zip(range(steps), _batches(bundle, train), strict=False):
        with mixed_precision(pixels.device):
            loss = _distance(student, teacher, pixels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        progress(step + 1, steps)
    student.eval()
    simulation.take_off()
    return _with_norms(load_network(bundle).network, student.network)


def _learn_without_dropout(model: nn.Module) -> None:
    """Set it to train mode, in which convolutions compute as is fastest for gradients. Its batch norms are folded."""
    for module in model.train().modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0


@torch.no_grad()
def _with_norms(network: Network, trained: Network) -> Network:
    """Give a network the weights of a trained one whose batch norms are folded.

    Its own norms stay, so that it can learn on. A kernel is divided by what its norm multiplies it with,
    channel by channel, so that integers stay integers.
    """
    layers = dict(trained.named_modules())
    for name, module in network.named_modules():
        if isinstance(module, ConvBNReLU6):
            _unfold(module, layers[name].conv)
        elif isinstance(module, nn.Linear | nn.LayerNorm):
            module.load_state_dict(layers[name].state_dict())
    for name, own in network.named_parameters():
        if name.endswith("position"):
            own.copy_(trained.get_parameter(name))
    return network


def _unfold(layer: ConvBNReLU6, folded: nn.Conv2d) -> None:
    mean, variance = layer.bn.running_mean, layer.bn.running_var
    assert mean is not None
    assert variance is not None
    assert folded.bias is not None
    spread = torch.sqrt(variance + layer.bn.eps)
    # A channel that its norm all but silences would need weights beyond the numbers of fp16.
    least = LEAST_FACTOR * spread
    layer.bn.weight.copy_(torch.where(layer.bn.weight < 0, -1.0, 1.0) * layer.bn.weight.abs().maximum(least))
    factor = layer.bn.weight / spread
    layer.conv.weight.copy_(folded.weight / factor[:, None, None, None])
    layer.bn.bias.copy_(folded.bias + mean * factor)


def _distance(student: nn.Module, teacher: nn.Module, pixels: Tensor) -> Tensor:
    """Return how far the student's answers are from the teacher's, mean over images.

    It is the Kullback-Leibler divergence of its probabilities, and the squared difference of their normalizers.
    """
    with torch.no_grad():
        wanted = teacher(pixels)[0].float()
    given = student(pixels)[0].float()
    told, learned = (F.log_softmax(logits / TEMPERATURE, dim=1) for logits in (wanted, given))
    divergence = F.kl_div(learned, told, reduction="batchmean", log_target=True) * TEMPERATURE**2
    # Probabilities say nothing of the sum of all scores, by which what shows no product is told.
    return divergence + SUM_WEIGHT * F.mse_loss(given.logsumexp(dim=1), wanted.logsumexp(dim=1))


def _batches(bundle: Bundle, train: Sequence[Example]) -> Iterator[Tensor]:
    """Yield batches of the images in a random order, over and over, half of them mirrored."""
    random = np.random.default_rng(0)
    waiting: list[Pixels] = []
    while True:
        order = [train[row] for row in random.permutation(len(train))[:IMAGES]]
        for result in decode_examples(order, bundle.preprocess):
            if isinstance(result, Failure):
                continue
            waiting.append(result.pixels[:, ::-1] if random.random() < 0.5 else result.pixels)
            if len(waiting) == BATCH:
                yield torch.from_numpy(np.stack(waiting))
                waiting = []
