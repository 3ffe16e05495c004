"""`cataloger calibrate` and `recalibrate`, as a shell would call them."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cataloger.cli.app import app
from cataloger.inference import replay_golden
from cataloger.model.bundle import default_bundle_path, read_bundle

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
LABELS, IMAGES = EXAMPLES / "labels.csv", EXAMPLES / "images"


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory):
    output = tmp_path_factory.mktemp("models") / "own"
    result = run(
        "calibrate", LABELS, "--images", IMAGES, "--split", "test", "--output", output,
        "--target-precision", "0.8", "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    return output, json.loads(result.stdout)


def test_the_copy_classifies_as_before_and_decides_otherwise(calibrated):
    bundle, before = read_bundle(calibrated[0]), read_bundle(default_bundle_path())
    assert bundle.weights_id == before.weights_id
    assert bundle.calibration_id != before.calibration_id
    assert replay_golden(bundle) <= bundle.golden_tolerance
    assert bundle.calibration.target_precision == 0.8


def test_it_prints_what_it_learned_and_what_that_does(calibrated):
    printed = calibrated[1]
    assert printed["measured"]["images"] == sum(printed["measured"]["decisions"].values()) == 20
    # Four of the twenty are wrong, and they are not accepted more often than asked for.
    assert printed["measured"]["accepted_right"]["value"] >= 0.8
    assert set(printed["thresholds"]) <= set(read_bundle(calibrated[0]).labels)


def test_the_card_tells_of_the_new_calibration_once(calibrated):
    card = (calibrated[0] / "MODEL_CARD.md").read_text()
    assert card.count("## Decisions") == 1
    assert "Learned on 20 validation images, for 80% of the accepted" in " ".join(card.split())
    assert "## Results on the test split" in card


def test_a_database_follows(calibrated, tmp_path):
    database = f"sqlite:///{tmp_path / 'x.db'}"
    assert run("tag", IMAGES, "--db", database, "--quiet").exit_code == 0
    result = run("recalibrate", "--db", database, "--model", calibrated[0])
    assert result.exit_code == 0, result.stderr
    assert "decisions: accept" in result.stdout
    again = json.loads(run("recalibrate", "--db", database, "--model", calibrated[0], "--json").stdout)
    assert (again["renewed"], again["unchanged"], again["left"]) == (0, 20, 0)


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--split", "val"], 1, "has no row with split 'val'"),
        (["--model", "nowhere"], 2, "no model at nowhere"),
        (["--target-precision", "1.5"], 2, "target precision must be between 0 and 1"),
    ],
)
def test_what_cannot_work_is_one_clear_error(tmp_path, arguments, status, message):
    result = run("calibrate", LABELS, "--images", IMAGES, "--output", tmp_path / "x", *arguments)
    assert result.exit_code == status
    assert message in result.stderr
    assert not (tmp_path / "x").exists()
