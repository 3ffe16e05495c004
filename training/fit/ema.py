"""Averages of the weights over the steps, which generalise better than the last step's (Polyak averaging)."""

import torch
from torch import Tensor, nn

WARM_UP = 10


class Average:
    """Keeps an average of a network's parameters and running statistics.

    decay: weight of the past at a step, of an exponential moving average. The first steps count more,
    (1 + t) / (10 + t), so that the start's weights do not linger. With decay None all steps behind the first
    `skipped` ones count alike; up to them the average is the weights themselves.
    """

    def __init__(self, network: nn.Module, decay: float | None, *, skipped: int = 0) -> None:
        self.decay = decay
        self.skipped = skipped
        self.steps = 0
        self.values = {name: value.detach().clone() for name, value in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take in the weights after a step."""
        self.steps += 1
        decay = self._decay()
        for name, value in network.state_dict().items():
            if value.dtype.is_floating_point:
                self.values[name].lerp_(value, 1.0 - decay)
            else:
                self.values[name].copy_(value)

    def _decay(self) -> float:
        if self.decay is not None:
            return min(self.decay, (1 + self.steps) / (WARM_UP + self.steps))
        averaged = max(1, self.steps - self.skipped)
        return 1.0 - 1.0 / averaged

    def load(self, values: dict[str, Tensor], steps: int) -> None:
        """Resume from a checkpoint."""
        self.steps = steps
        for name, value in values.items():
            self.values[name].copy_(value)
