"""Folders as sources: what counts, names of every kind, links, and what cannot be read."""

import os
import subprocess
import sys

import pytest

from cataloger.errors import SourceError, UsageError
from cataloger.records import Failure, Item
from cataloger.sources.file_keys import key_of
from cataloger.sources.folder import FolderSource


def make(root, *names):
    for name in names:
        path = os.path.join(os.fsencode(root), name if isinstance(name, bytes) else os.fsencode(name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(b"x")


def keys(root, **options):
    return [subject_key(subject) for subject in FolderSource(os.fsencode(root), **options).scan()]


def subject_key(subject):
    return subject.key if isinstance(subject, Item) else subject.item.key


def test_images_of_any_case_are_found_recursively_and_in_order(tmp_path):
    make(tmp_path, "b.JPG", "a.jpeg", "c/d.PnG", "c/e.webp", "notes.txt", "c/Thumbs.db")
    source = FolderSource(os.fsencode(tmp_path))
    assert [item.key for item in source.scan()] == ["a.jpeg", "b.JPG", "c/d.PnG", "c/e.webp"]
    assert source.left_out == {".txt": 1, ".db": 1}
    assert source.is_complete


def test_what_is_left_out_is_counted_by_reason(tmp_path):
    make(
        tmp_path,
        "a.jpg",
        "x.mpo",
        ".b.jpg",
        ".h/c.jpg",
        "README",
        "d.TXT",
        "e.txt",
        "sub/f.tar.gz",
        "g.jpg.",
        "h.jpg ",
    )
    make(tmp_path, *(f"{number}.e{number}" for number in range(200)), "long.extension-of-thirty-characters")
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(tmp_path / "pipe.jpg")
    os.symlink("nowhere", tmp_path / "dangling")
    os.symlink("nowhere", tmp_path / "dangling.jpg")
    os.symlink("sub", tmp_path / "link")
    os.symlink("..", tmp_path / "sub" / "up")
    source = FolderSource(os.fsencode(tmp_path))
    for _ in range(2):
        assert [subject_key(subject) for subject in source.scan()] == ["a.jpg", "dangling.jpg", "pipe.jpg", "x.mpo"]
        counts = source.left_out
        assert (counts["hidden"], counts["linked_folder"], counts["special_file"], counts[".txt"]) == (2, 2, 1, 2)
        assert counts[".gz"] + counts["other_extension"] + sum(counts[f".e{number}"] for number in range(200)) >= 201
        assert counts["no_extension"] == 4
        assert len(counts) < 110
        assert counts.total() == 2 + 2 + 1 + 2 + 1 + 4 + 1 + 200


def test_what_is_still_there_has_not_left(tmp_path):
    make(tmp_path, ".hidden/a.jpg", "notes.txt", "b.jpg", "sub/c.jpg", "%41.jpg")
    os.symlink("sub", tmp_path / "link")
    os.symlink("nowhere", tmp_path / "dangling.jpg")
    source = FolderSource(os.fsencode(tmp_path))
    there = [".hidden/a.jpg", "notes.txt", "b.jpg", "sub/c.jpg", "%2541.jpg", "dangling.jpg"]
    assert not [key for key in there if source.can_be_missing(key)]
    # What a link to a folder leads to is found under its own name.
    assert all(map(source.can_be_missing, ["link/c.jpg", "gone.jpg", "sub/gone.jpg", "b.jpg/x.jpg", "%41.jpg"]))
    # What a link leads to that leads nowhere at the moment, such as a folder of another machine, may be there.
    os.symlink("/mnt/nowhere/photos", tmp_path / "nas")
    os.symlink("loop", tmp_path / "loop")
    assert not [key for key in ("nas/a.jpg", "nas/b/c.jpg", "loop/a.jpg") if source.can_be_missing(key)]
    inner = FolderSource(os.fsencode(tmp_path / "sub"), prefix="sub/")
    assert [inner.can_be_missing(key) for key in ("sub/c.jpg", "sub/d.jpg")] == [False, True]


def test_two_files_of_one_name_in_two_folders_are_two_items(tmp_path):
    make(tmp_path, "red/1.jpg", "blue/1.jpg")
    assert keys(tmp_path) == ["blue/1.jpg", "red/1.jpg"]


def test_hidden_files_and_folders_are_left_out(tmp_path):
    make(tmp_path, ".a.jpg", ".thumbnails/b.jpg", "._c.jpg", "d.jpg")
    assert keys(tmp_path) == ["d.jpg"]


def test_unicode_and_undecodable_names_have_distinct_keys(tmp_path):
    names = ["\u00e9.jpg", "e\u0301.jpg", "服.jpg", b"\xff.jpg", b"%FF.jpg", b"100%.jpg", b"%25FF.jpg"]
    make(tmp_path, *names)
    found = keys(tmp_path)
    assert len(set(found)) == len(names)
    assert {"%FF.jpg", "%25FF.jpg", "100%.jpg", "服.jpg", "%2525FF.jpg"} <= set(found)


@pytest.mark.parametrize("name", [b"a", b"%", b"%4", b"%41", b"\xff", b"%\xff", b"%25", b"\xc3(", b"%%41"])
def test_a_key_can_be_turned_back_into_its_name(name):
    import re

    unescape = re.sub(rb"%([0-9A-Fa-f]{2})", lambda m: bytes([int(m[1], 16)]), key_of(name).encode())
    assert unescape == name


def test_very_long_names_work(tmp_path):
    make(tmp_path, "x" * 251 + ".jpg")
    (item,) = FolderSource(os.fsencode(tmp_path)).scan()
    assert len(item.key) == 255
    assert item.version.startswith("1-")


def test_a_loop_of_links_ends(tmp_path):
    make(tmp_path, "a/1.jpg", "b/2.jpg")
    (tmp_path / "a" / "back").symlink_to(tmp_path)
    (tmp_path / "a" / "self").symlink_to(tmp_path / "a")
    (tmp_path / "b" / "other").symlink_to(tmp_path / "a")
    assert keys(tmp_path) == ["a/1.jpg", "b/2.jpg"]


def test_two_folders_outside_that_link_to_each_other_end(tmp_path):
    make(tmp_path, "root/1.jpg", "x/2.jpg", "y/3.jpg")
    (tmp_path / "root" / "x").symlink_to(tmp_path / "x")
    (tmp_path / "x" / "y").symlink_to(tmp_path / "y")
    (tmp_path / "y" / "x").symlink_to(tmp_path / "x")
    assert keys(tmp_path / "root", follow_links=True) == ["1.jpg", "x/2.jpg", "x/y/3.jpg"]


def test_links_that_lead_out_are_left_out_and_counted_and_nothing_behind_them_leaves(tmp_path):
    make(tmp_path, "root/1.jpg", "root/sub/2.jpg", "rooted/3.jpg", "out/4.jpg", "out/5.txt")
    root = tmp_path / "root"
    (root / "folder").symlink_to("../out")
    (root / "sibling").symlink_to(tmp_path / "rooted")  # its name begins like that of the root
    (root / "file.jpg").symlink_to(tmp_path / "out" / "4.jpg")
    (root / "inside.jpg").symlink_to("sub/2.jpg")
    (root / "text.txt").symlink_to("../out/5.txt")
    source = FolderSource(os.fsencode(root))
    assert [item.key for item in source.scan()] == ["1.jpg", "inside.jpg", "sub/2.jpg"]
    assert source.left_out == {"link_outside": 3, ".txt": 1}
    assert source.is_complete
    assert source.count() == 3
    known = ["folder/4.jpg", "sibling/3.jpg", "file.jpg"]
    assert not [key for key in known if source.can_be_missing(key)]
    everything = FolderSource(os.fsencode(root), follow_links=True)
    assert {item.key for item in everything.scan()} == {"1.jpg", "inside.jpg", "sub/2.jpg", *known}
    assert all(everything.can_be_missing(key) for key in ("folder/9.jpg", "sibling/9.jpg"))


def test_a_root_that_is_a_link_itself_is_as_good_as_what_it_leads_to(tmp_path):
    make(tmp_path, "real/1.jpg", "real/sub/2.jpg")
    (tmp_path / "link").symlink_to("real")
    assert keys(tmp_path / "link") == ["1.jpg", "sub/2.jpg"]


def test_a_link_to_an_image_is_an_item_and_a_dangling_one_too(tmp_path):
    make(tmp_path, "a.jpg")
    (tmp_path / "b.jpg").symlink_to(tmp_path / "a.jpg")
    (tmp_path / "c.jpg").symlink_to(tmp_path / "nowhere.jpg")
    items = list(FolderSource(os.fsencode(tmp_path)).scan())
    assert [(item.key, item.version == "") for item in items] == [("a.jpg", False), ("b.jpg", False), ("c.jpg", True)]


def test_the_version_token_follows_size_and_time(tmp_path):
    make(tmp_path, "a.jpg")
    (before,) = FolderSource(os.fsencode(tmp_path)).scan()
    os.utime(tmp_path / "a.jpg", ns=(1, 1))
    (after,) = FolderSource(os.fsencode(tmp_path)).scan()
    assert before.version != after.version == "1-1"


def test_a_pipe_with_the_name_of_an_image_is_never_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (failure,) = FolderSource(os.fsencode(tmp_path)).scan()
    assert isinstance(failure, Failure)
    assert failure.code == "io.not_a_file"


def test_named_files_are_taken_whatever_their_extension(tmp_path):
    make(tmp_path, "photo", "a.jpg")
    assert keys(tmp_path, files=[b"photo"], prefix="in/") == ["in/photo"]


def test_counting_agrees_with_scanning(tmp_path):
    make(tmp_path, *(f"{n % 7}/{n}.jpg" for n in range(50)), "x.txt")
    assert FolderSource(os.fsencode(tmp_path)).count() == 50


def test_a_folder_without_images_says_what_was_looked_for(tmp_path):
    make(tmp_path, "a.txt", "b.doc")
    source = FolderSource(os.fsencode(tmp_path))
    assert list(source.scan()) == []
    assert "2 other files and folders were left out" in source.nothing_found()
    assert ".jpg" in source.nothing_found()


def test_a_folder_without_anything_says_nothing_of_what_was_left_out(tmp_path):
    source = FolderSource(os.fsencode(tmp_path))
    assert list(source.scan()) == []
    assert source.nothing_found().endswith("in any case, recursively")


def test_a_missing_root_is_an_error(tmp_path):
    with pytest.raises(SourceError, match="does not exist"):
        keys(tmp_path / "none")


def test_a_file_as_root_is_an_error(tmp_path):
    make(tmp_path, "a.jpg")
    with pytest.raises(SourceError, match="is not a folder"):
        keys(tmp_path / "a.jpg")


@pytest.mark.skipif(os.geteuid() != 0, reason="changing to another user needs root")
def test_a_folder_that_may_not_be_read_is_a_problem_and_costs_nothing_else(tmp_path):
    make(tmp_path, "closed/1.jpg", "open/2.jpg")
    (tmp_path / "closed").chmod(0o700)
    code = (
        "import os, sys\n"
        "from cataloger.sources.folder import FolderSource\n"
        "os.chdir('/')\nos.setgroups([])\nos.setgid(65534)\nos.setuid(65534)\n"
        "source = FolderSource(os.fsencode(sys.argv[1]))\n"
        "print([item.key for item in source.scan()], source.problems, source.is_complete)"
    )
    for parent in [tmp_path, *tmp_path.parents]:
        if parent.stat().st_uid == os.geteuid() and str(parent) not in ("/", "/tmp"):
            parent.chmod(0o755)
    result = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=False)
    expected = "['open/2.jpg'] ['the folder closed cannot be read: Permission denied'] False"
    assert result.stdout.strip() == expected, result.stderr


@pytest.mark.parametrize(
    ("pattern", "out"),
    [
        ("@eaDir", {"n/@eaDir/a.jpg"}),
        ("@eaDir/", {"n/@eaDir/a.jpg"}),
        ("*_thumb.jpg", {"n/a_thumb.jpg"}),
        ("cache/*", {"cache/c.jpg"}),
        ("./n/cache", {"n/cache/é.jpg"}),
        ("n/*", {"n/@eaDir/a.jpg", "n/a_thumb.jpg", "n/cache/é.jpg", "n/d.jpg", "n/[x].jpg"}),
        ("*/cache", {"n/cache/é.jpg"}),
        ("[[]x].jpg", {"n/[x].jpg"}),
        ("?.jpg", {"a.jpg", "cache/c.jpg", "n/@eaDir/a.jpg", "n/cache/é.jpg", "n/d.jpg"}),
        ("e\u0301.jpg", {"n/cache/é.jpg"}),
        ("A.jpg", set()),
    ],
)
def test_patterns_leave_files_and_folders_out(tmp_path, pattern, out):
    make(tmp_path, "a.jpg", "a_thumb.JPG", "cache/c.jpg", "n/a_thumb.jpg", "n/cache/é.jpg", "n/d.jpg", "n/[x].jpg")
    make(tmp_path, "n/@eaDir/a.jpg")
    source = FolderSource(os.fsencode(tmp_path), exclude=[pattern])
    everything = set(keys(tmp_path))
    found = [subject_key(subject) for subject in source.scan()]
    assert (len(found), set(found)) == (8 - len(out), everything - out)
    assert source.count() == len(found)
    assert (source.left_out["excluded"] > 0) is bool(out)
    for key in everything:
        assert source.is_excluded(key) is source.can_be_missing(key) is (key in out)


def test_names_that_are_no_text_can_be_left_out_and_named_files_cannot(tmp_path):
    make(tmp_path, b"\xff.jpg", b"\xff/a.jpg", "b.jpg")
    assert keys(tmp_path, exclude=["\udcff*"]) == ["b.jpg"]
    assert keys(tmp_path, exclude=["*"]) == []
    assert keys(tmp_path, exclude=["*"], files=[b"b.jpg"]) == ["b.jpg"]
    for pattern in ("", " ", "/", "./", "/abs/*"):
        with pytest.raises(UsageError, match="--exclude"):
            FolderSource(os.fsencode(tmp_path), exclude=[pattern])
