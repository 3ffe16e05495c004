"""The inventory: what files are, kept between runs, and how near two pictures look."""

import hashlib
import itertools
import os
import shutil

import numpy as np
import pytest

pytest.importorskip("imagehash", reason="the extra 'train' is not installed")

from cataloger.errors import TrainingError
from cataloger.options import PreprocessSpec
from cataloger.training.curation import inventory as inventories
from cataloger.training.curation.inventory import take_inventory
from cataloger.training.curation.near_duplicates import groups_of, near_pairs
from cataloger.training.data.examples import Example

SPEC = PreprocessSpec()


def examples_of(folder):
    return [Example(path.name, path, ("Hat",), "") for path in sorted(folder.iterdir())]


def distance(inventory, first, second):
    return int(np.unpackbits(inventory.phash[first] ^ inventory.phash[second]).sum())


@pytest.fixture
def photos(tmp_path, save_picture):
    for number in range(4):
        save_picture(tmp_path / "photos" / f"{number}.png", number)
    return tmp_path / "photos"


@pytest.fixture
def take(tmp_path):
    def of(examples, spec=SPEC):
        steps = []
        return take_inventory(examples, spec, tmp_path / "work", steps.append), steps

    return of


def test_it_tells_bytes_size_and_what_cannot_be_read(photos, take, save_picture):
    save_picture(photos / "4.jpg", 4, side=80)
    (photos / "5.jpg").write_bytes(b"no picture")
    examples = [*examples_of(photos), Example("gone.jpg", photos / "gone.jpg", ("Hat",), "")]
    inventory, steps = take(examples)
    assert inventory.sha256[0] == hashlib.sha256((photos / "0.png").read_bytes()).digest()
    assert inventory.sizes[[0, 4]].tolist() == [[64, 64], [80, 80]]
    assert {index: text.split("(")[-1] for index, text in inventory.failures.items()} == {
        5: "decode.not_image)",
        6: "io.missing)",
    }
    assert inventory.readable() == [0, 1, 2, 3, 4]
    assert steps[-1] == 7


def test_a_second_run_decodes_nothing(photos, take, monkeypatch):
    (photos / "broken.jpg").write_bytes(b"no picture")
    first, _ = take(examples_of(photos))
    monkeypatch.setattr(
        inventories, "decode_examples", lambda examples, spec: pytest.fail(str(examples)) if examples else ()
    )
    second, steps = take(examples_of(photos))
    assert (second.sha256, second.failures) == (first.sha256, first.failures)
    assert np.array_equal(second.phash, first.phash)
    assert steps == [5]


def test_only_what_has_changed_is_looked_at_again(photos, take, save_picture):
    take(examples_of(photos))
    save_picture(photos / "1.png", 11)
    os.utime(photos / "1.png", ns=(1, 1))
    inventory, steps = take(examples_of(photos))
    assert steps == [3, 4]
    assert inventory.sha256[1] == hashlib.sha256((photos / "1.png").read_bytes()).digest()


def test_a_file_that_was_missing_is_tried_again(photos, take):
    shutil.move(photos / "2.png", photos.parent / "2.png")
    example = Example("2.png", photos / "2.png", ("Hat",), "")
    assert take([example])[0].failures
    shutil.move(photos.parent / "2.png", photos / "2.png")
    assert not take([example])[0].failures


def test_an_interrupted_run_goes_on_where_it_stopped(photos, take, monkeypatch):
    monkeypatch.setattr(inventories, "SAVE_EVERY", 1)

    def break_off(done):
        if done == 2:
            raise KeyboardInterrupt

    examples = examples_of(photos)
    with pytest.raises(KeyboardInterrupt):
        take_inventory(examples, SPEC, photos.parent / "work", break_off)
    assert take(examples)[1] == [2, 3, 4]


def test_another_preprocessing_is_another_inventory(photos, take):
    take(examples_of(photos))
    assert take(examples_of(photos), PreprocessSpec(size=128))[1][0] == 0


def test_a_damaged_inventory_is_one_clear_error(photos, take, tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / inventories.FILE).write_bytes(b"x" * 5000)
    with pytest.raises(TrainingError, match="delete it to read the images again"):
        take(examples_of(photos))


def test_a_picture_saved_again_looks_the_same_and_another_does_not(take, tmp_path, save_picture):
    save_picture(tmp_path / "p" / "a.png", 1, side=300)
    save_picture(tmp_path / "p" / "b.jpg", 1, side=150, quality=60)
    save_picture(tmp_path / "p" / "c.png", 2, side=300)
    inventory, _ = take(examples_of(tmp_path / "p"))
    assert distance(inventory, 0, 1) <= 10
    assert distance(inventory, 0, 2) > 60
    assert near_pairs(inventory.phash).tolist() == [[0, 1]]


def test_near_pairs_are_those_of_a_comparison_of_all_with_all():
    random = np.random.default_rng(3)
    centres = random.integers(0, 256, size=(40, 32), dtype=np.uint8)
    noise = np.packbits(random.random((400, 256)) < 0.02, axis=1)
    hashes = centres[random.integers(0, 40, size=400)] ^ noise
    bits = np.unpackbits(hashes, axis=1).astype(int)
    expected = [[a, b] for a, b in itertools.combinations(range(400), 2) if 0 < np.abs(bits[a] - bits[b]).sum() <= 10]
    assert len(expected) > 500
    assert len(np.unique(hashes, axis=0)) == 400
    assert near_pairs(hashes).tolist() == expected


def test_many_copies_are_joined_without_all_their_pairs():
    pairs = near_pairs(np.zeros((5_000, 32), dtype=np.uint8))
    assert len(pairs) == 4_999
    assert len(set(groups_of(pairs, 5_000).tolist())) == 1


def test_nothing_has_no_pairs():
    assert near_pairs(np.zeros((0, 32), dtype=np.uint8)).shape == (0, 2)
