"""Files and folders that are replaced: whole or not at all, with the mode and the owner that they had."""

import os
import stat
import threading

import pytest
from full_disk import full_disk

from cataloger.errors import LostOutputError, OutputError
from cataloger.utils import atomic_files, put_folder, replacing


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def write(path, text="new", **options):
    with replacing(path, **options) as temporary:
        temporary.write_text(text)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_new_file_has_the_usual_permissions(tmp_path):
    before = os.umask(0o027)
    try:
        write(tmp_path / "x")
    finally:
        os.umask(before)
    assert mode(tmp_path / "x") == 0o640


def test_a_file_that_is_replaced_keeps_its_mode(tmp_path):
    (tmp_path / "x").write_text("old")
    (tmp_path / "x").chmod(0o604)
    write(tmp_path / "x")
    assert (mode(tmp_path / "x"), (tmp_path / "x").read_text()) == (0o604, "new")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_a_file_that_root_replaces_stays_its_owners(tmp_path):
    (tmp_path / "x").write_text("old")
    os.chown(tmp_path / "x", 1234, 5678)
    write(tmp_path / "x")
    state = (tmp_path / "x").stat()
    assert (state.st_uid, state.st_gid) == (1234, 5678)


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "x").write_text("old")
    (tmp_path / "x").symlink_to("there/x")
    write(tmp_path / "x")
    assert (tmp_path / "x").is_symlink()
    assert (tmp_path / "there" / "x").read_text() == "new"
    assert names(tmp_path / "there") == ["x"]


def test_a_link_to_nothing_makes_what_it_leads_to(tmp_path):
    (tmp_path / "x").symlink_to("y")
    write(tmp_path / "x")
    assert (tmp_path / "y").read_text() == "new"


def test_a_pipe_is_written_to_and_stays(tmp_path):
    os.mkfifo(tmp_path / "x")
    found = []
    reader = threading.Thread(target=lambda: found.append((tmp_path / "x").read_text()))
    reader.start()
    write(tmp_path / "x")
    reader.join()
    assert found == ["new"]
    assert stat.S_ISFIFO((tmp_path / "x").stat().st_mode)


def test_a_device_that_is_full_is_told(tmp_path):
    (tmp_path / "x").symlink_to("/dev/full")
    with pytest.raises(OutputError, match="x cannot be written: No space left on device"):
        write(tmp_path / "x")


def test_a_full_disk_leaves_the_old_file(tmp_path):
    (tmp_path / "x").write_text("old")
    with full_disk(1000), pytest.raises(LostOutputError, match="x cannot be written: File too large; so what"):
        write(tmp_path / "x", "n" * 2000, failure=LostOutputError, advice="; so what")
    assert (names(tmp_path), (tmp_path / "x").read_text()) == (["x"], "old")


def test_another_error_leaves_the_old_file(tmp_path):
    (tmp_path / "x").write_text("old")
    with pytest.raises(TypeError):
        write(tmp_path / "x", b"no text")
    assert (names(tmp_path), (tmp_path / "x").read_text()) == (["x"], "old")


@pytest.mark.parametrize("name", ["none/x", "folder", "loop/x"])
def test_a_place_that_cannot_be_is_one_line(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OutputError, match=f"{name} cannot be written: "):
        write(tmp_path / name)
    assert names(tmp_path) == ["folder", "loop"]


def test_a_name_as_long_as_the_system_allows_can_be_replaced(tmp_path):
    name = "ä" * 125 + ".json"
    write(tmp_path / name)
    assert names(tmp_path) == [name]


@pytest.fixture(params=[True, False], ids=["in one step", "in two steps"])
def folders(tmp_path, request, monkeypatch):
    """A new and an old folder; a system that can exchange them, and one that cannot."""
    if not request.param:
        monkeypatch.setattr(atomic_files, "_exchange", lambda first, second: False)
    for name in ("new", "old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    return tmp_path / "new", tmp_path / "old"


def test_folders_change_places(folders):
    new, old = folders
    old.chmod(0o750)
    put_folder(new, old)
    assert ((old / "file").read_text(), (new / "file").read_text(), mode(old)) == ("new", "old", 0o750)
    assert names(old.parent) == ["new", "old"]


def test_a_folder_behind_a_link_is_replaced_and_the_link_stays(folders):
    new, old = folders
    link = old.with_name("link")
    link.symlink_to("old")
    put_folder(new, link)
    assert (link.is_symlink(), (old / "file").read_text()) == (True, "new")


def test_a_folder_that_cannot_be_put_in_place_leaves_the_old_one(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic_files, "_exchange", lambda first, second: False)
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    (tmp_path / "old" / "file").write_text("old")
    real = atomic_files.Path.rename

    def refuse(self, target):
        if self.name == "new":
            raise PermissionError(13, "Permission denied")
        return real(self, target)

    monkeypatch.setattr(atomic_files.Path, "rename", refuse)
    with pytest.raises(PermissionError):
        put_folder(tmp_path / "new", tmp_path / "old")
    assert (tmp_path / "old" / "file").read_text() == "old"
