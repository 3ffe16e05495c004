"""Fetching: bytes and hash of a file, in order and within bounds, or a failure that says what is wrong."""

import hashlib
import os
import subprocess
import sys
import time

import pytest

from cataloger.fetch import containment
from cataloger.fetch.prefetch import Remote, fetch
from cataloger.options import Limits
from cataloger.records import Failure, Fetched, Item


def item(path):
    return Item(os.fsdecode(path), os.fsdecode(path), "", os.fsencode(path))


def fetched(*paths, limits=None, **options):
    return list(fetch([item(path) for path in paths], limits or Limits(), **options))


def test_a_file_is_read_and_hashed(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    (found,) = fetched(tmp_path / "a")
    assert (found.data, found.content_hash) == (b"12345", hashlib.sha256(b"12345").hexdigest())


def test_order_is_kept_whatever_the_sizes(tmp_path):
    paths = [tmp_path / str(number) for number in range(200)]
    for number, path in enumerate(paths):
        path.write_bytes(bytes([number % 251]) * (1 if number % 3 else 1_000_000))
    assert [found.data[:1] for found in fetched(*paths)] == [bytes([n % 251]) for n in range(200)]


def test_failures_pass_through_in_their_place(tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    failure = Failure(item(b"row"), "source.bad_row", "no path")
    found = list(fetch([item(tmp_path / "a"), failure, item(tmp_path / "a")], Limits()))
    assert found[1] is failure
    assert len(found) == 3


def test_a_vanished_file_is_missing(tmp_path):
    assert fetched(tmp_path / "gone")[0].code == "io.missing"


def test_a_broken_link_is_missing(tmp_path):
    (tmp_path / "link").symlink_to("nowhere")
    assert fetched(tmp_path / "link")[0].code == "io.missing"


def test_a_link_to_itself_is_an_error(tmp_path):
    (tmp_path / "link").symlink_to("link")
    assert fetched(tmp_path / "link")[0].code == "io.error"


def test_a_path_that_is_too_long_is_a_failure(tmp_path):
    assert fetched(os.fsencode(tmp_path) + b"/x" * 4096)[0].is_transient


def test_a_folder_is_no_file_and_leaves_no_descriptor_open(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    assert {failure.code for failure in fetched(*[tmp_path] * 50)} == {"io.not_a_file"}
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.timeout(60)
def test_a_pipe_with_an_images_name_does_not_hold_up_the_run(tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    assert fetched(tmp_path / "a.jpg")[0].code == "io.not_a_file"


def test_too_many_bytes_is_a_permanent_failure_and_the_limit_is_inclusive(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    assert fetched(tmp_path / "a", limits=Limits(max_bytes=5))[0].data == b"12345"
    (failure,) = fetched(tmp_path / "a", limits=Limits(max_bytes=4))
    assert failure.code == "decode.too_many_bytes"
    assert not failure.is_transient


def test_names_that_are_not_utf8_are_read(tmp_path):
    path = os.fsencode(tmp_path) + b"/\xff\xfe.jpg"
    with open(path, "wb") as file:
        file.write(b"x")
    assert isinstance(fetched(path)[0], Fetched)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user who may not read the file")
def test_an_unreadable_file_is_a_permission_failure(tmp_path):
    path = tmp_path / "secret.jpg"
    path.write_bytes(b"x")
    path.chmod(0)
    for folder in [*path.parents][:-1]:
        folder.chmod(folder.stat().st_mode | 0o055)
    # The import happens as root: an unprivileged user may not reach this interpreter's packages.
    program = (
        "import os, sys; from cataloger.fetch.prefetch import fetch; from cataloger.options import Limits;"
        "from cataloger.records import Item; os.setgroups([]); os.setgid(65534); os.setuid(65534);"
        "print(next(fetch([Item('k', 'u', '', os.fsencode(sys.argv[1]))], Limits())).code)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "io.permission"


def test_reading_ahead_is_bounded_by_the_number_of_items(tmp_path):
    (tmp_path / "a").write_bytes(b"x")
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield item(tmp_path / "a")

    stream = fetch(endless(), Limits())
    next(stream)
    stream.close()
    assert len(taken) <= 200


def test_reading_ahead_is_bounded_by_bytes_even_while_nobody_takes(tmp_path):
    paths = [tmp_path / str(number) for number in range(60)]
    for path in paths:
        path.write_bytes(bytes(1_000_000))
    stream = fetch([item(path) for path in paths], Limits(bytes_in_flight=4_000_000), Remote(threads=2))
    next(stream)
    time.sleep(0.5)
    for path in paths:
        path.unlink()
    already_read = sum(isinstance(found, Fetched) for found in stream)
    assert already_read <= 6  # four within the limit, and what the two threads are just reading


def opened(path, within):
    (found,) = fetched(path, within=os.fsencode(within))
    return found.code if isinstance(found, Failure) else found.data


@pytest.fixture
def linked(tmp_path):
    """A folder with a file, a file outside, and links of every kind to both."""
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (tmp_path / "rooted").mkdir()
    (root / "sub" / "a.jpg").write_bytes(b"inside")
    for outside in ("secret.jpg", "rooted/secret.jpg"):
        (tmp_path / outside).write_bytes(b"outside")
    (root / "in.jpg").symlink_to("sub/a.jpg")
    (root / "out.jpg").symlink_to("../secret.jpg")
    (root / "absolute.jpg").symlink_to(tmp_path / "secret.jpg")
    (root / "twice.jpg").symlink_to("out.jpg")
    (root / "folder").symlink_to("..")
    (root / "sibling").symlink_to("../rooted")
    (tmp_path / "alias").symlink_to("root")
    return tmp_path


@pytest.mark.parametrize("root", ["root", "alias", "root/", "root/../root"])
def test_what_is_opened_lies_in_the_folder_whatever_its_path_says(linked, root):
    for inside in ("sub/a.jpg", "in.jpg", "folder/root/in.jpg", "folder/alias/sub/a.jpg"):
        assert opened(linked / root / inside, linked / root) == b"inside", inside
    outside = ("out.jpg", "absolute.jpg", "twice.jpg", "folder/secret.jpg", "sibling/secret.jpg", "../secret.jpg")
    for name in outside:
        assert opened(linked / root / name, linked / root) == "source.outside_root", name
        assert opened(linked / root / name, linked) == b"outside", name


def test_where_the_system_does_not_name_open_files_the_path_is_resolved(linked, monkeypatch):
    monkeypatch.setattr(containment.os.path, "lexists", lambda _: False)
    assert opened(linked / "root" / "in.jpg", linked / "root") == b"inside"
    assert opened(linked / "root" / "twice.jpg", linked / "root") == "source.outside_root"


def test_a_file_that_is_exchanged_after_it_was_opened_is_judged_as_it_was_opened(linked):
    path = linked / "root" / "out.jpg"
    descriptor = os.open(path, os.O_RDONLY)
    try:
        path.unlink()
        path.write_bytes(b"innocent")
        assert not containment.lies_in(descriptor, os.fsencode(path), os.fsencode(linked / "root"))
    finally:
        os.close(descriptor)
