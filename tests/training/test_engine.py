"""The loss, the schedule, checkpoints, and that a resumed run equals an undisturbed one."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra 'train' is not installed")
pytest.importorskip("torchvision", reason="the extra 'train' is not installed")

from cataloger.errors import TrainingError  # noqa: E402
from cataloger.network import Network  # noqa: E402
from cataloger.options import NetworkConfig  # noqa: E402
from cataloger.training import checkpoint  # noqa: E402
from cataloger.training.config import DataOptions, TrainOptions  # noqa: E402
from cataloger.training.engine import (  # noqa: E402
    LabelledFeatures,
    Trainer,
    epoch_batches,
    learning_rate,
    make_optimizer,
    partial_label_loss,
)
from cataloger.training.features import FeatureCache  # noqa: E402


@pytest.fixture
def options(tmp_path):
    def make(**values):
        paths = dict.fromkeys(("output", "start"), tmp_path)
        return TrainOptions(
            data=DataOptions(data=tmp_path),
            **paths,
            work=tmp_path / values.pop("folder", "work"),
            batch_size=8,
            **values,
        )

    return make


def labelled(count, classes, views=2):
    random = np.random.default_rng(3)
    truth = np.arange(count) % classes
    maps = random.normal(0, 1, size=(count, views, 7, 7, 512)).clip(0, 6).astype(np.float16)
    maps[..., :classes] += 3 * np.eye(classes)[truth][:, None, None, None, :].astype(np.float16)
    accepted = torch.from_numpy(np.eye(classes, dtype=bool)[truth])
    return LabelledFeatures(FeatureCache(maps, np.arange(count), ()), accepted)


def trainer(options, stop_after=None):
    torch.manual_seed(0)
    network = Network(NetworkConfig(classes=3, width=32, heads=4, hidden=16))
    network.freeze()
    seen = []

    def on_epoch(record):
        seen.append(record)
        if len(seen) == stop_after:
            raise KeyboardInterrupt

    return Trainer(network, labelled(24, 3), labelled(9, 3, views=1), options, "print", lambda *_: None, on_epoch)


def test_one_accepted_label_gives_the_cross_entropy():
    logits = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    truth = torch.tensor([0, 1, 2, 3, 0, 1])
    accepted = torch.nn.functional.one_hot(truth, 4).bool()
    expected = torch.nn.functional.cross_entropy(logits, truth)
    torch.testing.assert_close(partial_label_loss(logits, accepted), expected)


def test_several_accepted_labels_cost_their_summed_probability():
    logits = torch.log(torch.tensor([[0.2, 0.3, 0.5]]))
    loss = partial_label_loss(logits, torch.tensor([[True, True, False]]))
    assert loss.item() == pytest.approx(-np.log(0.5))


def test_the_learning_rate_warms_up_and_falls_to_zero(options):
    chosen = options(learning_rate=1.0, warmup=0.1)
    rates = [learning_rate(step, steps=100, options=chosen) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9] == rates[10] == 1.0
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 0.001


def test_an_epoch_holds_every_image_once_and_differs_from_the_next(options):
    features, chosen = labelled(24, 3), options()
    first, again, second = (
        [rows.tolist() for rows, _ in epoch_batches(features, epoch, chosen)] for epoch in (0, 0, 1)
    )
    assert sorted(row for batch in first for row in batch) == list(range(24))
    assert first == again != second


def test_training_learns_and_keeps_the_best_epoch(options):
    run = trainer(options(epochs=4, learning_rate=3e-3))
    progress = run.run()
    assert progress.history[-1]["train_loss"] < progress.history[0]["train_loss"]
    assert progress.best == max(record["top1"] for record in progress.history) > 1 / 3


def test_a_run_that_was_stopped_ends_with_the_same_weights(options):
    undisturbed = trainer(options(epochs=3, folder="a"))
    undisturbed.run()
    with pytest.raises(KeyboardInterrupt):
        trainer(options(epochs=3, folder="b"), stop_after=1).run()
    resumed = trainer(options(epochs=3, folder="b"))
    assert len(resumed.run().history) == 3
    expected = undisturbed.network.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in resumed.network.state_dict().items())


def test_a_checkpoint_of_another_run_is_not_resumed(options):
    first = trainer(options(epochs=1))
    first.run()
    other = trainer(options(epochs=1))
    object.__setattr__(other, "fingerprint", "another")
    seen = []
    object.__setattr__(other, "on_epoch", seen.append)
    other.run()
    assert len(seen) == 1


def test_a_damaged_checkpoint_says_what_to_do(tmp_path):
    path = tmp_path / "last.safetensors"
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(TrainingError, match="delete it to start again"):
        checkpoint.load(path, Network(NetworkConfig(classes=3)))


def test_weight_decay_spares_biases_and_norms(options):
    network = Network(NetworkConfig(classes=3))
    network.freeze()
    decayed, spared = make_optimizer(network, options()).param_groups
    assert decayed["weight_decay"] > 0 == spared["weight_decay"]
    assert all(p.ndim >= 2 for p in decayed["params"])
    assert all(p.ndim < 2 for p in spared["params"])
