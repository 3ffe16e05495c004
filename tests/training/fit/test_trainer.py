"""The loss, the schedule, checkpoints, and that a resumed run equals an undisturbed one."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra 'train' is not installed")
pytest.importorskip("torchvision", reason="the extra 'train' is not installed")

from full_disk import full_disk  # noqa: E402
from safetensors.torch import save as serialize  # noqa: E402

from cataloger import __version__  # noqa: E402
from cataloger.errors import OutputError, TrainingError, UsageError  # noqa: E402
from cataloger.model.network import Network  # noqa: E402
from cataloger.options import NetworkConfig, PreprocessSpec  # noqa: E402
from cataloger.training.data import Example  # noqa: E402
from cataloger.training.fit import checkpoint  # noqa: E402
from cataloger.training.fit import trainer as engine  # noqa: E402
from cataloger.training.fit.distributed import Place  # noqa: E402
from cataloger.training.fit.ema import Average  # noqa: E402
from cataloger.training.fit.loss import partial_label_losses, with_soft_labels  # noqa: E402
from cataloger.training.fit.trainer import Trainer, make_optimizer  # noqa: E402
from cataloger.training.inputs.augmentation import Augmentation  # noqa: E402
from cataloger.training.inputs.batches import LabelledFeatures, LabelledPixels, Targets  # noqa: E402
from cataloger.training.inputs.cache import ExampleCache, cached  # noqa: E402
from cataloger.training.recipes import RECIPES  # noqa: E402

QUICK = replace(RECIPES["quick"], epochs=3, batch_size=8, ema=0.9)
FULL = replace(RECIPES["full"], epochs=2, batch_size=4, ema=0.5)
CPU = Place(torch.device("cpu"))


def truth_of(count, classes=3):
    return np.arange(count) % classes


def features(count, classes=3, views=2):
    random = np.random.default_rng(3)
    truth = truth_of(count, classes)
    maps = random.normal(0, 1, size=(count, views, 7, 7, 512)).clip(0, 6).astype(np.float16)
    maps[..., :classes] += 3 * np.eye(classes)[truth][:, None, None, None, :].astype(np.float16)
    accepted = torch.from_numpy(np.eye(classes, dtype=bool)[truth])
    return LabelledFeatures(ExampleCache(maps, np.arange(count), ()), Targets(accepted))


def pixels(count, size=64):
    random = np.random.default_rng(4)
    values = random.integers(0, 60, size=(count, 1, size, size, 3), dtype=np.uint8)
    for row, label in enumerate(truth_of(count)):
        values[row, ..., label] += 150
    accepted = torch.from_numpy(np.eye(3, dtype=bool)[truth_of(count)])
    return LabelledPixels(ExampleCache(values, np.arange(count), ()), Targets(accepted), Augmentation(size, 0))


class StoppedError(Exception):
    """Stands for a process that dies."""


def trainer(work, recipe=QUICK, stop_at=None, fingerprint="print", seen=None):
    torch.manual_seed(0)
    size = 224 if recipe.frozen else 64
    network = Network(NetworkConfig(classes=3, width=32, heads=4, hidden=16), size=size)
    steps = []

    def on_step(done, total):
        steps.append(done)
        if len(steps) == stop_at:
            raise StoppedError

    inputs = (features(24), features(9, views=1)) if recipe.frozen else (pixels(16), pixels(6))
    on_epoch = (seen if seen is not None else []).append
    return Trainer(network, *inputs, None, recipe, 0, work, fingerprint, CPU, on_step, on_epoch)


def equal(first, second):
    expected = second.state_dict()
    return all(torch.equal(value, expected[name]) for name, value in first.state_dict().items())


def test_one_accepted_label_gives_the_cross_entropy():
    logits = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    truth = torch.tensor([0, 1, 2, 3, 0, 1])
    accepted = torch.nn.functional.one_hot(truth, 4).bool()
    expected = torch.nn.functional.cross_entropy(logits, truth)
    torch.testing.assert_close(partial_label_losses(logits, accepted).mean(), expected)


def test_smoothing_is_that_of_the_cross_entropy():
    logits = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
    truth = torch.tensor([3, 1, 2, 3, 0, 0])
    accepted = torch.nn.functional.one_hot(truth, 4).bool()
    expected = torch.nn.functional.cross_entropy(logits, truth, label_smoothing=0.1)
    torch.testing.assert_close(partial_label_losses(logits, accepted, smoothing=0.1).mean(), expected)


def test_several_accepted_labels_cost_their_summed_probability():
    logits = torch.log(torch.tensor([[0.2, 0.3, 0.5]]))
    loss = partial_label_losses(logits, torch.tensor([[True, True, False]]))
    assert loss.item() == pytest.approx(-np.log(0.5))


def test_soft_labels_take_their_share_of_the_loss_of_images_that_have_them():
    logits = torch.randn(3, 4, generator=torch.Generator().manual_seed(2))
    truth = torch.tensor([0, 1, 2])
    soft = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]])
    own = partial_label_losses(logits, torch.nn.functional.one_hot(truth, 4).bool())
    found = with_soft_labels(own, logits, soft, 0.25)
    hard = torch.nn.functional.cross_entropy(logits, truth, reduction="none")
    taught = torch.nn.functional.cross_entropy(logits, soft, reduction="none")
    torch.testing.assert_close(found, torch.where(soft.any(dim=1), 0.75 * hard + 0.25 * taught, hard))


@pytest.mark.parametrize("mixup", [0.0, 0.4])
@pytest.mark.parametrize("recipe", [QUICK, FULL], ids=["quick", "full"])
def test_a_teacher_that_is_believed_alone_is_learned_from_alone(tmp_path, recipe, mixup):
    """The labels say one category, the teacher the next one: with the whole share only the teacher counts.

    The steps are next to nothing, since two trainings that learn drift apart by rounding alone.
    """
    recipe = replace(recipe, soft_share=1.0, label_smoothing=0.0, mixup=mixup, learning_rate=1e-9)
    made = trainer(tmp_path / "teacher", recipe)
    right = made.train.targets.accepted
    taught = replace(made.train, targets=Targets(right, right.roll(1, dims=1).float()))
    rolled = replace(made.train, targets=Targets(right.roll(1, dims=1)))
    found = replace(made, train=taught).run().history
    expected = replace(trainer(tmp_path / "labels", recipe), train=rolled).run().history
    assert [record["train_loss"] for record in found] == pytest.approx(
        [record["train_loss"] for record in expected], rel=1e-4
    )


@pytest.mark.parametrize("recipe", [QUICK, FULL], ids=["quick", "full"])
def test_training_learns_and_keeps_the_best_epoch(tmp_path, recipe):
    progress = trainer(tmp_path, replace(recipe, learning_rate=3e-3, epochs=6, patience=6)).run()
    assert progress.history[-1]["train_loss"] < progress.history[0]["train_loss"]
    assert progress.best[0] == max(record["top1"] for record in progress.history)
    # The running statistics of all layers take more steps than these to settle.
    assert progress.best[0] > 1 / 3 or not recipe.frozen


def test_the_chosen_validation_images_choose_the_best_epoch(tmp_path):
    made = trainer(tmp_path, replace(QUICK, learning_rate=3e-3, patience=9))
    chosen = replace(made, choosing=np.array([0, 3, 6]))
    progress = chosen.run()
    part = engine.TrainedPart(chosen.network, frozen=True)
    measured = engine.validate(part, chosen.val, CPU.device, chosen.choosing)
    assert progress.best[0] == max(record["chosen_top1"] for record in progress.history)
    with torch.inference_mode():
        [(inputs, wanted)] = chosen.val.batches([np.array([0, 3, 6])], epoch=None)
        expected = torch.nn.functional.cross_entropy(part(inputs), wanted.accepted.int().argmax(dim=1))
    assert measured["chosen_loss"] == pytest.approx(float(expected), rel=1e-4)
    assert measured["chosen_loss"] != measured["loss"]


def test_the_last_third_of_the_steps_is_averaged():
    network = torch.nn.Linear(1, 1, bias=False)
    average = Average(network, None, skipped=4)
    for value in range(1, 7):
        torch.nn.init.constant_(network.weight, value)
        average.update(network)
        if value == 4:
            assert float(average.values["weight"]) == 4
    assert float(average.values["weight"]) == pytest.approx(5.5)


def test_the_recipe_says_what_is_averaged(tmp_path):
    assert trainer(tmp_path, replace(QUICK, average_last=1 / 3)).make_average().skipped == 6
    assert trainer(tmp_path, replace(QUICK, ema=0.0)).make_average() is None


def test_mixup_mixes_images_with_their_labels(tmp_path):
    made = trainer(tmp_path, replace(FULL, mixup=0.4, plain_epochs=1))
    images, accepted = torch.rand(6, 3, 8, 8), torch.eye(6, dtype=torch.bool)
    state = SimpleNamespace(progress=checkpoint.TrainingProgress("print"))
    torch.manual_seed(3)
    mixed, [(own, share), (other, rest)] = made._mixed(images, Targets(accepted), state)
    assert share + rest == pytest.approx(1.0)
    partner = other.accepted.int().argmax(dim=1)
    torch.testing.assert_close(mixed, share * images + rest * images[partner])
    assert own.accepted.equal(accepted)
    state.progress = checkpoint.TrainingProgress("print", epoch=1)
    assert made._mixed(images, Targets(accepted), state)[0] is images


def test_the_last_epochs_are_augmented_lightly(tmp_path):
    strong, light = Augmentation(64, 0, strength="strong"), Augmentation(64, 0)
    inputs = replace(pixels(8), augmentation=strong, late=light, late_from=2)
    plan = [np.arange(8)]

    def shown(inputs, epoch):
        return next(iter(inputs.batches(plan, epoch=epoch)))[0]

    assert torch.equal(shown(inputs, 1), shown(replace(inputs, late=None), 1))
    assert torch.equal(shown(inputs, 2), shown(replace(inputs, augmentation=light), 2))
    assert not torch.equal(shown(inputs, 2), shown(replace(inputs, late=None), 2))


RESUMED = [
    QUICK,
    FULL,
    replace(FULL, progressive=0.5),
    replace(FULL, mixup=0.4, average_last=0.5),
    replace(RECIPES["paper"], epochs=2, batch_size=8),
]


@pytest.mark.parametrize("recipe", RESUMED)
def test_a_run_that_dies_within_an_epoch_ends_with_the_same_weights(tmp_path, recipe, monkeypatch):
    undisturbed = trainer(tmp_path / "a", recipe)
    undisturbed.run()
    monkeypatch.setattr(engine, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    with pytest.raises(StoppedError):
        trainer(tmp_path / "b", recipe, stop_at=2).run()
    assert checkpoint.load(tmp_path / "b" / "last.safetensors")[1].step == 1
    with pytest.raises(StoppedError):
        trainer(tmp_path / "b", recipe, stop_at=4).run()
    resumed = trainer(tmp_path / "b", recipe)
    assert len(resumed.run().history) == recipe.epochs
    assert equal(resumed.network, undisturbed.network)
    assert not equal(resumed.network, trainer(tmp_path / "c", recipe).network)


def test_a_checkpoint_of_another_run_is_not_resumed(tmp_path):
    trainer(tmp_path, replace(QUICK, epochs=1)).run()
    seen = []
    notes = []
    other = trainer(tmp_path, replace(QUICK, epochs=1), fingerprint="another", seen=seen)
    replace(other, on_note=notes.append).run()
    assert [len(history) for history in seen] == [1]
    assert notes == [
        f"{tmp_path}/last.safetensors is of another training (other images, settings or start) and is not resumed"
    ]
    assert checkpoint.load(other.last)[1].version == __version__


def test_an_unfinished_training_of_another_version_is_not_thrown_away(tmp_path):
    """Version 0.1.0 noted no version; what it had finished is in no way of a new training."""
    run = trainer(tmp_path, replace(QUICK, epochs=2))
    for version, named in (("", "0.1.0"), ("0.2.7", "0.2.7")):
        progress = checkpoint.TrainingProgress("another", epoch=1, version=version)
        checkpoint.save(run.last, {"network": {"a": torch.ones(2)}}, progress)
        before = run.last.read_bytes()
        with pytest.raises(TrainingError, match=f"cataloger {named} has begun, .* finish it with that version"):
            run.run()
        assert run.last.read_bytes() == before
    checkpoint.save(run.last, {"network": {"a": torch.ones(2)}}, replace(progress, epoch=2))
    assert len(run.run().history) == 2


def test_training_ends_early_when_nothing_gets_better(tmp_path):
    stuck = replace(QUICK, learning_rate=1e-12, epochs=9, patience=2, ema=0.0)
    assert len(trainer(tmp_path, stuck).run().history) < 9


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path):
    progress = checkpoint.TrainingProgress("print", epoch=3)
    checkpoint.save(tmp_path / "x", {"network": {"a": torch.ones(2)}}, progress)
    with full_disk(5000), pytest.raises(OutputError, match="x cannot be written: File too large; the checkpoint bef"):
        checkpoint.save(tmp_path / "x", {"network": {"a": torch.ones(5000)}}, progress)
    assert checkpoint.load(tmp_path / "x")[1].epoch == 3
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_full_disk_is_told_before_the_cache_is_filled(tmp_path):
    class Ones:
        spec, views, shape, dtype, identity = PreprocessSpec(), 1, (1000,), np.uint8, "ones"

    with full_disk(5000), pytest.raises(OutputError, match=r"values\.npy cannot be written: File too large"):
        cached(tmp_path, [Example("a", tmp_path / "a", ("Hat",), "train")] * 50, Ones(), progress=lambda done: None)


def test_a_damaged_checkpoint_says_what_to_do(tmp_path):
    path = tmp_path / "last.safetensors"
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(TrainingError, match="delete it to start again"):
        checkpoint.load(path)


def test_a_hostile_checkpoint_is_refused_in_one_line(tmp_path):
    path = tmp_path / "last.safetensors"
    ours = '{"fingerprint": "x", "best": [0, 0], "history": []}'
    for progress, name in (
        *(("[" * 100_000, "network.a"), ("null", "network.a"), (ours, "no_part")),
        (ours.replace("{", '{"step": "many", '), "network.a"),
        (ours.replace("{", '{"epoch": -1, '), "network.a"),
        (ours.replace("[]", '["\\u001b[31m"]'), "network.a"),
    ):
        path.write_bytes(serialize({name: torch.ones(1)}, metadata={"progress": progress}))
        with pytest.raises(TrainingError, match="delete it to start again") as raised:
            checkpoint.load(path)
        assert str(raised.value).isprintable()


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    run = trainer(tmp_path, replace(QUICK, epochs=1))
    checkpoint.save(run.last, {"network": {"a": torch.ones(2)}}, checkpoint.TrainingProgress(run.fingerprint))
    with pytest.raises(TrainingError, match="delete it to start again"):
        run.run()


def test_weight_decay_spares_biases_and_norms_and_the_head_may_be_faster():
    groups = make_optimizer(Network(NetworkConfig(classes=3)), RECIPES["full"]).param_groups
    assert {(group["factor"], group["weight_decay"]) for group in groups} == {
        (1.0, 0.05), (1.0, 0.0), (2.0, 0.05), (2.0, 0.0)
    }  # fmt: skip
    for group in groups:
        assert all((p.ndim >= 2) == (group["weight_decay"] > 0) for p in group["params"])


def test_frozen_layers_are_not_touched(tmp_path):
    run = trainer(tmp_path, replace(QUICK, epochs=1))
    before = {name: value.clone() for name, value in run.network.state_dict().items()}
    run.run()
    after = run.network.state_dict()
    frozen = [name for name in before if name.startswith(("conv1", "block1.", "block11.", "block12.depthwise"))]
    assert frozen
    assert all(torch.equal(before[name], after[name]) for name in frozen)
    assert not torch.equal(before["block13.pointwise.conv.weight"], after["block13.pointwise.conv.weight"])


def sizes_seen(run):
    seen = []
    run.network.conv1.register_forward_pre_hook(
        lambda module, args: seen.append(args[0].shape[-1]) if module.training else None
    )
    run.run()
    return seen


def test_a_progressive_recipe_begins_with_smaller_images(tmp_path):
    # Two epochs of four steps each.
    assert sizes_seen(trainer(tmp_path / "a", replace(FULL, progressive=0.75))) == [32] * 6 + [64] * 2
    assert sizes_seen(trainer(tmp_path / "b", FULL)) == [64] * 8


def test_what_is_cached_cannot_get_smaller():
    with pytest.raises(UsageError, match="--progressive needs all layers trained"):
        replace(RECIPES["quick"], progressive=0.5)
