"""From named paths to sources."""

import os

import pytest

from cataloger.errors import SourceError
from cataloger.sources.resolve import Target, resolve_targets


@pytest.fixture
def tree(tmp_path, monkeypatch):
    for name in ("photos/a.jpg", "photos/sub/b.jpg", "other/c.jpg", "list.csv"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    return os.fsencode(tmp_path)


def test_folders_files_and_manifests_become_sources(tree):
    assert resolve_targets(["photos", "list.csv", "other/c.jpg"]) == [
        Target("folder", tree + b"/photos"),
        Target("folder", tree + b"/other", (b"c.jpg",)),
        Target("manifest", tree + b"/list.csv"),
    ]


def test_what_another_named_folder_holds_is_not_scanned_twice(tree):
    paths = ["photos/sub", "photos", "photos/a.jpg", "photos/sub/b.jpg", "./photos/"]
    assert resolve_targets(paths) == [Target("folder", tree + b"/photos")]


def test_files_of_one_folder_are_one_source(tree):
    (target,) = resolve_targets(["photos/a.jpg", "photos/../photos/a.jpg", "photos/a.jpg"])
    assert target == Target("folder", tree + b"/photos", (b"a.jpg",))


@pytest.mark.parametrize(("paths", "message"), [([], "no path"), (["nowhere"], "nowhere does not exist")])
def test_what_cannot_be_tagged_is_an_error_before_any_work(tree, paths, message):
    with pytest.raises(SourceError, match=message):
        resolve_targets(paths)
