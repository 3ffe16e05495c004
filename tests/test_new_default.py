"""A new version brings another default model: the night after the upgrade goes on, with the former or the new one.

A version with another default model is made of this one: a copy of its packages, in which the default bundle is a
small one and the former default is kept as `cataloger models keep default --slim` makes it. Its commands run in
processes of their own, on ledgers that this version or 0.1.0 has made.
"""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from old_ledgers import EXAMPLES, load, maker
from patience import HANGS
from small_bundles import LABELS, small_bundle
from typer.testing import CliRunner

from cataloger.cli.app import app
from cataloger.model import resolve_bundle_path
from cataloger.model.bundle import default_bundle_path, read_bundle

ROOT = Path(__file__).parents[1]
PRESENT = read_bundle(default_bundle_path(), check=())
NAME = PRESENT.reference
OLD = read_bundle(resolve_bundle_path("fashion-39@0.3"), check=())
"""The default of 0.1.0, by which the old ledger was tagged."""


def cataloger(*arguments, status=0):
    """Run a command of this version in this process."""
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == status, result.output
    return result


class NextVersion:
    """A copy of the packages below a folder that Python finds first."""

    def __init__(self, site, *, keeps):
        self.site = site
        package = site / "cataloger"
        left = shutil.ignore_patterns("default_model", "__pycache__", *([] if keeps else ["kept_models"]))
        shutil.copytree(ROOT / "cataloger", package, ignore=left)
        for name in ("training", "migrations"):
            shutil.copytree(ROOT / name, package / name, ignore=left)
        small_bundle(package / "default_model")
        if keeps:
            cataloger("models", "keep", "default", package / "kept_models" / "present", "--slim")

    def run(self, *arguments, status=0):
        """Run a command; return what it printed."""
        command = [sys.executable, "-P", "-m", "cataloger", *map(str, arguments)]
        env = os.environ | {"PYTHONPATH": str(self.site)}
        result = subprocess.run(command, capture_output=True, text=True, check=False, env=env, timeout=HANGS)
        assert result.returncode == status, result.stdout + result.stderr
        return result

    def answer(self, *arguments, status=0):
        """Return what a command answers as JSON."""
        return json.loads(self.run(*arguments, "--json", status=status).stdout)


@pytest.fixture(scope="module")
def upgraded(tmp_path_factory):
    return NextVersion(tmp_path_factory.mktemp("site"), keeps=True)


@pytest.fixture(scope="module")
def without_copy(tmp_path_factory):
    return NextVersion(tmp_path_factory.mktemp("site"), keeps=False)


@pytest.fixture
def ledger(tmp_path):
    """A ledger of 0.1.0 whose tables have been upgraded: a folder, and a product table with a label map."""
    (tmp_path / "root").mkdir()
    old = load(f"sqlite:///{tmp_path / 'old.db'}", tmp_path / "root")
    old.run("db", "upgrade")
    return old


def synced(version, ledger, *flags, status=0):
    command = [flag for flag in maker.SYNC if flag != "--quiet"]
    place = ("--image-root", ledger.root / maker.SHOP, "--db", ledger.url)
    return version.run(*command, *place, *flags, status=status)


def query(ledger, sql):
    with closing(sqlite3.connect(ledger.url.removeprefix("sqlite:///"))) as connection:
        return connection.execute(sql).fetchall()


def test_the_next_version_has_the_former_models(upgraded):
    listed = upgraded.answer("models", "list")
    former = [(each.name, each.version, each.weights_id) for each in (OLD, PRESENT)]
    assert (listed[0]["name"], listed[0]["version"]) == ("shop", "3")
    assert [(each["name"], each["version"], each["weights_id"]) for each in listed[1:]] == former


def test_the_night_after_the_upgrade_tags_nothing_again_and_new_images_with_the_former_model(upgraded, ledger):
    before = query(ledger, "SELECT key, label_1, confidence_1 FROM cataloger_image_top5 ORDER BY key")
    folder = ledger.root / maker.FOLDER
    night = upgraded.answer("tag", folder, "--db", ledger.url)
    assert (night["done"], night["failed"], night["skipped"]) == (0, 0, 6)
    assert json.loads(synced(upgraded, ledger, "--json").stdout)["done"] == 0
    assert query(ledger, "SELECT key, label_1, confidence_1 FROM cataloger_image_top5 ORDER BY key") == before
    for precision in ("int8", "fp32"):
        shutil.copy(EXAMPLES / "winter-hat.png", folder / f"{precision}.png")
        night = upgraded.answer("tag", folder, "--db", ledger.url, "--precision", precision)
        assert (night["done"], night["models"]) == (1, [f"{OLD.title} in {precision} on cpu"])
    assert query(ledger, "SELECT label_1 FROM cataloger_image_top5 WHERE key LIKE '%8.png'") == [("Hat",)]
    assert query(ledger, "SELECT name, location FROM cataloger_model") == [(OLD.name, OLD.reference)]
    assert upgraded.answer("recalibrate", "--db", ledger.url, "--model", OLD.reference)["unchanged"] > 0


def test_the_new_default_is_adopted_and_the_former_one_comes_back_by_name(upgraded, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    shutil.copy(EXAMPLES / "winter-hat.png", photos)
    url = f"sqlite:///{tmp_path / 'a.db'}"
    cataloger("tag", photos, "--db", url, "-q")
    adopted = upgraded.answer("tag", photos, "--db", url, "--model", "default")
    assert adopted["planned_by_reason"] == {"model": 1}
    back = upgraded.answer("tag", photos, "--db", url, "--model", NAME)
    assert back["skipped_by_reason"] == {"unchanged": 1}
    other = shutil.copytree(photos, tmp_path / "other")
    # Another source of the same ledger begins with the default of its day.
    assert upgraded.answer("tag", other, "--db", url)["models"] == ["shop 3 in fp32 on cpu"]
    # And this version goes on, should it be installed again.
    assert json.loads(cataloger("tag", photos, "--db", url, "--json").stdout)["done"] == 0


def test_a_label_map_of_the_former_labels_says_which_lines_are_missing(upgraded, ledger, tmp_path):
    refused = synced(upgraded, ledger, "--model", "default", status=2).stderr
    assert "has no code for 'Sock', which the model can answer" in refused
    assert refused.splitlines()[-1] == "Sock,,,"
    codes = tmp_path / "codes.csv"
    codes.write_text("code;Label;note\n1;Hat;x\n2;Shirt;\n")
    refused = synced(upgraded, ledger, "--model", "default", "--label-map", codes, status=2).stderr
    assert refused.splitlines()[-1] == ";Sock;"
    codes.write_text(codes.read_text() + "3;Sock;\n")
    # Two corrections of the past are to labels that the new map lacks: status 3, and their cells stay.
    night = synced(upgraded, ledger, "--model", "default", "--label-map", codes, "--json", status=3)
    assert json.loads(night.stdout)["models"] == ["shop 3 in fp32 on cpu"]


def test_without_a_copy_the_error_says_what_helps_and_that_helps(without_copy, ledger, tmp_path):
    folder = ledger.root / maker.FOLDER
    refused = without_copy.run("tag", folder, "--db", ledger.url, status=2).stderr
    assert f"was tagged with {OLD.title}, which came with another version of cataloger" in refused
    assert (
        "--model DIR goes on with a copy of it, which `cataloger models keep default DIR` of that version makes"
        in refused
    )
    cataloger("models", "keep", OLD.reference, tmp_path / "copy")
    night = without_copy.answer("tag", folder, "--db", ledger.url, "--model", tmp_path / "copy")
    assert (night["done"], night["skipped"]) == (0, 6)
    assert without_copy.answer("tag", folder, "--db", ledger.url)["skipped"] == 6


def test_a_lost_copy_of_weights_that_ship_names_them(upgraded, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    shutil.copy(EXAMPLES / "winter-hat.png", photos)
    url = f"sqlite:///{tmp_path / 'a.db'}"
    cataloger("models", "keep", "default", tmp_path / "copy")
    cataloger("tag", photos, "--db", url, "-q", "--model", tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy")
    refused = upgraded.run("tag", photos, "--db", url, status=2).stderr
    assert f"--model {NAME} goes on with the same weights, which come with cataloger" in refused
    assert "--model DIR keeps it if you name its new folder" in refused
    assert upgraded.answer("tag", photos, "--db", url, "--model", NAME)["done"] == 0


def test_a_template_has_a_line_for_each_label_and_takes_codes_over(upgraded, tmp_path):
    assert upgraded.run("models", "labels").stdout.splitlines() == [
        "label,code,name,parent",
        "Hat,,,",
        "Shirt,,,",
        "Sock,,,",
    ]
    codes = tmp_path / "codes.csv"
    codes.write_text('label,code,name\nHat,H1,"Hats, caps"\nTie,T1,\n')
    lines = upgraded.run("models", "labels", "default", "--label-map", codes).stdout.splitlines()
    assert lines[1:] == ['Hat,H1,"Hats, caps",', "Shirt,,,", "Sock,,,"]
    assert len(LABELS) == 3
