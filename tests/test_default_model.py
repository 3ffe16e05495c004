"""The script that chooses what the shipped model is trained on."""

import csv
import subprocess
import sys
from collections import Counter
from dataclasses import replace
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


@pytest.fixture
def four_sources(tmp_path):
    """Photos of a catalog, of people, of shops and of streets, with the tables that describe them."""

    def write(name, columns, *rows):
        with (tmp_path / name).open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerows([columns, *rows])

    columns = ("file", "labels", "split", "source", "resolution", "article_type", "group")
    polos = [(f"polo{n}.jpg", "T-shirt", "train", "fpi", "224", "Tshirts", n) for n in range(2)]
    shoes = [(f"shoe{n}.jpg", "Casual shoes", "train", "fpi", "60x80", "Casual Shoes", n) for n in range(60)]
    write(
        "labels.csv",
        columns,
        *polos,
        *shoes,
        ("sharp.jpg", "Casual shoes", "train", "fpi", "224", "Casual Shoes", 1),
        ("test.jpg", "Jacket", "test", "fpi", "224", "Blazers", 1),
        ("small.jpg", "Jacket", "test", "fpi", "60x80", "Blazers", 1),
        ("hoodie.jpg", "Sweatshirt", "train", "cc0", "224", "Hoodie", "p1"),
        ("worn.jpg", "Sweatshirt", "test", "cc0", "224", "Hoodie", "p2"),
    )
    titles = {
        "polo0.jpg": "Men Blue Polo T-shirt",
        "polo1.jpg": "U.S. Polo Assn. Men T-shirt",
        "sharp.jpg": "Men Boots",
    }
    write("products.csv", ("image", "title"), *titles.items())
    write(
        "shops.csv",
        ("file", "labels", "split", "source", "group"),
        ("a.webp", "Suit|Blazer|Tracksuit", "train", "shops", "s1"),
        ("b.webp", "Suit|Tracksuit", "val", "shops", "s2"),
        ("c.webp", "Waistcoat", "val", "shops", "s2"),
        ("d.webp", "Coat", "train", "street", "t1"),
        ("e.webp", "Coat", "val", "street", "t2"),
        ("f.webp", "", "train", "not_clothing", "s1"),
        ("g.webp", "Suit|Blazer|Kurta|Tracksuit", "test", "shops", "s3"),
    )
    return tmp_path


def test_the_mix_gives_old_photos_the_new_categories_and_leaves_tests_alone(four_sources):
    printed = run("mix.py", four_sources, four_sources / "mix.csv", "--most", 40)
    rows = {Path(row["file"]).name: row for row in read(four_sources / "mix.csv")}
    labels = {name: row["labels"] for name, row in rows.items()}
    assert {row["shop"] for row in rows.values() if row["source"] == "fpi"} == {"fpi"}
    assert rows["a.webp"]["shop"] == rows["a.webp"]["group"]
    assert (labels["polo0.jpg"], labels["polo1.jpg"]) == ("Polo shirt", "T-shirt")
    assert (labels["sharp.jpg"], labels["hoodie.jpg"]) == ("Boots", "Hoodie")
    assert (labels["test.jpg"], labels["worn.jpg"]) == ("Jacket", "Sweatshirt")
    assert (labels["a.webp"], labels["b.webp"]) == ("Blazer|Track pants", "Blazer")
    assert not {"c.webp", "e.webp", "f.webp", "small.jpg"} & set(labels)
    shoes = Counter(found for name, found in labels.items() if name.startswith("shoe"))
    assert sum(shoes.values()) == 39
    assert min(shoes["Casual shoes"], shoes["Casual shoes|Boots"]) > 9
    assert "val   shops             1" in printed


def test_the_mix_leaves_out_training_photos_with_a_wrong_label_and_no_others(four_sources):
    wrong = four_sources / "wrong.csv"
    wrong.write_text("file,labels,shows\nd.webp,Coat,mug\n")
    run("mix.py", four_sources, four_sources / "mix.csv", "--leave-out", wrong)
    left = {Path(row["file"]).name for row in read(four_sources / "mix.csv")}
    assert "d.webp" not in left
    assert {"a.webp", "b.webp", "g.webp"} <= left
    wrong.write_text("file,labels,shows\ng.webp,Blazer,mug\n")
    with pytest.raises(subprocess.CalledProcessError) as refused:
        run("mix.py", four_sources, four_sources / "mix.csv", "--leave-out", wrong)
    assert "no photo of train is called g.webp" in refused.value.stderr


def test_the_test_sets_have_the_labels_of_their_archives(four_sources):
    printed = run("test_sets.py", four_sources, four_sources / "sets")
    found = {path.stem: read(path) for path in (four_sources / "sets").glob("*.csv")}
    labels = {name: [(Path(row["file"]).name, row["labels"]) for row in rows] for name, rows in found.items()}
    assert labels == {
        "shops": [("g.webp", "Blazer|Kurta")],
        "street": [("e.webp", "Coat")],
        "cc0": [("worn.jpg", "Sweatshirt")],
        "fpi_224": [("test.jpg", "Jacket")],
        "fpi_60x80": [("small.jpg", "Jacket")],
        "published": [],
    }
    assert found["shops"][0]["group"] == "s3"
    assert "shops           1" in printed


def test_the_shipped_models_name_no_path_of_the_machine_that_made_them():
    for path in default_bundle_path().glob("*.onnx"):
        content = path.read_bytes()
        assert not [word for word in (b'File "', b"site-packages") if word in content], path.name


def test_a_photo_is_judged_by_other_shops_and_a_wrong_label_stands_first(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import teacher

    from cataloger.training.data import Example, accepted_matrix

    labels = ["Boots", "Hat"]
    shows = [(shop, n, labels[n % 2]) for shop in range(6) for n in range(80 - 10 * shop)]
    photos = [Example(f"{shop}-{n}.webp", None, (label,), "train", (f"s{shop}", "shops")) for shop, n, label in shows]
    directions = torch.from_numpy(accepted_matrix(photos, labels)).float()
    photos[3] = replace(photos[3], labels=("Boots",))  # it shows a hat
    learned = teacher.Learned(photos, directions, torch.from_numpy(accepted_matrix(photos, labels)))
    folds = teacher.folds_of(photos, 3)
    assert len({(photo.groups[0], int(fold)) for photo, fold in zip(photos, folds, strict=True)}) == 6
    assert sorted(folds.bincount().tolist()) == [110, 110, 110]
    judged = teacher.out_of_fold(learned, folds)
    teacher.write_to_check(tmp_path / "out.csv", learned, judged, labels)
    teacher.write_soft_labels(tmp_path / "soft.csv", photos, judged, labels)
    soft = {(row["file"], row["label"]): float(row["probability"]) for row in read(tmp_path / "soft.csv")}
    assert soft["0-3.webp", "Hat"] > 0.5
    assert soft["0-2.webp", "Boots"] > 0.5
    first, second = read(tmp_path / "out.csv")[:2]
    assert (first["file"], first["labels"], first["found"]) == ("0-3.webp", "Boots", "Hat")
    assert float(first["margin"]) > 0 >= float(second["margin"])
