"""Training from the command line to a bundle that tags: the real thing, on drawings made here."""

import csv
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import frozen_layers
import numpy as np
import pytest
from object_rig import s3_server
from PIL import Image, ImageDraw
from typer.testing import CliRunner

pytest.importorskip("torchvision", reason="the extra 'train' is not installed")
pytest.importorskip("onnxscript", reason="the extra 'train' is not installed")

import cataloger
from cataloger.cli.app import app
from cataloger.inference import replay_golden
from cataloger.model import check_files, resolve_bundle_path
from cataloger.model.bundle import MODEL, WEIGHTS, read_bundle

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_export")]

SHAPES = {"Bar": "rectangle", "Disc": "ellipse", "Wedge": "polygon"}


def draw(shape, random):
    image = Image.new("RGB", (96, 96), "white")
    left, top = random.integers(8, 24, size=2)
    right, bottom = random.integers(64, 88, size=2)
    colour = tuple(int(c) for c in random.integers(0, 180, size=3))
    if shape == "polygon":
        ImageDraw.Draw(image).polygon([(left, bottom), ((left + right) // 2, top), (right, bottom)], fill=colour)
    else:
        getattr(ImageDraw.Draw(image), shape)((left, top, right, bottom), fill=colour)
    return image


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop")
    (folder / "photos").mkdir()
    random = np.random.default_rng(5)
    with (folder / "labels.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "labels", "split", "kind", "shop"])
        for number in range(90):
            label, shape = list(SHAPES.items())[number % 3]
            draw(shape, random).save(folder / "photos" / f"{number}.png")
            split = "train" if number < 60 else "val" if number < 75 else "test"
            shop = "large" if number % 4 else "small"
            writer.writerow([f"{number}.png", label if number % 10 else f"{label}|Bar", split, "even", shop])
        (folder / "photos" / "broken.png").write_bytes(b"not a picture")
        writer.writerow(["broken.png", "Bar", "train", "even", "large"])
    return folder


@pytest.fixture(scope="module")
def trained(shop):
    arguments = ["train", shop / "labels.csv", "--images", shop / "photos", "--output", shop / "model"]
    arguments += ["--recipe", "quick", "--epochs", 6, "--name", "shapes", "--report-by", "kind", "--json"]
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def lay_features(shop, output):
    """Give a training that would compute the features of the same images again those that `trained` has cached."""
    shutil.copytree(shop / "model.work" / "cache", output.with_name(f"{output.name}.work") / "cache")


def test_training_makes_a_bundle_that_passes_its_own_checks(trained, shop):
    assert trained.exit_code == 0, trained.stderr
    bundle = read_bundle(shop / "model")
    assert (bundle.title, bundle.labels) == ("shapes 1", ("Bar", "Disc", "Wedge"))
    assert replay_golden(bundle) <= bundle.golden_tolerance
    assert bundle.provenance["parity"] <= 1e-3
    assert sum(bundle.provenance["answers"]["labels"].values()) == 15


def test_it_learns_and_says_how_well(trained):
    report = json.loads(trained.stdout)["even"]
    assert report["images"] == 15
    assert report["top1"]["value"] >= 0.6
    assert report["macro_f1"]["value"] is None  # no class has twenty test rows


def test_the_output_fits_its_schema(trained, shop, fits_schema):
    fits_schema("train", json.loads(trained.stdout))
    fits_schema("evaluate", json.loads((shop / "model.report" / "report.json").read_text()))


def test_an_image_that_cannot_be_read_is_named_and_costs_nothing(trained):
    assert "images that cannot be read are left out: broken.png" in trained.stderr


def test_the_card_tells_data_options_and_results(trained, shop):
    card = (shop / "model" / "MODEL_CARD.md").read_text()
    for part in ("# shapes 1", "Bar, Disc, Wedge", "60 / 15 / 15 images", "temperature", "| even | 15 |"):
        assert part in card


def test_a_page_shows_how_good_it_is(trained, shop):
    page = (shop / "model.report" / "report.html").read_text()
    assert "shapes 1" in page
    assert json.loads((shop / "model.report" / "report.json").read_text())["all"]["images"] == 15
    assert "report.html" in trained.stderr


def test_nothing_of_this_machine_gets_into_the_bundle(trained, shop):
    text = (shop / "model" / "bundle.json").read_text() + (shop / "model" / "MODEL_CARD.md").read_text()
    assert str(shop) not in text
    assert str(Path(cataloger.__file__).parent).encode() not in (shop / "model" / MODEL).read_bytes()


def test_the_same_command_again_trains_nothing_anew(trained, shop):
    before = (shop / "model.work" / "last.safetensors").stat().st_mtime_ns
    arguments = ["train", shop / "labels.csv", "--images", shop / "photos", "--output", shop / "model"]
    arguments += ["--recipe", "quick", "--epochs", 6, "--name", "shapes", "--no-progress"]
    first = read_bundle(shop / "model")
    again = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert again.exit_code == 0, again.stderr
    assert (shop / "model.work" / "last.safetensors").stat().st_mtime_ns == before
    assert read_bundle(shop / "model").weights_id == first.weights_id


@pytest.mark.long
def test_a_bundle_is_trained_into_an_object_store(trained, shop, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, value in (("ACCESS_KEY_ID", "a"), ("SECRET_ACCESS_KEY", "b"), ("REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    lay_features(shop, tmp_path / "shapes")
    arguments = ["train", shop / "labels.csv", "--images", shop / "photos", "--output", "s3://models/shop/shapes"]
    arguments += ["--recipe", "quick", "--epochs", 6, "--name", "shapes", "--no-progress"]
    with s3_server() as door:
        monkeypatch.setenv("AWS_ENDPOINT_URL", door.url)
        door.put("models", {})
        done = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert done.exit_code == 0, done.stderr
        assert "with `cataloger tag PATH --model s3://models/shop/shapes`" in done.stderr
        stored = read_bundle(resolve_bundle_path("s3://models/shop/shapes"), check=())
    check_files(stored, stored.files)
    assert stored.weights_id == read_bundle(shop / "model").weights_id
    assert {each.name for each in tmp_path.iterdir()} == {"cache", "shapes.work"}
    assert (tmp_path / "shapes.work" / "bundle.report" / "report.html").is_file()


def test_the_bundle_tags_and_is_evaluated(trained, shop, tmp_path):
    database = f"sqlite:///{tmp_path / 'x.db'}"
    tag = ["tag", shop / "photos", "--model", shop / "model", "--db", database, "--json"]
    result = CliRunner().invoke(app, [str(argument) for argument in tag])
    assert json.loads(result.stdout)["done"] == 90
    evaluate = ["evaluate", shop / "labels.csv", "--images", shop / "photos", "--model", shop / "model"]
    measured = CliRunner().invoke(app, [str(argument) for argument in (*evaluate, "--json", "--report-by", "kind")])
    assert json.loads(measured.stdout)["groups"]["even"]["top1"] == json.loads(trained.stdout)["even"]["top1"]


def test_attention_moves_in_front_of_the_convolutions_and_stays_there(trained, shop, tmp_path):
    common = ["train", shop / "labels.csv", "--images", shop / "photos", "--recipe", "quick", "--epochs", 1]
    lay_features(shop, tmp_path / "early")
    early = [*common, "--start", shop / "model", "--attention", "mhsa-early", "--output", tmp_path / "early"]
    result = CliRunner().invoke(app, [str(argument) for argument in early])
    assert result.exit_code == 0, result.stderr
    assert "attention or head has another shape" in result.stderr
    assert "in front of its last convolutions" in (tmp_path / "early" / "MODEL_CARD.md").read_text()
    bundle = read_bundle(tmp_path / "early")
    assert bundle.network.attention == "mhsa-early"
    assert replay_golden(bundle) <= bundle.golden_tolerance
    lay_features(shop, tmp_path / "next")
    again = [*common, "--start", tmp_path / "early", "--output", tmp_path / "next"]
    result = CliRunner().invoke(app, [str(argument) for argument in again])
    assert "3 of 3 categories are known to it" in result.stderr
    assert read_bundle(tmp_path / "next").network.attention == "mhsa-early"


def test_a_bundle_is_a_start_for_another(trained, shop, tmp_path):
    lay_features(shop, tmp_path / "next")
    start = ["train", shop / "labels.csv", "--images", shop / "photos", "--output", tmp_path / "next"]
    start += ["--start", shop / "model", "--recipe", "quick", "--epochs", 1, "--no-progress"]
    start += ["--balance-by", "shop=large:2,small:1", "--select-by", "shop=small"]
    soft = tmp_path / "soft.csv"
    soft.write_text(
        "file,label,probability\n1.png,Disc,0.9\n1.png,Hat,0.1\n2.png,Bar,1\n80.png,Bar,1\n", encoding="utf-8"
    )
    start += ["--soft-labels", soft, "--soft-share", 0.25]
    result = CliRunner().invoke(app, [str(argument) for argument in start])
    assert result.exit_code == 0, result.stderr
    card = Path(tmp_path / "next" / "MODEL_CARD.md").read_text()
    assert "drawn by shop: large 66.7% of" in result.stderr
    assert "soft labels: 2 of 60 training images have them, 25% of the loss; 1 other images of" in result.stderr
    assert "soft labels: those for Hat do not count, since no image is labelled so" in result.stderr
    assert "balance by shop=large:2,small:1, select by shop=small, soft share 0.25" in card


def test_a_gate_that_fails_exits_with_4_and_leaves_no_bundle(trained, shop, tmp_path, monkeypatch):
    from cataloger.training.export import onnx

    lay_features(shop, tmp_path / "bad")
    monkeypatch.setattr(onnx, "PARITY_TOLERANCE", -1.0)
    gate = ["train", shop / "labels.csv", "--images", shop / "photos", "--output", tmp_path / "bad"]
    result = CliRunner().invoke(
        app, [str(argument) for argument in (*gate, "--recipe", "quick", "--epochs", 1, "--no-progress")]
    )
    assert result.exit_code == 4
    assert "nothing was written" in result.stderr
    assert not (tmp_path / "bad").exists()


@pytest.mark.parametrize(
    ("data", "arguments", "status", "message"),
    [
        ("none.csv", [], 1, "none.csv does not exist"),
        ("labels.csv", ["--start", "nowhere"], 2, "no model at nowhere"),
        ("labels.csv", ["--epochs", "0"], 2, "--epochs"),
        ("labels.csv", ["--shares", "80,20"], 2, "--shares 80,20: write three numbers"),
        ("labels.csv", ["--label-column", "kategorie"], 2, "--label-column kategorie: "),
        ("labels.csv", ["--balance-by", "shop=small:1"], 2, "the training images have large, small there"),
        ("labels.csv", ["--select-by", "shop=strange"], 2, "no validation image has strange there"),
        ("labels.csv", ["--soft-share", "0.3"], 2, "--soft-share needs --soft-labels"),
        ("labels.csv", ["--soft-labels", "none.csv"], 1, "--soft-labels none.csv cannot be read: No such file"),
        ("photos", ["--select-by", "shop=small"], 2, "is for a manifest or a query"),
    ],
)
def test_what_cannot_work_is_one_clear_error(shop, tmp_path, data, arguments, status, message):
    usual = ["--images", str(shop / "photos"), "--output", str(tmp_path / "m")]
    result = CliRunner().invoke(app, ["train", str(shop / data), *usual, *arguments])
    assert result.exit_code == status
    assert message in result.stderr


def test_a_run_that_was_killed_ends_with_the_same_weights(trained, shop, tmp_path):
    arguments = [shop / "labels.csv", "--images", shop / "photos", "--output", tmp_path / "model"]
    arguments += ["--recipe", "quick", "--epochs", 6, "--name", "shapes", "--no-progress"]
    command = [sys.executable, "-m", "cataloger", "train", *map(str, arguments)]
    checkpoint = tmp_path / "model.work" / "last.safetensors"
    lay_features(shop, tmp_path / "model")
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not checkpoint.exists() and process.poll() is None:
            time.sleep(0.01)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "model").exists()
    again = CliRunner().invoke(app, ["train", *map(str, arguments)])
    assert again.exit_code == 0, again.stderr
    assert "epoch 1:" not in again.stderr
    assert "epoch 6:" in again.stderr
    assert read_bundle(tmp_path / "model").files[WEIGHTS] == read_bundle(shop / "model").files[WEIGHTS]


PROGRAM = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv.pop(1))
import frozen_layers
from cataloger.cli.app import main
from cataloger.training.export import onnx
onnx.write_frozen_part = frozen_layers.shared(onnx.write_frozen_part, Path(sys.argv.pop(1)))
if __name__ == "__main__":
    main()
"""


def test_two_processes_train_one_model(shop, tmp_path, frozen_parts):
    arguments = [shop / "labels.csv", "--images", shop / "photos", "--output", tmp_path / "model"]
    arguments += ["--recipe", "quick", "--epochs", 1, "--views", 1, "--no-progress"]
    (tmp_path / "program.py").write_text(PROGRAM)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, tmp_path / "program.py", Path(frozen_layers.__file__).parent, frozen_parts, "train"]
    done = subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("use it with `cataloger tag") == 1
    assert replay_golden(read_bundle(tmp_path / "model")) <= 1e-3
