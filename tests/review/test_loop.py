"""The whole loop with its real parts: tag, correct by keyboard in the browser, train on that, tag, compare."""

import csv
import json
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import expect
from typer.testing import CliRunner

pytest.importorskip("torchvision", reason="the extra 'train' is not installed")
pytest.importorskip("onnxscript", reason="the extra 'train' is not installed")

from cataloger.cli.app import app

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_export")]

EXAMPLES = Path(__file__).parents[2] / "examples"
TRAINING = ("--recipe", "quick", "--epochs", "12", "--views", "1", "--batch-size", "4", "--learning-rate", "3e-4")


def run(*arguments):
    """Run a command; return what it printed as JSON."""
    result = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def answers(output):
    """Return key -> the label in a file of results."""
    with output.open(encoding="utf-8", newline="") as file:
        return {row["key"]: row["label_1"] for row in csv.DictReader(file)}


def say(page, label):
    """Call the image at hand so, as a person would: one key if the model does, else by searching."""
    if page.inner_text("#answers li:first-child span") == label:
        page.keyboard.press("a")
    else:
        page.keyboard.press("/")
        page.keyboard.type(label)
        expect(page.locator("#found li .label").first).to_have_text(label)
        page.keyboard.press("Enter")


@pytest.fixture
def labels():
    """Key -> what a person calls it."""
    with (EXAMPLES / "labels.csv").open(encoding="utf-8", newline="") as file:
        return {row["file"]: row["labels"].split("|")[0] for row in csv.DictReader(file)}


@pytest.fixture
def data(tmp_path, labels):
    """A manifest of other pictures to go on with: smaller copies, for validation and the test."""
    with (tmp_path / "data.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("file", "labels", "split"))
        for number, (key, label) in enumerate(sorted(labels.items())):
            name = key.replace(".png", "-small.png")
            with Image.open(EXAMPLES / "images" / key) as image:
                image.convert("RGBA").resize((150, 150)).save(tmp_path / name)
            writer.writerow((tmp_path / name, label, "test" if number % 2 else "val"))
    return tmp_path / "data.csv"


def test_a_model_follows_what_people_have_said_in_the_browser(serve, open_page, labels, data, tmp_path):
    images, url = EXAMPLES / "images", f"sqlite:///{tmp_path}/c.db"
    run("tag", images, "--db", url, "--output", tmp_path / "before.csv")
    wrong = {key for key, label in answers(tmp_path / "before.csv").items() if label != labels[key]}
    assert 3 <= len(wrong) <= 8

    with serve(tmp_path / "c.db", "--author", "anna") as running:
        page = open_page(running.url)
        for _ in labels:
            say(page, labels[page.inner_text("#key")])
        expect(page.locator("#progress")).to_contain_text("20 of 20 reviewed")
        expect(page.locator("#saving")).to_have_text("")
        page.close()  # it would complain that its server is gone
    reviewed = run("evaluate", "--corrections", "--db", url)
    assert (reviewed["reviewed"], reviewed["right"]) == (20, 20 - len(wrong))

    words = ("--from-corrections", "--db", url)
    run("train", data, *words, "--output", tmp_path / "next", *TRAINING)
    run("tag", images, "--db", url, "--model", tmp_path / "next")
    reviewed = run("evaluate", "--corrections", "--db", url)
    assert (reviewed["model"], reviewed["reviewed"], reviewed["right"]) == ("catalog 1", 20, 20)
    difference = run("models", "diff", "default", tmp_path / "next", EXAMPLES / "labels.csv", "--images", images)
    assert difference["only_a_count"] == 0
    assert difference["only_b_count"] >= 3
