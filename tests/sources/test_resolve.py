"""From named paths to sources."""

import os

import pytest

from cataloger.errors import SourceError, UsageError
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


def test_what_the_scan_of_another_folder_would_leave_out_is_a_source_of_its_own(tree):
    for name in (
        "photos/notes.txt",
        "photos/.h/x.jpg",
        "photos/.h/.i/y.jpg",
        "photos/sub/.z.jpg",
        "photos/sub/x.mpo",
    ):
        path = os.path.join(tree, os.fsencode(name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb"):
            pass
    files = ["photos/notes.txt", "photos/.h/.i/y.jpg", "photos/sub/.z.jpg", "photos/sub/x.mpo"]
    assert resolve_targets(["photos/.h", *files, "photos"]) == [
        Target("folder", tree + b"/photos"),
        Target("folder", tree + b"/photos/.h"),
        Target("folder", tree + b"/photos", (b"notes.txt",)),
        Target("folder", tree + b"/photos/.h/.i", (b"y.jpg",)),
        Target("folder", tree + b"/photos/sub", (b".z.jpg",)),
    ]


def test_addresses_are_grouped_by_their_host(tree):
    addresses = [
        "https://me:secret@Shop.example/a.jpg?sig=1",
        "https://shop.example/b.jpg",
        "HTTP://shop.example:81/c",
    ]
    shop, other = resolve_targets([*addresses, addresses[0]])
    assert (shop.kind, shop.root, shop.addresses) == ("web", b"https://shop.example", tuple(addresses[:2]))
    assert (other.root, other.addresses) == (b"http://shop.example:81", (addresses[2],))
    assert "secret" not in repr(shop)


def test_an_address_without_its_scheme_is_one_unless_there_is_a_file_or_folder_of_its_name(tree):
    given = ["shop.com/a.jpg?sig=1", "//cdn.shop.museum/a.jpg", "shop.com/b.jpg", "127.0.0.1:81/a.jpg"]
    assert [(target.root, target.addresses) for target in resolve_targets(given)] == [
        (b"https://shop.com", ("https://shop.com/a.jpg?sig=1", "https://shop.com/b.jpg")),
        (b"https://cdn.shop.museum", ("https://cdn.shop.museum/a.jpg",)),
        (b"http://127.0.0.1:81", ("http://127.0.0.1:81/a.jpg",)),
    ]
    os.makedirs(tree + b"/shop.com")
    with pytest.raises(SourceError, match=r"shop.com/a.jpg\?sig=1 does not exist; is the storage mounted"):
        resolve_targets(given)
    with open(tree + b"/shop.com/a.jpg", "wb"):
        pass
    (target,) = resolve_targets(["shop.com/a.jpg"])
    assert (target.kind, target.files) == ("folder", (b"a.jpg",))


def test_addresses_in_object_stores_are_folders_or_single_images():
    named = [
        "S3://shop/a/",
        "s3://shop/a/b",
        "s3://shop/a/c.jpg",
        "s3://shop/a/.h/d.JPG",
        "gs://shop/e.png/",
        "s3://shop/f.png",
    ]
    assert [(each.kind, each.root, each.files) for each in resolve_targets(named)] == [
        ("bucket", b"s3://shop/a", None),
        ("bucket", b"gs://shop/e.png", None),
        ("bucket", b"s3://shop/a/.h", (b"d.JPG",)),
        ("bucket", b"s3://shop", (b"f.png",)),
    ]


@pytest.mark.parametrize(
    "address", ["s3a://bucket/a.jpg", "ftp://me:secret@shop.example/a.jpg?secret", "file:///a.jpg"]
)
def test_an_address_of_another_kind_is_a_wrong_argument(tree, address):
    with pytest.raises(UsageError, match="images are read from paths and from http, https, s3, gs, az") as caught:
        resolve_targets([address])
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "address", ["https://", "https:///secret.jpg", "https://me:sec/ret@host/a", "http://a b/secret"]
)
def test_an_address_that_is_none_is_an_error_without_its_secrets(tree, address):
    with pytest.raises(UsageError, match=r"must look like https://shop.example/a.jpg") as caught:
        resolve_targets([address])
    assert "sec" not in str(caught.value)


def test_files_of_one_folder_are_one_source(tree):
    (target,) = resolve_targets(["photos/a.jpg", "photos/../photos/a.jpg", "photos/a.jpg"])
    assert target == Target("folder", tree + b"/photos", (b"a.jpg",))


@pytest.mark.parametrize(
    ("paths", "error", "message"),
    [
        ([], UsageError, "no path"),
        (["photos", " "], UsageError, "an empty path"),
        (["nowhere"], SourceError, "nowhere does not exist"),
    ],
)
def test_what_cannot_be_tagged_is_an_error_before_any_work(tree, paths, error, message):
    with pytest.raises(error, match=message):
        resolve_targets(paths)
