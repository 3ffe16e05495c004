"""Splits: shares of each category, nothing that belongs together taken apart, the same for a seed."""

import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy", reason="the extra 'train' is not installed")

from cataloger.errors import TrainingError
from cataloger.training.curation.inventory import Inventory
from cataloger.training.curation.splitting import make_splits
from cataloger.training.data.examples import Example, LabelledImages

SHARES = (0.8, 0.1, 0.1)


def dataset(rows):
    """Make examples from (label or labels, product, split) by number."""
    examples = [
        Example(
            f"{number}.jpg", Path(f"{number}.jpg"), (label,) if isinstance(label, str) else label, split, (), product
        )
        for number, (label, product, split) in enumerate(rows)
    ]
    return LabelledImages(tuple(sorted({label for e in examples for label in e.labels})), tuple(examples))


def inventory(count, *, same=(), alike=()):
    """Make an inventory of different pictures but for groups with the same bytes, and groups that look alike."""
    hashes = np.random.default_rng(0).integers(0, 256, size=(count, 32), dtype=np.uint8)
    digests = [f"{number:032d}".encode() for number in range(count)]
    for first, *others in same:
        for other in others:
            digests[other], hashes[other] = digests[first], hashes[first]
    for first, *others in alike:
        for step, other in enumerate(others):
            hashes[other] = hashes[first]
            hashes[other, step] ^= 0b1111
    return Inventory({}, tuple(digests), hashes, np.zeros((count, 2), dtype=np.int32))


def splits(data):
    return {example.file: example.split for example in data.examples}


def counts(data, label):
    return dict(Counter(example.split for example in data.examples if label in example.labels))


def rows_of(**categories):
    return [(label, "", "") for label, count in categories.items() for _ in range(count)]


def test_every_category_gets_its_shares():
    data = make_splits(dataset(rows_of(Hat=200, Top=50, Bag=20)), inventory(270), SHARES, 0)
    assert counts(data, "Hat") == {"train": 160, "val": 20, "test": 20}
    assert counts(data, "Top") == {"train": 40, "val": 5, "test": 5}
    assert counts(data, "Bag") == {"train": 16, "val": 2, "test": 2}


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (1, {"train": 1}),
        (3, {"train": 3}),
        (4, {"train": 3, "val": 1}),
        (5, {"train": 3, "val": 1, "test": 1}),
        (9, {"train": 7, "val": 1, "test": 1}),
    ],
)
def test_of_a_tiny_category_train_comes_first(count, expected):
    data = make_splits(dataset(rows_of(Hat=50, Tiny=count)), inventory(50 + count), SHARES, 0)
    assert counts(data, "Tiny") == expected


def test_a_product_stays_in_one_split():
    rows = [("Hat", f"p{number // 4}", "") for number in range(200)]
    data = make_splits(dataset(rows), inventory(200), SHARES, 0)
    for product in {example.product for example in data.examples}:
        assert len({example.split for example in data.examples if example.product == product}) == 1
    assert counts(data, "Hat") == {"train": 160, "val": 20, "test": 20}


def test_copies_and_look_alikes_stay_in_one_split_also_over_several_steps():
    # 0 and 1 are of one product, 1 and 2 have the same bytes, 2 and 3 look alike.
    rows = [("Hat", "p", ""), ("Hat", "p", ""), *rows_of(Hat=98)]
    found = inventory(100, same=[(1, 2)], alike=[(2, 3)])
    for seed in range(20):
        chosen = splits(make_splits(dataset(rows), found, SHARES, seed))
        assert len({chosen[f"{number}.jpg"] for number in range(4)}) == 1


def test_a_product_of_half_the_category_does_not_end_in_val():
    rows = [("Hat", "big" if number < 50 else "", "") for number in range(100)]
    for seed in range(20):
        data = make_splits(dataset(rows), inventory(100), SHARES, seed)
        assert {example.split for example in data.examples if example.product == "big"} == {"train"}
        assert counts(data, "Hat") == {"train": 80, "val": 10, "test": 10}


def test_the_order_of_the_rows_does_not_matter_and_the_seed_does():
    data, found = dataset(rows_of(Hat=60, Top=40)), inventory(100)
    order = list(range(100))
    random.Random(1).shuffle(order)
    turned = LabelledImages(data.labels, tuple(data.examples[index] for index in order))
    first = splits(make_splits(data, found, SHARES, 0))
    assert splits(make_splits(turned, found.take(order), SHARES, 0)) == first
    assert splits(make_splits(data, found, SHARES, 1)) != first


def test_a_new_image_moves_few_of_the_others():
    before = splits(make_splits(dataset(rows_of(Hat=300)), inventory(300), SHARES, 0))
    after = splits(make_splits(dataset(rows_of(Hat=301)), inventory(301), SHARES, 0))
    assert sum(after[file] != split for file, split in before.items()) < 60


def test_splits_that_are_named_stay():
    data = dataset([("Hat", "", "train"), ("Top", "", "val"), ("Top", "", "test")] * 5)
    assert make_splits(data, inventory(15), SHARES, 0) is data


def test_val_is_cut_from_train_when_only_it_is_missing():
    rows = [("Hat", "", "train")] * 90 + [("Hat", "", "test")] * 10
    data = make_splits(dataset(rows), inventory(100), SHARES, 0)
    assert counts(data, "Hat") == {"train": 80, "val": 10, "test": 10}
    assert {splits(data)[f"{number}.jpg"] for number in range(90, 100)} == {"test"}


def test_without_a_share_nothing_is_put_into_test():
    data = make_splits(dataset(rows_of(Hat=100)), inventory(100), (3.0, 1.0, 0.0), 0)
    assert counts(data, "Hat") == {"train": 75, "val": 25}


def test_partial_labels_are_split_as_a_stratum_of_their_own():
    rows = rows_of(Hat=100) + [(("Hat", "Top"), "", "") for _ in range(50)]
    data = make_splits(dataset(rows), inventory(150), SHARES, 0)
    assert counts(data, "Top") == {"train": 40, "val": 5, "test": 5}


def test_if_val_would_be_empty_less_is_enough():
    data = make_splits(dataset(rows_of(Hat=3, Top=2)), inventory(5), SHARES, 0)
    assert counts(data, "Hat") == {"train": 1, "val": 1, "test": 1}
    assert counts(data, "Top") == {"train": 1, "val": 1}


def test_too_few_images_are_an_error_that_says_how_many_are_needed():
    with pytest.raises(TrainingError, match="needs two"):
        make_splits(dataset(rows_of(Hat=1, Top=1)), inventory(2), SHARES, 0)


def test_splits_without_train_are_an_error():
    with pytest.raises(TrainingError, match="no image has split train, only test"):
        make_splits(dataset([("Hat", "", "test")] * 9), inventory(9), SHARES, 0)
