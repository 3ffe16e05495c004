"""Training with simulated integers, so that every layer of a network can run in int8.

Rounding to integers moves some layers too much to be repaired afterwards. Here the network is trained a little
further with weights and activations rounded as the model in int8 will round them (Jacob et al., arXiv:1712.05877);
gradients pass the rounding unchanged (straight-through estimator, Bengio et al., arXiv:1308.3432). It learns to
answer as the network in floating point does (distillation, Hinton et al., arXiv:1503.02531), which needs no label.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from cataloger.inference import load_folded
from cataloger.model import Bundle, ConvBNReLU6, FromPixels
from cataloger.records import Failure, Pixels
from cataloger.training.data import Example, decode_examples

WEIGHT_LEVELS = 64
"""Largest integer of a weight: seven bits with their sign, as `cataloger.training.export.quantize` writes them."""
ACTIVATION_LEVELS = 255

BATCH = 32
IMAGES = 6_400
"""Training images that are seen, some of them twice where there are fewer."""
MOST_REPEATS = 4
LEARNING_RATE = 5e-6
TEMPERATURE = 2.0
"""Of the softmax whose probabilities are compared: above 1, unlikely categories count for more."""


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
        return torch.fake_quantize_per_tensor_affine(values, step, zero, 0, ACTIVATION_LEVELS)


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
                simulation._round(module)
        return simulation

    def _round(self, module: nn.Module) -> None:
        given, taken = _Activation(), _Activation()
        self.activations.extend((taken, given))
        self.handles.append(module.register_forward_pre_hook(lambda _module, inputs: (taken(inputs[0]),)))
        self.handles.append(module.register_forward_hook(lambda _module, _inputs, output: given(output)))

    def calibrate(self, pixels: Pixels) -> None:
        """Measure the ranges of all activations; from then on they are rounded."""
        with torch.no_grad():
            for start in range(0, len(pixels), BATCH):
                self.model(torch.from_numpy(pixels[start : start + BATCH]))
        for activation in self.activations:
            activation.is_observing = False

    def take_off(self) -> None:
        """Leave the trained weights, in floating point, in a plain network."""
        for handle in self.handles:
            handle.remove()
        for module in list(self.model.modules()):
            if parametrize.is_parametrized(module, "weight"):
                parametrize.remove_parametrizations(module, "weight", leave_parametrized=False)


Progress = Callable[[int, int], None]


def train_for_int8(
    bundle: Bundle, train: Sequence[Example], calibration: Pixels, *, progress: Progress = lambda _done, _total: None
) -> FromPixels:
    """Return a bundle's network, batch norms folded, trained to answer in int8 as it does in floating point.

    train: images to train on; their labels are not read. calibration: uint8 N x size x size x 3; they give the ranges
    of the activations. progress: receives the steps done and their number. Raises BundleError where the weights do
    not fit. Its answers in floating point change a little, too; only what is made of it in int8 is for use.
    """
    torch.manual_seed(0)
    teacher, student = load_folded(bundle, torch.float32), load_folded(bundle, torch.float32)
    simulation = _Simulation.put_on(student)
    simulation.calibrate(calibration)
    images = min(IMAGES, MOST_REPEATS * len(train))
    steps = max(1, math.ceil(images / BATCH))
    # Batch norms are folded and dropout is off: both networks stay in eval mode.
    optimizer = torch.optim.AdamW(student.parameters(), lr=LEARNING_RATE, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps + 1, pct_start=0.2)
    for step, pixels in zip(range(steps), _batches(bundle, train), strict=False):
        loss = _distance(student, teacher, pixels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        progress(step + 1, steps)
    simulation.take_off()
    return student


def _distance(student: nn.Module, teacher: nn.Module, pixels: Tensor) -> Tensor:
    """Return the Kullback-Leibler divergence of the student's probabilities from the teacher's, mean over images."""
    with torch.no_grad():
        wanted = F.log_softmax(teacher(pixels)[0] / TEMPERATURE, dim=1)
    given = F.log_softmax(student(pixels)[0] / TEMPERATURE, dim=1)
    return F.kl_div(given, wanted, reduction="batchmean", log_target=True) * TEMPERATURE**2


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
