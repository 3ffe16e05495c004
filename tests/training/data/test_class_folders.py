"""Class folders: labels from folders, splits from folders, and everything that is left out named."""

import os

import pytest

from cataloger.errors import TrainingError, UsageError
from cataloger.options import PreprocessSpec
from cataloger.training.curation.prepare import prepare_data
from cataloger.training.data.class_folders import read_class_folders
from cataloger.training.data.read import read_dataset
from cataloger.training.fit.setup import SilentListener
from cataloger.training.options import DataOptions


@pytest.fixture
def tree(tmp_path):
    def make(*names):
        for name in names:
            path = tmp_path / "root" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
        return tmp_path / "root"

    return make


def said(examples):
    return {(example.file, example.labels, example.split) for example in examples}


def kinds(problems):
    return [(problem.kind, problem.place) for problem in problems]


def test_the_first_folder_below_the_root_is_the_label(tree):
    root = tree("Hat/a.jpg", "Hat/2024/summer/b.PNG", "Rain coat/c.webp")
    examples, problems = read_class_folders(root)
    assert said(examples) == {
        ("Hat/a.jpg", ("Hat",), ""),
        ("Hat/2024/summer/b.PNG", ("Hat",), ""),
        ("Rain coat/c.webp", ("Rain coat",), ""),
    }
    assert all(example.path.is_file() for example in examples)
    assert problems == []


@pytest.mark.parametrize("val", ["val", "valid", "validation", "Val"])
def test_folders_of_splits_give_the_splits(tree, val):
    root = tree("train/Hat/a.jpg", f"{val}/Hat/b.jpg", "test/Top/c.jpg")
    examples, _ = read_class_folders(root)
    assert [(example.labels[0], example.split) for example in sorted(examples, key=lambda e: e.path.name)] == [
        ("Hat", "train"),
        ("Hat", "val"),
        ("Top", "test"),
    ]


def test_a_category_may_be_called_test(tree):
    root = tree("Test/a.jpg", "Hat/b.jpg")
    assert {example.labels for example in read_class_folders(root)[0]} == {("Test",), ("Hat",)}


def test_two_folders_for_one_split_are_an_error(tree):
    root = tree("train/Hat/a.jpg", "val/Hat/b.jpg", "valid/Hat/c.jpg")
    with pytest.raises(TrainingError, match="name the same split"):
        read_class_folders(root)


def test_everything_that_is_left_out_is_named(tree):
    root = tree("Hat/a.jpg", "Hat/notes.txt", "Hat/.DS_Store", "Hat/.thumbs/t.jpg", "Empty/x.pdf", "loose.jpg")
    assert sorted(kinds(read_class_folders(root)[1])) == [
        ("empty_class", "Empty"),
        ("hidden_file", "Hat/.DS_Store"),
        ("hidden_file", "Hat/.thumbs"),
        ("no_label", "loose.jpg"),
        ("not_image", "Empty/x.pdf"),
        ("not_image", "Hat/notes.txt"),
    ]


def test_a_folder_beside_the_splits_is_named(tree):
    root = tree("train/Hat/a.jpg", "val/Hat/b.jpg", "annotations/c.jpg")
    assert kinds(read_class_folders(root)[1]) == [("ignored_folder", "annotations")]


def test_an_image_of_an_unsupported_format_is_kept_to_be_reported(tree):
    assert said(read_class_folders(tree("Hat/a.heic"))[0]) == {("Hat/a.heic", ("Hat",), "")}


def test_umlauts_mean_the_same_however_they_are_composed(tree):
    root = tree("M\u00e4ntel/a.jpg", "Ma\u0308ntel/b.jpg", "Hat/c.jpg")
    assert {example.labels for example in read_class_folders(root)[0]} == {("M\u00e4ntel",), ("Hat",)}


def test_a_name_that_is_not_utf8_is_read(tree):
    root = tree("Hat/a.jpg", "Top/b.jpg")
    raw = os.path.join(os.fsencode(root), b"Hat", b"\xff.jpg")
    with open(raw, "wb"):
        pass
    (odd,) = [example for example in read_class_folders(root)[0] if "%" in example.file]
    assert (odd.file, os.fsencode(odd.path)) == ("Hat/%FF.jpg", raw)


def test_a_link_in_a_circle_is_an_image_that_cannot_be_read(tree):
    root = tree("Hat/a.jpg", "Top/b.jpg")
    for name in ("Hat/circle.jpg", "Hat/circle", "circle"):
        (root / name).symlink_to((root / name).name)
    examples, problems = read_class_folders(root)
    assert {example.file for example in examples} == {"Hat/a.jpg", "Hat/circle.jpg", "Top/b.jpg"}
    assert sorted(kinds(problems)) == [("not_image", "Hat/circle"), ("not_image", "circle")]


def test_a_link_back_to_a_folder_above_ends_there(tree):
    root = tree("Hat/a.jpg", "Top/b.jpg")
    (root / "Hat" / "again").symlink_to(root / "Hat")
    examples, problems = read_class_folders(root)
    assert len(examples) == 2
    assert kinds(problems) == [("ignored_folder", "Hat/again")]


def test_labels_that_differ_in_case_alone_are_named(tree):
    data = read_dataset(DataOptions(data=tree("Hat/a.jpg", "hat/b.jpg", "Top/c.jpg")))
    assert kinds(data.problems) == [("similar_labels", "Hat / hat")]


def test_a_root_without_images_says_what_is_wrong(tree):
    with pytest.raises(TrainingError, match=r"has no labelled image; the first of 1 problems: loose.jpg: .*no class"):
        read_dataset(DataOptions(data=tree("loose.jpg")))


def test_one_category_is_no_classifier(tree, tmp_path):
    with pytest.raises(TrainingError, match="1 labels"):
        prepare_data(DataOptions(data=tree("Hat/a.jpg")), PreprocessSpec(), tmp_path / "work", SilentListener())


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(TrainingError, match="does not exist"):
        read_dataset(DataOptions(data=tmp_path / "none"))


@pytest.mark.parametrize("flag", ["images", "label_column"])
def test_flags_of_manifests_are_refused(tree, tmp_path, flag):
    options = DataOptions(data=tree("Hat/a.jpg", "Top/b.jpg"), **{flag: tmp_path})
    with pytest.raises(UsageError, match=f"--{flag.replace('_', '-')} is for a manifest"):
        read_dataset(options)
