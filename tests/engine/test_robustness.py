"""Bad and odd files through the whole of tagging: a good result or a stable code, and no other result changes."""

import io
import json
import os
import signal
import sqlite3
import stat
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from by_url import parsed
from PIL import Image as PillowImage
from PIL import ImageOps

from cataloger.engine.tag import TagOptions, tag_images
from cataloger.imaging import decode_pool
from cataloger.options import Limits, RunOptions

EXAMPLES = Path(__file__).parents[2] / "examples" / "images"
TOLERANCE = 1e-5  # of a confidence, between two runs over the same bytes


def photo(name="sunglasses"):
    """A picture smaller than the network's input, so that JPEGs of it are not decoded at reduced scale."""
    return PillowImage.open(EXAMPLES / f"{name}.png").convert("RGBA").convert("RGB").resize((200, 150))


def encode(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def plain(data):
    """The same picture as an ordinary PNG."""
    return encode(ImageOps.exif_transpose(PillowImage.open(io.BytesIO(data))).convert("RGB"))


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def black_png(side):
    """A valid square PNG of 1 bit a pixel, without ever holding its pixels."""
    packer, row = zlib.compressobj(1), bytes(1 + (side + 7) // 8)
    packed = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def flipped(data):
    """A PNG with one bit of its pixels turned over."""
    place = data.index(b"IDAT") + 40
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def oriented(orientation):
    exif = PillowImage.Exif()
    exif[0x0112] = orientation
    return exif


def with_alpha():
    """Transparent above, where the hidden colours are garbage, and what it looks like on white."""
    alpha = np.full((150, 200), 255, np.uint8)
    alpha[:60], alpha[60:90] = 0, 128
    hidden = np.asarray(photo()).copy()
    hidden[:60] = np.random.default_rng(1).integers(0, 256, (60, 200, 3), np.uint8)
    image = PillowImage.fromarray(np.dstack([hidden, alpha]))
    canvas = PillowImage.new("RGBA", image.size, "white")
    canvas.alpha_composite(image)
    return encode(image), encode(canvas.convert("RGB"))


def odd_pairs():
    """Name of an odd file -> (its bytes, bytes of an ordinary PNG that shows the same)."""
    base, other = photo(), photo("winter-hat")
    jpeg = encode(base, "JPEG", quality=90)
    cmyk = encode(base.convert("CMYK"), "JPEG", quality=90)
    grey, palette = base.convert("L"), base.quantize(64)
    deep = PillowImage.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    turned = {
        f"turned-{orientation}.png": (encode(base.transpose(back), exif=oriented(orientation)), encode(base))
        for orientation, back in (
            (2, PillowImage.Transpose.FLIP_LEFT_RIGHT),
            (3, PillowImage.Transpose.ROTATE_180),
            (6, PillowImage.Transpose.ROTATE_90),
            (8, PillowImage.Transpose.ROTATE_270),
        )
    }
    lying = encode(base.rotate(90, expand=True), "JPEG", quality=90, exif=oriented(6))
    gif = encode(palette, "GIF", save_all=True, append_images=[other.quantize(64)] * 3, duration=50)
    apng = encode(base, "PNG", save_all=True, append_images=[other] * 3)
    return turned | {
        "jpeg-inside.png": (jpeg, plain(jpeg)),
        "png-inside.jpg": (encode(base), encode(base)),
        "cmyk.jpg": (cmyk, plain(cmyk)),
        "grey.jpg": (encode(grey, "JPEG", quality=90), plain(encode(grey, "JPEG", quality=90))),
        "palette.png": (encode(palette), encode(palette.convert("RGB"))),
        "black-and-white.png": (encode(base.convert("1")), encode(base.convert("1").convert("RGB"))),
        "sixteen-bits.png": (encode(deep), encode(grey.convert("RGB"))),
        "sixteen-bits.tif": (encode(deep, "TIFF"), encode(grey.convert("RGB"))),
        "alpha.png": with_alpha(),
        "film.gif": (gif, encode(palette.convert("RGB"))),
        "film.png": (apng, encode(base)),
        "lying.jpg": (lying, plain(lying)),
        "broken-exif.jpg": (encode(base, "JPEG", quality=90, exif=b"Exif\0\0II*\0\xff\xff\xff\xff"), plain(jpeg)),
    }


def bad_files():
    """Name -> (bytes, code)."""
    jpeg, png, webp = (encode(photo(), kind) for kind in ("JPEG", "PNG", "WEBP"))
    return {
        "empty.jpg": (b"", "decode.empty"),
        "page.jpg": (b"<!DOCTYPE html><html><body>404</body></html>", "decode.not_image"),
        "zeros.png": (bytes(5000), "decode.not_image"),
        "cut.jpg": (jpeg[: len(jpeg) // 2], "decode.truncated"),
        "cut.png": (png[: len(png) // 2], "decode.truncated"),
        "cut.webp": (webp[: len(webp) // 2], "decode.truncated"),
        "only-a-header.jpg": (jpeg[:4], "decode.truncated"),
        "flipped.png": (flipped(png), "decode.corrupt"),
        "phone.heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "decode.unsupported"),
        "bomb.png": (black_png(20_000), "decode.too_large"),
        "81-megapixels.png": (black_png(9_000), "decode.too_large"),  # which Pillow itself would decode
    }


GOOD = ("silk-shirt", "sunglasses", "winter-hat", "t-shirt-black")
ODD = odd_pairs()
BAD = bad_files()
# Kinds of directory entries that are no files, and one that is too large.
ENTRIES = {
    "dangling.jpg": "io.missing",
    "loop.jpg": "io.error",
    "pipe.jpg": "io.not_a_file",
    "socket.jpg": "io.not_a_file",
    "huge.jpg": "decode.too_many_bytes",
}
NAMES = {
    b"caf\xe9.png": "caf%E9.png",
    b"100%E9.png": "100%25E9.png",
    b"two\nlines.png": "two\nlines.png",
    b"'; DROP TABLE x; --.png": "'; DROP TABLE x; --.png",
    "👗-Größe 38.PNG".encode(): "👗-Größe 38.PNG",
    b"n" * 251 + b".png": "n" * 251 + ".png",
    b"-rf.png": "-rf.png",
    b"folder.jpg/inside.png": "folder.jpg/inside.png",
}


def write_good(folder):
    for name in GOOD:
        (folder / f"{name}.png").write_bytes(encode(photo(name)))


def write_all(folder):
    write_good(folder)
    (folder / "plain").mkdir()
    for name, (odd, ordinary) in ODD.items():
        (folder / name).write_bytes(odd)
        (folder / "plain" / f"{name}.png").write_bytes(ordinary)
    for name, (data, _) in BAD.items():
        (folder / name).write_bytes(data)
    (folder / "dangling.jpg").symlink_to("nowhere.jpg")
    (folder / "loop.jpg").symlink_to("loop.jpg")
    os.mkfifo(folder / "pipe.jpg")
    os.mknod(folder / "socket.jpg", stat.S_IFSOCK | 0o600)
    with (folder / "huge.jpg").open("wb") as file:
        file.truncate(Limits().max_bytes + 1)
    (folder / "folder.jpg").mkdir()
    for name in NAMES:
        (Path(os.fsdecode(os.path.join(os.fsencode(folder), name)))).write_bytes(encode(photo()))


def tag_into(db, *paths, hooks=None, **options):
    """Tag and return the report and the rows by key."""
    run = RunOptions(**options.pop("run", {"workers": 2}))
    report = tag_images(TagOptions(tuple(map(str, paths)), db=parsed(f"sqlite:///{db}"), run=run, **options), hooks)
    return report, read(db)


def read(db):
    query = """
        SELECT view.*, result.width, result.height, result.content_hash FROM cataloger_image_top5 AS view
        JOIN cataloger_item AS item ON item.key = view.key
        JOIN cataloger_result AS result ON result.item_id = item.id AND result.run_id = view.run_id
    """
    with sqlite3.connect(db) as connection:
        connection.row_factory = sqlite3.Row
        rows = [dict(row) for row in connection.execute(query)]
    assert len({row["key"] for row in rows}) == len(rows)
    return {row["key"]: row for row in rows}


def shows_the_same(row, other):
    """The same prediction: sizes and labels, confidences within the tolerance."""
    exact = ["status", "error_code", "width", "height", *(f"label_{rank}" for rank in range(1, 6))]
    confidences = [[each[f"confidence_{rank}"] for rank in range(1, 6)] for each in (row, other)]
    same = all(row[column] == other[column] for column in exact)
    return row["status"] == "ok" and same and np.allclose(*confidences, rtol=0, atol=TOLERANCE)


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """Rows of the good files when there is nothing else."""
    place = tmp_path_factory.mktemp("clean")
    (place / "photos").mkdir()
    write_good(place / "photos")
    _, rows = tag_into(place / "catalog.db", place / "photos")
    assert {row["status"] for row in rows.values()} == {"ok"}
    return rows


@pytest.fixture(scope="module")
def messy(tmp_path_factory):
    """Everything at once, tagged: place, report, rows."""
    place = tmp_path_factory.mktemp("messy")
    (place / "photos").mkdir()
    write_all(place / "photos")
    report, rows = tag_into(place / "catalog.db", place / "photos")
    return SimpleNamespace(place=place, report=report, rows=rows)


@pytest.fixture
def photos(tmp_path):
    """A folder with the good files."""
    folder = tmp_path / "photos"
    folder.mkdir()
    write_good(folder)
    return folder


def unchanged(rows, clean):
    """Each good file has the result that it has without the others."""
    return all(shows_the_same(rows[key], clean[key]) for key in clean)


def test_each_file_has_one_row_and_each_failure_counts(messy):
    expected = {
        *(f"{name}.png" for name in GOOD),
        *ODD,
        *(f"plain/{name}.png" for name in ODD),
        *BAD,
        *ENTRIES,
        *NAMES.values(),
    }
    assert set(messy.rows) == expected
    assert messy.report.run.failed == len(BAD) + len(ENTRIES)
    assert messy.report.run.attempted == len(expected)
    assert messy.report.exit_status == 3


def test_good_files_have_the_result_that_they_have_alone(messy, clean):
    assert unchanged(messy.rows, clean)


@pytest.mark.parametrize("name", ODD)
def test_an_odd_file_is_seen_as_what_it_shows(messy, name):
    assert shows_the_same(messy.rows[name], messy.rows[f"plain/{name}.png"])


def test_what_an_odd_file_shows_could_have_been_told_from_other_pictures(messy):
    upright, other = messy.rows["turned-6.png"], messy.rows["winter-hat.png"]
    assert (upright["width"], upright["height"]) == (200, 150)
    assert not shows_the_same(upright, messy.rows["alpha.png"])
    assert not shows_the_same(messy.rows["film.png"], other)


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_a_failure_with_its_code(messy, name):
    row = messy.rows[name]
    assert (row["status"], row["error_code"], row["label_1"]) == ("failed", BAD[name][1], None)
    assert len(row["content_hash"]) == 64


@pytest.mark.parametrize("name", ENTRIES)
def test_what_is_no_readable_file_is_a_failure_with_its_code(messy, name):
    row = messy.rows[name]
    assert (row["status"], row["error_code"], row["label_1"]) == ("failed", ENTRIES[name], None)


@pytest.mark.parametrize("key", NAMES.values())
def test_a_name_may_be_anything(messy, clean, key):
    assert shows_the_same(messy.rows[key], clean["sunglasses.png"])


def test_the_next_run_tries_again_only_what_may_have_passed(messy):
    report, rows = tag_into(messy.place / "catalog.db", messy.place / "photos")
    transient = sum(code.startswith("io.") for code in ENTRIES.values())
    assert report.run.plan() == {
        "retry": transient,
        "failed_before": len(BAD) + len(ENTRIES) - transient,
        "unchanged": len(messy.rows) - len(BAD) - len(ENTRIES),
    }
    same = ("status", "error_code", "label_1", "confidence_1")
    assert all(rows[key][column] == messy.rows[key][column] for key in messy.rows for column in same)


def test_paths_longer_than_the_system_allows_are_failures_or_warnings(photos, tmp_path, clean):
    step, depth = "d" * 200, 0
    descriptor = os.open(photos, os.O_RDONLY)
    while depth < 25:  # the names of the system's calls end at 4096 bytes, folders may go on
        os.mkdir(step, dir_fd=descriptor)
        below = os.open(step, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        os.close(os.open("n" * 240 + ".png", os.O_CREAT, 0o600, dir_fd=below))
        descriptor, depth = below, depth + 1
    os.close(descriptor)
    report, rows = tag_into(tmp_path / "catalog.db", photos)
    assert unchanged(rows, clean)
    codes = [rows[key]["error_code"] for key in sorted(rows.keys() - clean.keys(), key=len)]
    reached = codes.count("decode.empty")
    assert codes == ["decode.empty"] * reached + ["io.error"] * (len(codes) - reached)
    assert 0 < reached < len(codes) < 25
    (warning,) = report.warnings
    assert "File name too long" in warning


def test_a_manifest_may_name_anything(photos, tmp_path, clean):
    os.mkfifo(photos / "pipe.jpg")
    names = ["pipe.jpg", ".", "gone.jpg", "silk-shirt.png/x.jpg", "silk-shirt.png", "y" * 5000 + ".jpg", "\udce9.jpg"]
    lines = [json.dumps({"path": f"photos/{name}"}) for name in names]
    (tmp_path / "list.jsonl").write_text("\n".join([*lines, '{"path": ', "[]", '{"path": 5}', "\0"]))
    _, rows = tag_into(tmp_path / "catalog.db", tmp_path / "list.jsonl")
    assert shows_the_same(rows.pop("photos/silk-shirt.png"), clean["silk-shirt.png"])
    assert {key.removeprefix("photos/"): row["error_code"] for key, row in rows.items()} == {
        "pipe.jpg": "io.not_a_file",
        ".": "io.not_a_file",
        "gone.jpg": "io.missing",
        "silk-shirt.png/x.jpg": "io.missing",
        "y" * 5000 + ".jpg": "io.error",
        "%E9.jpg": "io.missing",
        **dict.fromkeys(("line 8", "line 9", "line 10", "line 11"), "source.bad_row"),
    }


MEASURE = """
import json, resource, sys
from cataloger.db.urls import DatabaseURL
from cataloger.engine.tag import TagOptions, tag_images
report = tag_images(TagOptions((sys.argv[1],), db=DatabaseURL.parse("sqlite:///" + sys.argv[2])))
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([report.run.failures, usage.ru_maxrss // 1024, usage.ru_utime + usage.ru_stime]))
"""


def measured(folder, db):
    """Tag in a process of its own; return its failures and megabytes and processor seconds of its decoders."""
    command = [sys.executable, "-c", MEASURE, folder, db]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_a_bomb_is_refused_without_being_decoded(photos, tmp_path, clean):
    _, usual_memory, usual_seconds = measured(photos, tmp_path / "without.db")
    bomb = black_png(40_000)
    assert len(bomb) < 5_000_000
    for number in range(5):
        (photos / f"bomb-{number}.png").write_bytes(bomb)
    claim = chunk(b"IHDR", struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 1, 0, 0, 0, 0))
    (photos / "claim.png").write_bytes(bomb[:8] + claim + bomb[8 + len(claim) :])
    failures, memory, seconds = measured(photos, tmp_path / "with.db")
    assert failures == {"decode.too_large": 6}
    assert memory < usual_memory + 50  # one of them would be 1,600 MB
    assert seconds < usual_seconds + 2  # one of them would take several seconds
    assert unchanged(read(tmp_path / "with.db"), clean)


UNREADABLE = """
from cataloger.db.urls import DatabaseURL
from cataloger.engine.tag import TagOptions, tag_images
print(tag_images(TagOptions(({photos!r},), db=DatabaseURL.parse("sqlite:///{db}"))).run.failures)
"""


def test_a_file_that_may_not_be_read_fails_alone(photos, tmp_path, clean, as_nobody):
    (photos / "secret.png").write_bytes(encode(photo()))
    (photos / "secret.png").chmod(0)
    db = tmp_path / "catalog.db"
    status, output = as_nobody(UNREADABLE.format(photos=str(photos), db=db))
    assert (status, output.strip()) == (0, "Counter({'io.permission': 1})")
    assert unchanged(read(db), clean)


def test_a_file_that_vanishes_during_the_run_fails_alone(photos, tmp_path, clean, at):
    for number in range(30):
        (photos / f"x-{number:02}.png").write_bytes(encode(photo()) + bytes([number]))  # each is decoded
    last = photos / "x-29.png"
    at("after_decode", lambda: last.unlink(missing_ok=True))
    _, rows = tag_into(
        tmp_path / "catalog.db",
        photos,
        run={"workers": 1, "batch_size": 2},
        limits=Limits(bytes_in_flight=1),  # so that no more than a group is read ahead
    )
    assert rows.pop("x-29.png")["error_code"] == "io.missing"
    assert {row["status"] for row in rows.values()} == {"ok"}
    assert unchanged(rows, clean)


# Decodes like the real one, unless the bytes say what to do instead.
LOADER = """
import os, signal, time
from cataloger.imaging.preprocess import load

def treacherous(data, spec, limits):
    if data.startswith(b"abort"):
        os.abort()
    if data.startswith(b"segfault"):
        os.kill(os.getpid(), signal.SIGSEGV)
    if data.startswith(b"sleep"):
        time.sleep(600)
    return load(data, spec, limits)
"""


@pytest.mark.usefixtures("started_decoders")
def test_pictures_that_crash_or_hang_their_decoder_fail_alone(photos, tmp_path, clean, monkeypatch):
    (tmp_path / "faulty_decoder.py").write_text(LOADER)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH")))))
    expected = {"abort": "decode.crashed", "segfault": "decode.crashed", "sleep": "decode.timeout"}
    for text in expected:
        (photos / f"{text}.png").write_bytes(text.encode())
    monkeypatch.setattr(decode_pool, "LOADER", "faulty_decoder:treacherous")
    report, rows = tag_into(tmp_path / "catalog.db", photos, limits=Limits(decode_timeout=6.0))
    assert {text: rows[f"{text}.png"]["error_code"] for text in expected} == expected
    assert report.run.failed == len(expected)
    assert unchanged(rows, clean)


def test_decoders_killed_from_outside_cost_nothing(photos, tmp_path, clean, workers_of, at):
    for number in range(30):
        (photos / f"x-{number:02}.png").write_bytes(encode(photo()) + bytes([number]))  # each is decoded
    killed = []

    def kill_all_once():
        if not killed:
            killed.extend(workers_of(os.getpid()))
            for worker in killed:
                os.kill(worker, signal.SIGKILL)

    at("after_decode", kill_all_once)
    report, rows = tag_into(tmp_path / "catalog.db", photos)
    assert len(killed) == 2
    assert (report.run.done, report.run.failed) == (34, 0)
    assert unchanged(rows, clean)
    assert workers_of(os.getpid()).isdisjoint(killed)
