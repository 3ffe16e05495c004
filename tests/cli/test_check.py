"""`cataloger check` as cron runs it: real pictures, the real commands, the real database file."""

import json
import shutil
import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cataloger.cli.app import app

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
FEW = ("--min-images", "20")


def invoke(*arguments, status=0):
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == status, result.output
    return result


@pytest.fixture(scope="module")
def nights(tmp_path_factory):
    """A database in which the example pictures were tagged twice."""
    url = f"sqlite:///{tmp_path_factory.mktemp('nights') / 'cataloger.db'}"
    for _ in range(2):
        invoke("tag", EXAMPLES / "images", "--db", url, "--force", "-q", "--workers", "1")
    return Path(url.removeprefix("sqlite:///"))


@pytest.fixture
def catalog(nights, tmp_path, monkeypatch):
    """A copy of it in the current folder."""
    shutil.copy(nights, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cataloger.db"


def alter(catalog, change, run=2):
    with sqlite3.connect(catalog) as connection:
        connection.execute(f"UPDATE cataloger_result SET {change} WHERE run_id = {run}")


def test_two_nights_alike_pass(catalog):
    result = invoke("check", *FEW)
    assert "no drift" in result.stdout
    assert result.stdout.count(" ok") == 6
    assert "moved most" not in result.stdout
    assert not result.stderr


def test_a_night_in_which_all_is_a_hat_trips_and_names_the_category(catalog):
    alter(catalog, "label_1 = 'Hat'")
    result = invoke("check", *FEW, status=4)
    assert len(result.stderr.splitlines()) == 1
    assert "run 2" in result.stderr
    assert "against run 1" in result.stderr
    assert "drifted: PSI of category mix" in result.stderr
    moved = result.stdout.partition("moved most")[2].splitlines()
    assert any(line.split()[:5] == ["Hat", "5", "0.250", "20", "1.000"] for line in moved)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("confidence_1 = confidence_1 / 3", "mean confidence"),
        ("decision = 'abstain'", "abstain 0.300 -> 1.000 (a change of +0.700, limit 0.05)"),
        ("status = 'failed', error_code = 'decode.truncated', label_1 = NULL", "failed 0.000 -> 1.000"),
    ],
)
def test_what_else_can_drift_trips_with_its_reason(catalog, change, reason):
    alter(catalog, change)
    assert reason in invoke("check", *FEW, status=4).stderr


def test_few_images_pass_and_it_says_so(catalog):
    alter(catalog, "label_1 = 'Hat'")
    assert "too few images to judge" in invoke("check").stdout


def test_limits_stand_in_the_configuration_and_flags_win(catalog):
    alter(catalog, "label_1 = 'Hat'")
    Path("cataloger.toml").write_text('[check]\nmin-images = 20\nmax-category-psi = 100.0\nagainst = "1"\n')
    assert "no drift" in invoke("check").stdout
    invoke("check", "--max-category-psi", "0.2", status=4)
    Path("cataloger.toml").write_text("[check]\nmax-psi = 1\n")
    assert "unknown key 'max-psi'" in invoke("check", status=2).stderr


def test_json_is_the_whole_result_also_when_it_trips(catalog):
    alter(catalog, "label_1 = 'Hat'")
    found = json.loads(invoke("check", *FEW, "--json", status=4).stdout)
    assert found["drifted"] == ["category mix"]
    assert found["now"]["labels"] == {"Hat": 20}
    assert found["reference"]["run"] == 1
    assert found["measures"][0]["name"] == "category mix"
    passed = json.loads(invoke("check", "--run", "1", "--against", "2", *FEW, "--json", status=4).stdout)
    assert (passed["now"]["run"], passed["reference"]["run"]) == (1, 2)


def test_drawings_are_not_what_the_shipped_model_was_calibrated_on(catalog):
    result = invoke("check", "--against", "default", *FEW, status=4)
    assert "against the labelled images of fashion-50" in result.stderr
    assert "not recorded" in result.stdout


def test_a_calibrated_copy_records_what_a_run_is_compared_with(catalog, tmp_path):
    own = tmp_path / "own"
    labels = (EXAMPLES / "labels.csv", "--images", EXAMPLES / "images", "--split", "test")
    invoke("calibrate", *labels, "--output", own, "--no-progress")
    found = json.loads(invoke("check", "--against", own, *FEW, "--json").stdout)
    assert (found["reference"]["title"], found["drifted"]) == ("the labelled images of fashion-50 0.5", [])
    assert sum(found["reference"]["labels"].values()) == 20
    assert "another calibration" in found["notes"][0]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--run", "7"], 2, "there is no run 7"),
        (["--against", "nowhere"], 2, "no model at nowhere"),
        (["--source", "nowhere"], 2, "no finished run of tag or sync of nowhere"),
        (["--max-category-psi", "inf"], 2, "must be 0 or more"),
        (["--db", "sqlite:///typo.db"], 1, "has no results of cataloger"),
    ],
)
def test_what_cannot_be_checked_is_an_error(catalog, arguments, status, message):
    assert message in invoke("check", *arguments, status=status).stderr
    assert not Path("typo.db").exists()


def test_a_name_of_a_source_cannot_act_upon_the_terminal(catalog):
    with sqlite3.connect(catalog) as connection:
        connection.execute(
            "INSERT INTO cataloger_source (kind, root, root_hash, name, created_at) "
            "SELECT 'folder', 'x' || char(27) || '[31m', 'h', 'x', created_at FROM cataloger_source"
        )
        connection.execute(
            "INSERT INTO cataloger_run_source (run_id, source_id, weights_id) SELECT 2, max(s.id), max(r.weights_id) "
            "FROM cataloger_source s, cataloger_run_source r"
        )
    result = invoke("check", "--against", "1", *FEW)
    assert "left out: x\\x1b[31m" in result.stdout
    assert "\x1b" not in result.stdout
