"""The script that chooses what the shipped model is trained on."""

import csv
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from patience import HANGS

from cataloger.model.bundle import default_bundle_path

ROOT = Path(__file__).parent.parent
SCRIPTS = ROOT / "examples" / "default_model"


def run(script, *arguments):
    command = [sys.executable, str(SCRIPTS / script), *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=HANGS).stdout


@pytest.fixture
def data(tmp_path):
    """Labels of thirty thumbnails and five sharp photos of a category, and one thumbnail to test with."""
    columns = ("file", "labels", "split", "source", "resolution", "article_type", "published_split")
    rows = [(f"{n}.jpg", "Hat", "train", "fpi", "60x80", "Caps", "train" if n < 3 else "") for n in range(30)]
    rows += [(f"s{n}.jpg", "Hat", "train", "fpi", "224", "Caps", "") for n in range(5)]
    rows += [("t.jpg", "Hat", "test", "fpi", "60x80", "Caps", "test")]
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([columns, *rows])
    return tmp_path


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_manifest_thins_out_training_thumbnails_alone(data):
    printed = run("manifest.py", data, data / "out.csv", "--thumbnails", 10)
    rows = read(data / "out.csv")
    assert Counter((row["split"], row["resolution"]) for row in rows) == {
        ("train", "60x80"): 10, ("train", "224"): 5, ("test", "60x80"): 1
    }  # fmt: skip
    assert all(Path(row["file"]).parent == data for row in rows)
    assert "16 of 36 rows" in printed


def test_the_published_split_keeps_its_names_and_parts(data):
    run("manifest.py", data, data / "out.csv", "--published-split")
    rows = read(data / "out.csv")
    assert [(row["labels"], row["split"]) for row in rows] == [("Caps", "train")] * 3 + [("Caps", "test")]


def test_the_shipped_models_name_no_path_of_the_machine_that_made_them():
    for path in default_bundle_path().glob("*.onnx"):
        content = path.read_bytes()
        assert not [word for word in (b'File "', b"site-packages") if word in content], path.name
