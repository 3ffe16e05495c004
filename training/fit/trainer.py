"""The training loop: set the rate, step, validate after each epoch, keep the best weights, resume anywhere."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from cataloger import __version__
from cataloger.errors import TrainingError
from cataloger.model import Network
from cataloger.records import Floats
from cataloger.training.fit import checkpoint
from cataloger.training.fit.checkpoint import TrainingProgress
from cataloger.training.fit.distributed import Place
from cataloger.training.fit.ema import Average
from cataloger.training.fit.loss import losses_with_no_products, partial_label_losses, with_soft_labels
from cataloger.training.fit.schedule import learning_rate
from cataloger.training.fit.throughput import Throughput
from cataloger.training.inputs import Indices, Inputs, Targets, Weights, epoch_batches, sample, share_of, to_network
from cataloger.training.mixed_precision import mixed_precision
from cataloger.training.recipes import Recipe

LARGEST_GRADIENT = 5.0
SECONDS_BETWEEN_CHECKPOINTS = 120.0
VALIDATION_BATCH = 64
SMALLER = 5 / 7
"""Size of the images of the first steps where a recipe is progressive, as a share of the network's size."""
STRIDE = 32
"""Pixels between the places of the last feature map; the convolutions want a multiple of it."""
RECORDED = (
    "epoch", "train_loss", "loss", "top1", "top5", "chosen_loss", "chosen_top1", "images_per_second", "waiting",
)  # fmt: skip


class TrainedPart(nn.Module):
    """The part of a network that is trained: all of it, or what lies behind the frozen layers."""

    def __init__(self, network: Network, *, frozen: bool) -> None:
        super().__init__()
        self.network = network
        self.frozen = frozen

    def forward(self, inputs: Tensor) -> Tensor:
        logits, _ = self.network.classify(inputs) if self.frozen else self.network(inputs)
        return logits

    def train(self, mode: bool = True) -> "TrainedPart":
        super().train(mode)
        if self.frozen:
            self.network.freeze()
        return self


def make_optimizer(network: Network, recipe: Recipe) -> torch.optim.Optimizer:
    """Make the recipe's optimizer over what is trainable.

    Each group's "factor" is its share of the learning rate. Weight decay must_keep_previous biases and norms.
    """
    groups = []
    for is_head in (False, True):
        parameters = [
            parameter
            for name, parameter in network.named_parameters()
            if parameter.requires_grad and name.startswith(("attention.", "head.")) == is_head
        ]
        for decays in (True, False):
            chosen = [parameter for parameter in parameters if (parameter.ndim >= 2) == decays]
            factor = recipe.head_rate if is_head else 1.0
            groups.append(
                {"params": chosen, "factor": factor, "weight_decay": recipe.weight_decay if decays else 0.0}
            )
    groups = [group for group in groups if group["params"]]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=recipe.momentum)
    return torch.optim.AdamW(groups, lr=recipe.learning_rate)


@dataclass(frozen=True, slots=True)
class Trainer:
    """One run. weights: how often each readable training image is drawn, None for all alike.

    work: folder of the checkpoints. fingerprint: what the run was started with; a checkpoint of another run is not
    resumed, which on_note is told. on_step: receives the steps done of an epoch, and their total. on_epoch: receives
    the records of all epochs so far. choosing: rows of val by which the best epoch is chosen; None for all. In each
    process of a distributed run there is one.
    """

    network: Network
    train: Inputs
    val: Inputs
    weights: Weights | None
    recipe: Recipe
    seed: int
    work: Path
    fingerprint: str
    place: Place
    on_step: Callable[[int, int], None] = lambda _done, _total: None
    on_epoch: Callable[[Sequence[dict[str, float]]], None] = lambda _history: None
    choosing: Indices | None = None
    on_note: Callable[[str], None] = lambda _text: None

    def product_rows(self) -> Indices:
        """Return the readable training images that show a product: they have an accepted label."""
        rows = self.train.cache.readable
        products: Indices = rows[self.train.targets.accepted[torch.from_numpy(rows)].any(dim=1).numpy()]
        return products

    @property
    def last(self) -> Path:
        return self.work / "last.safetensors"

    @property
    def best(self) -> Path:
        return self.work / "best.safetensors"

    def run(self) -> TrainingProgress:
        """Train to the end, resuming from a checkpoint; leave the best weights in the network."""
        state = _State.begin(self)
        while not self._is_over(state.progress):
            self._train_epoch(state)
            self._close_epoch(state)
        self.place.wait()
        parts, _ = checkpoint.load(self.best)
        self.network.load_state_dict(parts[checkpoint.NETWORK])
        return state.progress

    def find_checkpoint(self) -> checkpoint.Checkpoint | None:
        """Read what this very run has left, if it has been stopped.

        Raises TrainingError for a checkpoint that cannot be read, and for an unfinished one of another version, whose
        work would be lost.
        """
        found = checkpoint.load(self.last) if self.last.exists() else None
        if found is None or found[1].fingerprint == self.fingerprint:
            return found
        progress = found[1]
        if progress.version != __version__ and not self._is_over(progress):
            version = progress.version or "0.1.0"
            raise TrainingError(
                f"the checkpoint {self.last} is of a training that cataloger {version} has begun, and this version "
                "cannot resume it: finish it with that version, or begin anew with another --work"
            )
        if self.place.is_first:
            self.on_note(f"{self.last} is of another training (other images, settings or start) and is not resumed")
        return None

    def make_average(self) -> Average | None:
        """Begin the average of the weights that the recipe asks for; None for none."""
        if self.recipe.average_last:
            steps = self.recipe.epochs * len(self._plan(0))
            return Average(self.network, None, skipped=round(steps * (1.0 - self.recipe.average_last)))
        return Average(self.network, self.recipe.ema) if self.recipe.ema else None

    def _is_over(self, progress: TrainingProgress) -> bool:
        is_early = progress.since_best >= self.recipe.patience
        return progress.epoch >= self.recipe.epochs or is_early

    def _train_epoch(self, state: "_State") -> None:
        plan = self._plan(state.progress.epoch)
        state.part.train()
        state.throughput = Throughput()
        state.loss = torch.tensor(state.progress.loss, dtype=torch.float64, device=self.place.device)
        first, last_saved = state.progress.step, time.monotonic()
        for inputs, targets in state.throughput.over(self.train.batches(plan[first:], epoch=state.progress.epoch)):
            step = state.progress.epoch * len(plan) + state.progress.step
            self._set_rate(state, step, self.recipe.epochs * len(plan))
            # Dropout follows the step, so that a resumed run repeats what an undisturbed one does.
            torch.manual_seed((self.seed * 1_000_003 + step) * 64 + self.place.rank)
            # Added up where the network is: reading it each step would make a GPU wait.
            is_small = step < self.recipe.progressive * self.recipe.epochs * len(plan)
            state.loss += self._step(state, *self._mixed(self._images(inputs, is_small=is_small), targets, state))
            state.progress = replace(state.progress, step=state.progress.step + 1)
            self.on_step(state.progress.step, len(plan))
            if time.monotonic() - last_saved > SECONDS_BETWEEN_CHECKPOINTS:
                self._save(self.last, state)
                last_saved = time.monotonic()

    def _plan(self, epoch: int) -> list[Indices]:
        rows = self.train.cache.readable
        plan = epoch_batches(rows, self.weights, epoch=epoch, recipe=self.recipe, seed=self.seed)
        return share_of(plan, rank=self.place.rank, processes=self.place.processes)

    def _set_rate(self, state: "_State", step: int, steps: int) -> None:
        losses = [record["loss"] for record in state.progress.history]
        rate = learning_rate(step, steps=steps, recipe=self.recipe, losses=losses)
        for group in state.optimizer.param_groups:
            group["lr"] = rate * group["factor"]

    def _images(self, inputs: Tensor, *, is_small: bool) -> Tensor:
        """Move a batch to the network; the smaller the images, the faster the step (progressive resizing)."""
        images = to_network(inputs, self.place.device)
        if not is_small:
            return images
        size = max(STRIDE, STRIDE * round(images.shape[-1] * SMALLER / STRIDE))
        smaller = F.interpolate(images, (size, size), mode="bilinear", antialias=True)
        return smaller.contiguous(memory_format=torch.channels_last)

    def _mixed(self, images: Tensor, targets: Targets, state: "_State") -> tuple[Tensor, list[tuple[Targets, float]]]:
        """Mix the images of a batch in pairs (mixup); return them, and what is wanted with the share of each."""
        wanted = targets.to(self.place.device)
        if not self.recipe.mixup or state.progress.epoch >= self.recipe.first_plain_epoch:
            return images, [(wanted, 1.0)]
        share = float(torch.distributions.Beta(self.recipe.mixup, self.recipe.mixup).sample())
        partner = torch.randperm(len(images)).to(images.device)
        return images.lerp(images[partner], 1.0 - share), [(wanted, share), (wanted.of(partner), 1.0 - share)]

    def _step(self, state: "_State", images: Tensor, targets: Sequence[tuple[Targets, float]]) -> Tensor:
        state.optimizer.zero_grad(set_to_none=True)
        with mixed_precision(self.place.device):
            logits = state.part(images).float()
        loss = torch.stack([share * self._loss(state, logits, wanted) for wanted, share in targets]).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), LARGEST_GRADIENT)
        state.optimizer.step()
        if state.average is not None:
            state.average.update(self.network)
        return loss.detach()

    def _loss(self, state: "_State", logits: Tensor, wanted: Targets) -> Tensor:
        losses = state.losses_of(logits, wanted.accepted, smoothing=self.recipe.label_smoothing)
        if wanted.soft is not None:
            losses = with_soft_labels(losses, logits, wanted.soft, self.recipe.soft_share)
        return losses.mean()

    def _close_epoch(self, state: "_State") -> None:
        """Validate in the first process, and let all take the same way from there."""
        measured = self._record(state) if self.place.is_first else {}
        record = {name: self.place.same(measured.get(name, 0.0)) for name in RECORDED}
        result = (record["chosen_top1"], -record["chosen_loss"])
        is_best = result > state.progress.best
        state.progress = replace(
            state.progress,
            epoch=state.progress.epoch + 1,
            step=0,
            best=max(state.progress.best, result),
            since_best=0 if is_best else state.progress.since_best + 1,
            history=(*state.progress.history, record),
        )
        state.loss = torch.zeros_like(state.loss)
        if is_best:
            self._save_best(state)
        self._save(self.last, state)
        if self.place.is_first:
            self.on_epoch(state.progress.history)

    def _record(self, state: "_State") -> dict[str, float]:
        raw = {name: value.clone() for name, value in self.network.state_dict().items()} if state.average else {}
        if state.average is not None:
            self.network.load_state_dict(state.average.values)
        part = TrainedPart(self.network, frozen=self.recipe.frozen)
        measured = validate(part, self.val, self.place.device, self.choosing)
        if raw:
            self.network.load_state_dict(raw)
        loss = float(state.loss) / max(1, state.progress.step)
        return {"epoch": state.progress.epoch + 1.0, "train_loss": loss, **measured, **state.throughput.record()}

    def _save_best(self, state: "_State") -> None:
        if self.place.is_first:
            best = state.average.values if state.average else self.network.state_dict()
            checkpoint.save(self.best, {checkpoint.NETWORK: best}, state.progress)

    def _save(self, path: Path, state: "_State") -> None:
        if self.place.is_first:
            parts = {
                checkpoint.NETWORK: self.network.state_dict(),
                checkpoint.AVERAGE: state.average.values if state.average else {},
                checkpoint.OPTIMIZER: checkpoint.optimizer_tensors(state.optimizer),
            }
            averaged = state.average.steps if state.average else 0
            checkpoint.save(path, parts, replace(state.progress, averaged=averaged, loss=float(state.loss)))


@dataclass(slots=True)
class _State:
    """What changes from step to step. loss: summed over the steps of this epoch.

    losses_of: what is minimised, of each image.
    """

    part: nn.Module
    optimizer: torch.optim.Optimizer
    average: Average | None
    progress: TrainingProgress
    loss: Tensor
    throughput: Throughput
    losses_of: Callable[..., Tensor]

    @classmethod
    def begin(cls, trainer: Trainer) -> "_State":
        """Start at the first step, or resume from the checkpoint of this very run."""
        network, recipe = trainer.network, trainer.recipe
        if recipe.frozen:
            network.freeze()
        all_products = len(trainer.product_rows()) == len(trainer.train.cache.readable)
        state = cls(
            TrainedPart(network, frozen=recipe.frozen),
            make_optimizer(network, recipe),
            None,
            TrainingProgress(trainer.fingerprint, version=__version__),
            torch.zeros((), dtype=torch.float64),
            Throughput(),
            partial_label_losses if all_products else losses_with_no_products,
        )
        found = trainer.find_checkpoint()
        trainer.place.wait()
        if found is not None:
            try:
                network.load_state_dict(found[0][checkpoint.NETWORK])
                checkpoint.load_optimizer(state.optimizer, found[0][checkpoint.OPTIMIZER])
            except (RuntimeError, KeyError, ValueError) as error:
                raise checkpoint.unusable(trainer.last, error) from error
            state.progress = found[1]
        state.average = trainer.make_average()
        if state.average is not None and state.progress.averaged and found is not None:
            state.average.load(found[0][checkpoint.AVERAGE], state.progress.averaged)
        if trainer.place.processes > 1:
            state.part = DistributedDataParallel(state.part)
        return state


def validate(
    part: TrainedPart, val: Inputs, device: torch.device, choosing: Indices | None = None
) -> dict[str, float]:
    """Return loss, top1 and top5 of the validation images; any accepted label is right.

    chosen_loss and chosen_top1 are those of the readable rows in `choosing`; of all where it is None.
    """
    part.eval()
    rows = val.cache.readable
    plan = np.array_split(rows, -(-len(rows) // VALIDATION_BATCH))
    results = []
    with torch.inference_mode():
        for inputs, wanted in val.batches(plan, epoch=None):
            logits = part(to_network(inputs, device)).float().cpu()
            right = wanted.accepted.gather(1, logits.topk(min(5, logits.shape[1]), dim=1).indices)
            losses = partial_label_losses(logits, wanted.accepted).double()
            results.append(torch.stack([losses, right[:, 0].double(), right.any(dim=1).double()]))
    of_each = torch.cat(results, dim=1)
    chosen = of_each if choosing is None else of_each[:, torch.from_numpy(np.isin(rows, choosing))]
    loss, top1, top5 = of_each.mean(dim=1).tolist()
    chosen_loss, chosen_top1, _ = chosen.mean(dim=1).tolist()
    return {"loss": loss, "top1": top1, "top5": top5, "chosen_loss": chosen_loss, "chosen_top1": chosen_top1}


def pooled_features(trainer: Trainer, most: int) -> Floats:
    """Return the mean over the places of the last feature map, float32 N x 1024, of up to `most` training images.

    They are of products: what shows none must not look familiar.
    """
    network = trainer.network.eval()
    device = next(network.parameters()).device
    rows = sample(trainer.product_rows(), most, trainer.seed)
    plan = np.array_split(rows, -(-len(rows) // VALIDATION_BATCH))
    found = []
    with torch.inference_mode():
        for inputs, _ in trainer.train.batches(plan, epoch=None):
            batch = to_network(inputs, device)
            features = batch if trainer.recipe.frozen else network.frozen_features(batch)
            found.append(network.feature_map(features).mean(dim=(2, 3)).float().cpu().numpy())
    return np.concatenate(found)
