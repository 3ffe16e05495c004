"""The scripts that make the shipped model, and the picture of where it looks."""

import csv
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("matplotlib", reason="the extra 'train' is not installed")

ROOT = Path(__file__).parent.parent
SCRIPTS = ROOT / "default_model"
IMAGES = ROOT / "examples" / "images"


def run(script, *arguments):
    command = [sys.executable, str(SCRIPTS / script), *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


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


def test_the_map_of_a_category_lies_where_the_thing_is(tmp_path):
    canvas = Image.new("RGB", (448, 224), "white")
    hat = Image.open(IMAGES / "blue-fedora.png").convert("RGBA").resize((224, 224))
    canvas.paste(hat, (0, 0), hat)
    canvas.save(tmp_path / "left.png")
    run("activation_maps.py", tmp_path / "maps.png", tmp_path / "left.png")
    with Image.open(tmp_path / "maps.png") as drawn:
        pixels = np.asarray(drawn.convert("RGB")).astype(int)
    # The second of four pictures in a row; colour is what is not grey.
    width = pixels.shape[1] // 4
    colour = (pixels.max(axis=2) - pixels.min(axis=2))[:, width : 2 * width].sum(axis=0)
    assert colour[: width // 2].sum() > 2 * colour[width // 2 :].sum()
