"""The training loop: epochs over cached features, validation after each, the best checkpoint kept."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from cataloger.network import Network
from cataloger.training import checkpoint
from cataloger.training.checkpoint import Progress
from cataloger.training.config import TrainOptions
from cataloger.training.features import FeatureCache

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class LabelledFeatures:
    """Cached features and what is right for them. accepted: bool N x labels, row by row as in the cache."""

    cache: FeatureCache
    accepted: Tensor

    def batch(self, rows: Indices, views: Indices) -> tuple[Tensor, Tensor]:
        """Return maps (N x 512 x 7 x 7, channels last) and accepted labels of some rows."""
        maps = torch.from_numpy(self.cache.maps[rows, views].astype(np.float32))
        return maps.permute(0, 3, 1, 2), self.accepted[torch.from_numpy(rows)]


def partial_label_loss(logits: Tensor, accepted: Tensor) -> Tensor:
    """Return the mean of -log(summed probability of the accepted labels).

    With one accepted label it is the categorical cross-entropy. logits: N x labels; accepted: bool N x labels.
    """
    right = logits.masked_fill(~accepted, -torch.inf)
    return (logits.logsumexp(dim=1) - right.logsumexp(dim=1)).mean()


def learning_rate(step: int, *, steps: int, options: TrainOptions) -> float:
    """Return the rate of a step: linear warm-up, then half a cosine down to zero."""
    warmup = max(1, round(options.warmup * steps))
    if step < warmup:
        return options.learning_rate * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return options.learning_rate * 0.5 * (1.0 + math.cos(math.pi * done))


def make_optimizer(network: Network, options: TrainOptions) -> torch.optim.AdamW:
    """AdamW over what is trainable; weight decay only on matrices and kernels, not on biases and norms."""
    trainable = [p for p in network.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": options.weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=options.learning_rate)


@dataclass(frozen=True, slots=True)
class Trainer:
    """One run. fingerprint: what it was started with; a checkpoint of another run is left alone."""

    network: Network
    train: LabelledFeatures
    val: LabelledFeatures
    options: TrainOptions
    fingerprint: str
    on_batch: Callable[[int, int], None]
    on_epoch: Callable[[dict[str, float]], None]

    @property
    def last(self) -> Path:
        return self.options.work / "last.safetensors"

    @property
    def best(self) -> Path:
        return self.options.work / "best.safetensors"

    def run(self) -> Progress:
        """Train to the last epoch, resuming where a checkpoint stands; leave the best weights in the network."""
        optimizer = make_optimizer(self.network, self.options)
        progress = self._resume(optimizer)
        while progress.epoch < self.options.epochs:
            loss = self._train_epoch(progress.epoch, optimizer)
            progress = self._close_epoch(progress, loss, optimizer)
        checkpoint.load(self.best, self.network)
        return progress

    def _resume(self, optimizer: torch.optim.Optimizer) -> Progress:
        fresh = Progress(self.fingerprint)
        if not self.last.exists():
            return fresh
        initial = {name: value.clone() for name, value in self.network.state_dict().items()}
        progress = checkpoint.load(self.last, self.network, optimizer)
        if progress.fingerprint == self.fingerprint:
            return progress
        self.network.load_state_dict(initial)
        optimizer.state.clear()
        return fresh

    def _train_epoch(self, epoch: int, optimizer: torch.optim.Optimizer) -> float:
        batches = list(epoch_batches(self.train, epoch, self.options))
        self.network.train()
        self.network.freeze()
        # Dropout follows the epoch, so that a resumed run repeats what an undisturbed one does.
        torch.manual_seed(self.options.seed * 1_000_003 + epoch)
        total = 0.0
        for number, (rows, views) in enumerate(batches):
            step = epoch * len(batches) + number
            rate = learning_rate(step, steps=self.options.epochs * len(batches), options=self.options)
            for group in optimizer.param_groups:
                group["lr"] = rate
            total += self._step(rows, views, optimizer)
            self.on_batch(number + 1, len(batches))
        return total / len(batches)

    def _step(self, rows: Indices, views: Indices, optimizer: torch.optim.Optimizer) -> float:
        features, accepted = self.train.batch(rows, views)
        optimizer.zero_grad(set_to_none=True)
        logits, _ = self.network.classify(features)
        loss = partial_label_loss(logits, accepted)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        optimizer.step()
        return float(loss.detach())

    def _close_epoch(self, progress: Progress, loss: float, optimizer: torch.optim.Optimizer) -> Progress:
        record = {"epoch": progress.epoch + 1, "train_loss": loss, **validate(self.network, self.val)}
        is_best = record["top1"] > progress.best
        progress = replace(
            progress,
            epoch=progress.epoch + 1,
            best=max(progress.best, record["top1"]),
            history=(*progress.history, record),
        )
        if is_best:
            checkpoint.save(self.best, self.network, optimizer, progress)
        checkpoint.save(self.last, self.network, optimizer, progress)
        self.on_epoch(record)
        return progress


def epoch_batches(features: LabelledFeatures, epoch: int, options: TrainOptions) -> Iterator[tuple[Indices, Indices]]:
    """Yield (rows, views) of every batch of an epoch, shuffled by seed and epoch alone.

    Each image appears once an epoch, with one of its views. A last batch of one is left out: a batch norm in
    training mode would learn from a single image.
    """
    random = np.random.default_rng([options.seed, epoch])
    rows = random.permutation(features.cache.readable)
    views = random.integers(features.cache.maps.shape[1], size=len(rows))
    for start in range(0, len(rows), options.batch_size):
        batch = slice(start, start + options.batch_size)
        if len(rows[batch]) > 1:
            yield rows[batch], views[batch]


def validate(network: Network, val: LabelledFeatures, *, batch_size: int = 64) -> dict[str, float]:
    """Return loss, top1 and top5 of the validation split; any accepted label is right."""
    network.eval()
    loss, hits1, hits5 = 0.0, 0, 0
    rows = val.cache.readable
    with torch.inference_mode():
        for start in range(0, len(rows), batch_size):
            chunk = rows[start : start + batch_size]
            features, accepted = val.batch(chunk, np.zeros(len(chunk), dtype=np.int64))
            logits, _ = network.classify(features)
            loss += float(partial_label_loss(logits, accepted)) * len(chunk)
            best = logits.topk(min(5, logits.shape[1]), dim=1).indices
            right = accepted.gather(1, best)
            hits1 += int(right[:, 0].sum())
            hits5 += int(right.any(dim=1).sum())
    return {"loss": loss / len(rows), "top1": hits1 / len(rows), "top5": hits5 / len(rows)}
