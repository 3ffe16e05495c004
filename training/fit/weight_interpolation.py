"""Weights between those of the start and the trained ones (Wortsman et al., WiSE-FT, arXiv:2109.01903).

Training all layers fits the training photos, and forgets a part of what made the start work on others. Where
the trained network has not left the start's neighbourhood, the weights between the two keep both.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from cataloger.errors import UsageError
from cataloger.training.fit.trainer import TrainedPart, Trainer
from cataloger.training.inputs import sample, to_network

STATISTICS_IMAGES = 1024
BATCH = 64


def check_blend(share: float, *, known: Sequence[str], wanted: Sequence[str]) -> None:
    """Raise UsageError where the start has nothing to blend with: it must know all categories by name."""
    if not 0.0 <= share < 1.0:
        raise UsageError(f"--blend must be at least 0 and below 1, not {share}")
    new = sorted(set(wanted) - set(known))
    if share and new:
        raise UsageError(
            f"--blend needs a start that knows all categories; {len(new)} are new to it, e.g. {new[0]!r}: "
            "leave --blend out, or name another bundle with --start"
        )


def blend(trainer: Trainer, start: dict[str, Tensor], share: float) -> None:
    """Move the network's weights towards the start's by `share`, and recompute the statistics of its batch norms.

    start: the network's tensors as the training began with them.
    """
    own = trainer.network.state_dict()
    for name, value in own.items():
        if value.dtype.is_floating_point:
            value.lerp_(start[name].to(value), share)
    _refresh_statistics(trainer)


def _refresh_statistics(trainer: Trainer) -> None:
    """Recompute mean and variance in front of each trained batch norm, over training images that are not augmented.

    Augmented images, blurred and recoloured, would shift both away from those of the photos that are classified.
    """
    part = TrainedPart(trainer.network, frozen=trainer.recipe.frozen).train()
    norms = [module for module in part.modules() if isinstance(module, nn.BatchNorm2d) and module.training]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's way to say: the plain mean of all batches
    rows = sample(trainer.train.cache.readable, STATISTICS_IMAGES, trainer.seed)
    order = np.random.default_rng(trainer.seed).permutation(rows)
    plan = np.array_split(order, -(-len(order) // BATCH))
    with torch.no_grad():
        for inputs, _ in trainer.train.batches(plan, epoch=None):
            part(to_network(inputs, trainer.place.device))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    part.eval()
