"""Two bundles compared: the shipped one, and copies of it whose labels have been exchanged."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cataloger.errors import TrainingError
from cataloger.model.bundle import default_bundle_path, read_bundle, seal
from cataloger.training.data.read import read_dataset
from cataloger.training.evaluation.folding import FoldMap
from cataloger.training.evaluation.model_diff import Comparison, compare_bundles, compare_predictions
from cataloger.training.evaluation.scoring import score_together
from cataloger.training.options import DataOptions

EXAMPLES = Path(__file__).parents[3] / "examples"
LABELS = ("Hat", "Shirt", "Top")


@pytest.fixture(scope="module")
def pictures():
    return list(read_dataset(DataOptions(data=EXAMPLES / "labels.csv", images=EXAMPLES / "images")).examples)


@pytest.fixture(scope="module")
def shipped():
    return read_bundle(default_bundle_path())


@pytest.fixture
def renamed(tmp_path, shipped):
    """Return a function: old label -> new one, and what else to replace -> a copy of the shipped bundle."""

    def copy(labels, **changes):
        target = tmp_path / f"copy-{len(list(tmp_path.iterdir()))}"
        shutil.copytree(default_bundle_path(), target)
        names = tuple(labels.get(label, label) for label in shipped.labels)
        seal(replace(shipped, path=target, labels=names, name="copy", **changes))
        return read_bundle(target)

    return copy


def test_better_and_worse_by_hand(make_examples, make_predictions):
    examples = make_examples(*["Hat"] * 10, *["Shirt"] * 10)
    a = make_predictions(LABELS, *[("Hat", 0.9)] * 10, *[("Top", 0.6)] * 4, *[("Shirt", 0.8)] * 6)
    b = make_predictions(LABELS, *[("Hat", 0.7)] * 9, ("Top", 0.95), *[("Shirt", 0.9)] * 10)
    difference = compare_predictions(Comparison("A", "B", LABELS), examples, a, b, number=3)
    top1, top3 = difference.changes[:2]
    assert (top1.name, top1.a, top1.b, top1.difference.value) == ("top-1", 0.8, 0.95, pytest.approx(0.15))
    assert (top3.a, top3.b, top3.difference.value) == (1.0, 1.0, 0.0)
    assert (difference.only_a_count, difference.only_b_count) == (1, 4)
    assert difference.p_value == pytest.approx(2 * (1 + 5) / 32)
    assert [(c.label, c.difference, c.is_loss) for c in difference.classes] == [
        ("Hat", pytest.approx(-0.1), True),
        ("Shirt", pytest.approx(0.4), False),
    ]
    (lost,) = difference.only_a
    assert (lost.file, lost.given, lost.a, lost.b, lost.confidence) == ("9.jpg", ("Hat",), "Hat", "Top", 0.9)
    assert len(difference.only_b) == 3


def test_a_bundle_does_not_differ_from_itself(shipped, pictures):
    difference = compare_bundles(shipped, shipped, pictures)
    assert difference.images == 20
    assert (difference.only_a_count, difference.only_b_count, difference.p_value) == (0, 0, 1.0)
    assert all(change.difference.value == 0.0 for change in difference.changes)
    assert not any(each.is_loss for each in difference.classes)


def test_exchanged_labels_are_a_loss_that_is_named_first(shipped, pictures, renamed):
    difference = compare_bundles(shipped, renamed({"Hat": "Sunglasses", "Sunglasses": "Hat"}), pictures)
    worst = {each.label for each in difference.classes if each.is_loss}
    assert worst == {"Hat", "Sunglasses"}
    assert {each.label for each in difference.classes[:2]} == worst
    assert difference.compared.only_a == difference.compared.only_b == ()
    assert {each.given for each in difference.only_a} == {("Hat",), ("Sunglasses",)}
    assert all(each.b == {"Hat": "Sunglasses", "Sunglasses": "Hat"}[each.a] for each in difference.only_a)
    assert difference.only_a_count == 6


def test_labels_that_one_alone_knows_are_said_and_left_out(shipped, pictures, renamed):
    difference = compare_bundles(shipped, renamed({"Hat": "Headgear"}), pictures)
    compared = difference.compared
    assert (compared.only_a, compared.only_b, len(compared.shared)) == (("Hat",), ("Headgear",), 49)
    hats = sum("Hat" in example.labels for example in pictures)
    assert compared.left_out == {"Hat": hats}
    assert difference.images == 20 - hats


def test_models_without_a_common_label_cannot_be_compared(shipped, pictures, renamed):
    other = renamed({label: f"my {label}" for label in shipped.labels})
    with pytest.raises(TrainingError, match="have no label of these images in common"):
        compare_bundles(shipped, other, pictures)


def test_bundles_that_see_images_differently_are_still_compared_on_the_same_ones(
    shipped, pictures, renamed, tmp_path
):
    broken = replace(pictures[0], file="broken.png", path=tmp_path / "broken.png")
    broken.path.write_bytes(b"no picture")
    other = renamed({}, preprocess=replace(shipped.preprocess, resampling="bicubic"))
    done = []
    scores = score_together(
        (shipped, other), [broken, *pictures], begin=lambda total: lambda at: done.append((at, total))
    )
    assert scores[0].examples == scores[1].examples == tuple(pictures)
    assert not np.array_equal(scores[0].logits, scores[1].logits)
    assert done[-1] == (42, 42)
    assert all("broken.png" in each.failures[0] for each in scores)


def test_a_newer_label_counts_as_the_older_one_and_the_rest_is_counted_apart(shipped, pictures, renamed):
    newer = renamed({"Hat": "Headgear"})
    difference = compare_bundles(shipped, newer, pictures, fold=FoldMap({"Headgear": ("Hat",)}))
    hats = sum("Hat" in example.labels for example in pictures)
    assert (difference.images, difference.only_a_count, difference.only_b_count) == (20, 0, 0)
    assert difference.compared.folded == {"Headgear": ("Hat",)}
    assert difference.parts["unfolded"].images == 20 - hats
    assert difference.alone_a is difference.alone_b is None


def test_images_that_only_one_can_answer_are_counted_apart(shipped, pictures, renamed):
    difference = compare_bundles(shipped, renamed({"Hat": "Headgear"}), pictures)
    hats = [example for example in pictures if example.labels == ("Hat",)]
    assert difference.alone_a.images == len(hats)
    assert difference.alone_a.top1.value > 0.5
    assert difference.alone_b is None


def test_an_image_counts_where_each_knows_one_of_its_labels(shipped, pictures, renamed):
    either = [replace(each, labels=("Hat", "Headgear")) for each in pictures if each.labels == ("Hat",)]
    difference = compare_bundles(shipped, renamed({"Hat": "Headgear"}), either)
    assert (difference.images, difference.changes[0].difference.value) == (len(either), 0.0)
    assert difference.compared.left_out == {}


def test_parts_groups_and_decisions_by_hand(make_examples, make_predictions):
    examples = make_examples(*["Hat"] * 4, *["Shirt|Top"] * 4)
    examples = [
        replace(each, groups=("a" if number % 2 else "b",), product=f"shop {number // 2}")
        for number, each in enumerate(examples)
    ]
    wrong, right = ("Top", 0.9), ("Hat", 0.9)
    decisions = ("accept", "review", "accept", "abstain", *["accept"] * 4)
    a = make_predictions(LABELS, right, wrong, right, wrong, *[wrong] * 4, decisions=decisions)
    b = make_predictions(LABELS, *[right] * 4, *[wrong] * 4, decisions=["accept"] * 8)
    difference = compare_predictions(Comparison("A", "B", LABELS), examples, a, b)
    assert difference.parts["one_label"].images == 4
    assert difference.parts["one_label"].top1.difference.value == 0.5
    assert {name: part.top1.difference.value for name, part in difference.groups.items()} == {"a": 0.5, "b": 0.0}
    top1 = difference.changes[0]
    assert (top1.a_share.value, top1.b_share.value, top1.over_groups.groups) == (0.75, 1.0, 4)
    assert top1.over_groups.difference.value == 0.25
    found = difference.decisions
    assert (found.a.coverage.value, found.b.coverage.value, found.coverage.value) == (0.75, 1.0, 0.25)
    assert (found.precision.value, found.coverage_over_groups.value) == (0.0, 0.25)
