"""`train DATA --from-corrections` and `evaluate --corrections` as commands, where DATA has the corrected images."""

import csv
import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

pytest.importorskip("torchvision", reason="the extra 'train' is not installed")
pytest.importorskip("onnxscript", reason="the extra 'train' is not installed")

from cataloger.cli.app import app
from cataloger.model.bundle import read_bundle

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_export")]

TRAINING = ("--recipe", "quick", "--epochs", "1", "--views", "1", "--batch-size", "8")


def run(*arguments):
    """Run a command; return it."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.stderr
    return result


def name(split, label, number):
    return f"{split}/{label}/{number}.png"


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Class folders with splits, tagged; people say something of one image of each split, and of one beside them."""
    folder = tmp_path_factory.mktemp("shop")
    random = np.random.default_rng(3)
    photos = [
        *(
            name(split, label, number)
            for split in ("train", "val")
            for label in ("Hat", "Sock")
            for number in range(4)
        ),
        *(name("test", label, 0) for label in ("Hat", "Sock", "Spam")),
    ]
    for photo in (*photos, "new.png"):
        path = folder / "photos" / photo
        path.parent.mkdir(parents=True, exist_ok=True)
        squares = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(squares).resize((64, 64), Image.Resampling.NEAREST).save(path)
    database = f"sqlite:///{folder}/c.db"
    run("tag", folder / "photos", "--db", database, "-q")
    (folder / "words.csv").write_text(
        "key,verdict,label\n"
        "train/Hat/0.png,,Sock\nval/Hat/0.png,,Sock\ntest/Spam/0.png,,Sock\ntrain/Sock/3.png,not_product,\nnew.png,,Hat\n"
    )
    run("corrections", "import", folder / "words.csv", "--db", database, "--author", "ann", "--new-labels")
    return folder


def test_in_class_folders_the_word_wins_and_the_splits_stay(shop):
    words = ("--from-corrections", "--db", f"sqlite:///{shop}/c.db")
    trained = run("train", shop / "photos", *words, "--output", shop / "folders", *TRAINING, "--json")
    bundle = read_bundle(shop / "folders")
    assert bundle.labels == ("Hat", "Sock")  # nothing is Spam any more, not even in test
    assert bundle.provenance["data"]["images"] == {"train": 8 - 1 + 1, "val": 8, "test": 3}
    assert json.loads(trained.stdout)["all"]["images"] == 3
    with (shop / "folders.work" / "problems.csv").open(encoding="utf-8", newline="") as file:
        problems = {(row["kind"], row["place"]) for row in csv.DictReader(file)}
    assert ("no_product", "train/Sock/3.png") in problems


def test_in_a_manifest_without_splits_the_word_wins_too(shop):
    rows = [f"{name('train', label, number)},{label}" for label in ("Hat", "Sock") for number in range(4)]
    (shop / "labels.csv").write_text("\n".join(["file,label", *rows]) + "\n")
    words = ("--from-corrections", "--db", f"sqlite:///{shop}/c.db", "--shares", "60,40,0")
    run("train", shop / "labels.csv", "--images", shop / "photos", *words, "--output", shop / "manifest", *TRAINING)
    with (shop / "manifest.work" / "splits.csv").open(encoding="utf-8", newline="") as file:
        found = {row["file"].removeprefix(f"{shop}/photos/"): row["labels"] for row in csv.DictReader(file)}
    expected = {name("train", label, number): label for label in ("Hat", "Sock") for number in range(4)}
    del expected["train/Sock/3.png"]
    said = {"train/Hat/0.png": "Sock", "val/Hat/0.png": "Sock", "test/Spam/0.png": "Sock", "new.png": "Hat"}
    assert found == expected | said


def test_the_results_are_measured_by_the_words_alone(shop):
    measured = json.loads(run("evaluate", "--corrections", "--db", f"sqlite:///{shop}/c.db", "--json").stdout)
    assert (measured["images"], measured["reviewed"], measured["no_product"]) == (20, 5, 1)
    assert {name: each["said"] for name, each in measured["categories"].items() if each["said"]} == {
        "Sock": 3,
        "Hat": 1,
    }
