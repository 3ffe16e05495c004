"""The paths of manifests as people write them, for `tag` and for `train`; and their bytes, whatever the locale."""

import csv
import json
import subprocess
import sys
import unicodedata

import pytest

from cataloger.records import Item
from cataloger.sources.manifest import ManifestSource
from cataloger.training.data.columns import file_below

WRITTEN = ["sub/x.png", "sub/x.png ", " sub/x.png", "sub/x.png\n", r"sub\x.png", "sub/x.png?v=3", "sub%2Fx.png"]


@pytest.fixture
def photos(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("sub/x.png", "Mütze.png", "日本.png"):
        (tmp_path / name).write_bytes(b"1")
    return tmp_path


def manifest(photos, values):
    path = photos / "m.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["image"], *([value] for value in values)])
    return ManifestSource(path)


def test_rows_that_mean_one_file_have_its_key(photos):
    items = list(manifest(photos, WRITTEN).scan())
    assert {item.key for item in items} == {"sub/x.png"}
    assert {(item.path, item.version) for item in items} == {(items[0].path, items[0].version)}
    assert items[0].version


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_name_is_found_however_its_letters_are_composed(photos, form):
    [item] = manifest(photos, [unicodedata.normalize(form, "Mütze.png")]).scan()
    assert (item.key, item.path) == ("Mütze.png", bytes(photos) + "/Mütze.png".encode())


def test_a_whole_path_and_one_beside_the_folder_are_cleaned_too(photos):
    above = str(photos.parent.relative_to(photos, walk_up=True)) if sys.version_info >= (3, 12) else ".."
    rows = [f"{photos}/sub/x.png\r", rf"{above}\{photos.name}\sub\x.png"]
    assert [item.version != "" for item in manifest(photos, rows).scan()] == [True, True]


def test_a_name_that_no_file_has_stays_as_it_is_written(photos):
    [item] = manifest(photos, [r"sub\y.png "]).scan()
    assert item == Item(r"sub\y.png ", f"{photos}/sub\\y.png ", "", bytes(photos) + rb"/sub\y.png ")


@pytest.mark.parametrize("written", WRITTEN)
def test_training_finds_the_same_file(photos, written):
    assert file_below(photos, written) == ("sub/x.png", photos / "sub/x.png")


PROGRAM = """
import json, os, sys
from pathlib import Path
from cataloger.sources.manifest import ManifestSource
from cataloger.training.data.columns import file_below
photos = Path(os.fsdecode(sys.argv[1]))
found = [(item.key, bool(item.version)) for item in ManifestSource(photos / "m.csv").scan()]
trained = [file_below(photos, name)[1].exists() for name in ("M\\u00fctze.png", "\\u65e5\\u672c.png")]
print(json.dumps([sys.getfilesystemencoding(), found, trained]))
"""


def test_names_of_a_manifest_are_utf8_in_a_legacy_locale(photos):
    """In one that knows ASCII alone, which is everywhere; others would make other bytes of the same letters."""
    manifest(photos, ["Mütze.png", "日本.png"])
    environment = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(photos)], env=environment, check=True, capture_output=True, text=True
    )
    encoding, found, trained = json.loads(done.stdout)
    assert encoding != "utf-8"
    assert found == [["Mütze.png", True], ["日本.png", True]]
    assert trained == [True, True]
