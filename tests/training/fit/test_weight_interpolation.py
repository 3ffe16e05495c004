"""Weights between the start's and the trained ones."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra 'train' is not installed")
pytest.importorskip("torchvision", reason="the extra 'train' is not installed")

from cataloger.errors import UsageError  # noqa: E402
from cataloger.model.network import Network  # noqa: E402
from cataloger.options import NetworkConfig  # noqa: E402
from cataloger.training.fit.distributed import Place  # noqa: E402
from cataloger.training.fit.trainer import Trainer  # noqa: E402
from cataloger.training.fit.weight_interpolation import blend, check_blend  # noqa: E402
from cataloger.training.inputs.augmentation import Augmentation  # noqa: E402
from cataloger.training.inputs.batches import LabelledPixels, Targets  # noqa: E402
from cataloger.training.inputs.cache import ExampleCache  # noqa: E402
from cataloger.training.recipes import RECIPES  # noqa: E402


@pytest.fixture
def trainer(tmp_path):
    torch.manual_seed(0)
    network = Network(NetworkConfig(classes=2, width=16, heads=2, hidden=8), size=32)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 1, 32, 32, 3), dtype=np.uint8)
    cache = ExampleCache(pixels, np.arange(40), ())
    inputs = LabelledPixels(cache, Targets(torch.ones(40, 2, dtype=torch.bool)), Augmentation(32, seed=0))
    place = Place(torch.device("cpu"))
    return Trainer(network, inputs, inputs, None, RECIPES["full"], 0, tmp_path, "print", place)


def started(trainer):
    return {name: value.clone() for name, value in trainer.network.state_dict().items()}


def test_each_weight_lies_between_the_two(trainer):
    start = started(trainer)
    with torch.no_grad():
        for value in trainer.network.parameters():
            value.add_(1.0)
    blend(trainer, start, 0.25)
    for name, value in trainer.network.named_parameters():
        assert torch.allclose(value, start[name] + 0.75, atol=1e-5), name


def test_statistics_are_those_of_the_blended_network(trainer):
    start = started(trainer)
    with torch.no_grad():
        trainer.network.conv1.conv.weight.mul_(3.0)
    blend(trainer, start, 0.5)
    seen = []
    trainer.network.conv1.conv.register_forward_hook(lambda module, args, output: seen.append(output))
    rows = [np.arange(40)]
    with torch.no_grad():
        for pixels, _ in trainer.train.batches(rows, epoch=None):
            trainer.network(pixels.permute(0, 3, 1, 2).float() / 127.5 - 1)
    measured = seen[0].mean(dim=(0, 2, 3))
    assert torch.allclose(trainer.network.conv1.bn.running_mean, measured, atol=1e-5)
    assert trainer.network.conv1.bn.momentum == 0.1
    assert not trainer.network.training


def test_frozen_layers_keep_their_statistics(trainer):
    frozen = replace(trainer, recipe=RECIPES["quick"])
    frozen.network.freeze()
    before = started(frozen)
    features = torch.rand(40, 512, 1, 1)

    class Features:
        cache = frozen.train.cache

        def batches(self, plan, *, epoch):
            yield from ((features[torch.from_numpy(rows)], None) for rows in plan)

    blend(replace(frozen, train=Features()), before, 0.5)
    after = frozen.network.state_dict()
    assert torch.equal(after["conv1.bn.running_var"], before["conv1.bn.running_var"])
    assert not torch.equal(after["block13.pointwise.bn.running_var"], before["block13.pointwise.bn.running_var"])


def test_a_start_without_a_category_cannot_be_blended_with():
    check_blend(0.3, known=("Hat", "Shirt", "Tie"), wanted=("Hat", "Tie"))
    check_blend(0.0, known=(), wanted=("Hat",))
    with pytest.raises(UsageError, match="1 are new to it"):
        check_blend(0.3, known=("Hat",), wanted=("Hat", "Cape"))
    with pytest.raises(UsageError, match="--blend must be at least 0 and below 1"):
        check_blend(1.0, known=("Hat",), wanted=("Hat",))
