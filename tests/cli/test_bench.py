"""`cataloger bench` and `--profile`: what they measure adds up."""

import json
import os
import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cataloger.bench import bench
from cataloger.bench.bench import lay_out
from cataloger.cli.app import app
from cataloger.errors import SourceError
from cataloger.utils.cpu import available_cpus

IMAGES = Path(__file__).parents[2] / "examples" / "images"
STAGES = {"planning", "reading", "decoding", "handing images over", "classifying", "writing", "starting and the rest"}


@pytest.fixture(scope="module", autouse=True)
def short():
    """Try each arrangement of the model so long as it takes to be one; how fast it is matters to nobody here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench, "SETTING_SECONDS", 0.1)
        yield


@pytest.fixture(scope="module")
def measured():
    arguments = ["bench", str(IMAGES), "--images", "30", "--rounds", "2", "--json", "--no-progress"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_floor_and_command_see_the_same_images(measured):
    assert (measured["images"], measured["failed"], len(measured["rounds"])) == (30, 0, 2)
    for each in measured["rounds"]:
        assert set(each["floor_stages"]) == {"reading", "decoding", "classifying"}
        assert set(each["tag_stages"]) == STAGES
        assert each["achieved"] == pytest.approx(each["tag"] / each["floor"])
        assert each["tag"] < each["tag_running"]
        assert each["tag_ms"] == pytest.approx(sum(each["tag_stages"].values()))
        # Nothing can use more than all processors.
        assert each["floor_ms"] * each["floor"] / 1000 <= 1.05 * available_cpus()
        assert each["tag_ms"] * each["tag"] / 1000 <= 1.05 * available_cpus()


def test_the_output_fits_its_schema(measured, fits_schema):
    fits_schema("bench", measured)


def test_every_arrangement_is_tried_and_the_best_one_named(measured):
    tried = {(each["sessions"], each["threads"], each["batch"]) for each in measured["settings"]}
    assert (available_cpus(), 1, 8) in tried
    assert measured["best"]["rate"] == max(each["rate"] for each in measured["settings"]) > 0


def test_people_see_a_table(tmp_path):
    result = CliRunner().invoke(app, ["bench", str(IMAGES), "--images", "8", "--rounds", "1", "--no-progress"])
    assert result.exit_code == 0, result.output
    for part in ("baseline", "cataloger tag", "achieved:", "idle", "classifying", "model alone, best:"):
        assert part in result.stdout


def test_images_are_spread_over_the_folder_or_used_again(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(10):
        (photos / f"{number}.jpg").write_bytes(bytes([number]))
    few = lay_out(photos, tmp_path / "few", 5)
    assert [Path(name).read_bytes()[0] for name in few] == [0, 2, 4, 6, 8]
    many = lay_out(photos, tmp_path / "many", 23)
    assert len(set(many)) == len(os.listdir(tmp_path / "many")) == 23
    assert {Path(name).read_bytes()[0] for name in many} == set(range(10))
    assert len({Path(name).read_bytes() for name in many}) == 23  # the same bytes would be decoded once


@pytest.mark.parametrize(("name", "message"), [("empty", "no image found in"), ("missing", "is not a folder")])
def test_without_images_the_error_says_so(tmp_path, name, message):
    (tmp_path / "empty").mkdir()
    result = CliRunner().invoke(app, ["bench", str(tmp_path / name), "--no-progress"])
    assert result.exit_code == 1
    assert isinstance(result.exception, SourceError) or message in result.output


def test_images_that_cannot_be_decoded_are_counted(tmp_path):
    for number in range(6):
        (tmp_path / f"{number}.jpg").write_bytes((IMAGES / "blue-fedora.png").read_bytes())
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    arguments = ["bench", str(tmp_path), "--images", "7", "--rounds", "1", "--json", "--no-progress"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["failed"] == 1


def test_the_profile_of_a_run_adds_up(tmp_path):
    arguments = [
        "tag",
        str(IMAGES),
        "--db",
        f"sqlite:///{tmp_path}/a.db",
        "--profile",
        str(tmp_path / "profile.json"),
    ]
    result = CliRunner().invoke(app, [*arguments, "--quiet"])
    assert result.exit_code == 0, result.output
    profile = json.loads((tmp_path / "profile.json").read_text())
    assert profile["images"] == 20
    assert set(profile["cpu_seconds"]) == STAGES
    assert sum(profile["waited_seconds"].values()) <= profile["total_seconds"]
    for stage, seconds in profile["cpu_seconds"].items():
        assert profile["cpu_ms_per_image"][stage] == pytest.approx(1000 * seconds / 20, abs=0.05)
    assert profile["options"]["paths"] == [str(IMAGES)]


def test_a_profile_without_a_folder_is_told_before_any_work(tmp_path):
    arguments = ["tag", str(IMAGES), "--db", f"sqlite:///{tmp_path}/a.db", "--quiet"]
    result = CliRunner().invoke(app, [*arguments, "--profile", str(tmp_path / "no" / "profile.json")])
    assert "there is no folder" in str(result.exception) + result.output
    assert not (tmp_path / "a.db").exists()


def test_a_profile_that_cannot_be_written_does_not_undo_the_run(tmp_path):
    arguments = [
        "tag",
        str(IMAGES),
        "--db",
        f"sqlite:///{tmp_path}/a.db",
        "--quiet",
        "--profile",
        "/proc/profile.json",
    ]
    result = CliRunner().invoke(app, arguments)
    assert "the run itself is complete" in str(result.exception) + result.output
    with sqlite3.connect(tmp_path / "a.db") as connection:
        assert connection.execute("SELECT COUNT(*) FROM cataloger_image_top5").fetchone() == (20,)
