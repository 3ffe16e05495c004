"""The memory that decoding takes: estimated from the header, shared by all decoders, stated where it is too much."""

import hashlib
import io
import os
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image as PillowImage

from cataloger.errors import ImageError
from cataloger.imaging import decode_pool, preprocess
from cataloger.imaging.decode_pool import DecodePool
from cataloger.imaging.memory_need import bytes_to_decode
from cataloger.imaging.preprocess import load
from cataloger.options import Limits, PreprocessSpec
from cataloger.records import Failure, Fetched, Image, Item

SPEC = PreprocessSpec()
SIDE = 2500
MARGIN = 8_000_000


def encode(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def plain(mode, side=SIDE):
    return PillowImage.new(mode, (side, side))


def deep_png(colour, bands):
    """A PNG with 16 bits per band, which Pillow cannot write."""
    rows = (b"\0" + bytes(SIDE * bands * 2)) * SIDE
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 16, colour, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 1)), (b"IEND", b""))
    chunks = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def turned():
    exif = PillowImage.Exif()
    exif[0x112] = 6
    return exif


VARIANTS = {
    "rgb.png": lambda: encode(plain("RGB"), "PNG", compress_level=1),
    "rgba.png": lambda: encode(plain("RGBA"), "PNG", compress_level=1),
    "turned.png": lambda: encode(plain("RGB"), "PNG", compress_level=1, exif=turned()),
    "palette.png": lambda: encode(plain("P"), "PNG", compress_level=1, transparency=0),
    "one-bit.png": lambda: encode(plain("1"), "PNG"),
    "grey-and-alpha.png": lambda: encode(plain("LA"), "PNG", compress_level=1),
    "deep-grey.png": lambda: deep_png(0, 1),
    "deep-rgba.png": lambda: deep_png(6, 4),
    "base.jpg": lambda: encode(plain("RGB"), "JPEG"),
    "passes.jpg": lambda: encode(plain("RGB"), "JPEG", progressive=True, subsampling=0),
    "ink.jpg": lambda: encode(plain("CMYK"), "JPEG", progressive=True),
    "float.tif": lambda: encode(plain("F"), "TIFF", compression="tiff_lzw"),
    "one-strip.tif": lambda: encode(plain("RGB"), "TIFF", compression="tiff_lzw", tiffinfo={278: SIDE}),
    "turned.tif": lambda: encode(plain("RGB"), "TIFF", compression="packbits", tiffinfo={274: 6}),
    "lab.tif": lambda: encode(plain("LAB"), "TIFF", compression="tiff_lzw"),
    "loss.webp": lambda: encode(plain("RGB"), "WEBP", method=0),
    "alpha.webp": lambda: encode(plain("RGBA"), "WEBP", lossless=True, method=0),
    "film.gif": lambda: encode(plain("P"), "GIF", save_all=True, append_images=[plain("P", 60)]),
    "rle.bmp": lambda: encode(plain("RGB"), "BMP"),
    "full.avif": lambda: encode(plain("RGBA", 1500), "AVIF", subsampling="4:4:4", speed=10),
}
"""Large pictures of every kind that takes memory in a way of its own."""

MEASURE = """
import contextlib, sys
from pathlib import Path
from cataloger.imaging import preprocess
from cataloger.options import PreprocessSpec

def memory(name):
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith(name))

def note(need):
    print(path.name, need, end=" ")
    return contextlib.nullcontext()

preprocess.reserve = note
for path in sorted(Path(sys.argv[1]).iterdir()):
    data = path.read_bytes()
    Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    preprocess.load(data, PreprocessSpec())
    print(memory("VmHWM") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says what a process takes at most")
def test_what_decoding_takes_is_at_most_what_is_estimated(tmp_path):
    for name, make in VARIANTS.items():
        (tmp_path / name).write_bytes(make())
    # So that what is freed is returned, and the next picture has to ask for it.
    environment = os.environ | {"MALLOC_TRIM_THRESHOLD_": "0", "MALLOC_MMAP_THRESHOLD_": "65536"}
    command = [sys.executable, "-c", MEASURE, str(tmp_path)]
    output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    found = {name: (int(need), int(taken)) for name, need, taken in map(str.split, output.splitlines())}
    assert set(found) == set(VARIANTS)
    assert not {name: pair for name, pair in found.items() if pair[1] > pair[0] + MARGIN}
    stored = SIDE**2 * 3  # a measurement that sees nothing would agree with any estimate
    assert sum(taken > stored for _, taken in found.values()) > len(found) / 2


def test_too_much_memory_is_a_failure_that_states_need_and_limit():
    data = encode(plain("RGBA", 1500), "PNG")
    with pytest.raises(ImageError, match=r"about 3. MB for 1500x1500 pixels; at most 30 MB are used") as caught:
        load(data, SPEC, Limits(max_decode_bytes=30_000_000))
    assert caught.value.code == "decode.too_large"
    assert load(data, SPEC, Limits(max_decode_bytes=40_000_000)).width == 1500


def test_a_photo_that_is_decoded_at_a_reduced_scale_needs_little():
    small = Limits(max_decode_bytes=16_000_000)
    photo, passes = (encode(plain("RGB"), "JPEG", progressive=several) for several in (False, True))
    assert load(photo, SPEC, small).width == SIDE
    with pytest.raises(ImageError, match="too much memory"):  # all of its coefficients come before its last pass
        load(passes, SPEC, small)


@pytest.mark.parametrize("size", [(1, 3_000_000), (3_000_000, 1)])
def test_a_thin_strip_would_be_blown_up(size):
    """1 x 3,000,000 pixels become 224 x 3,000,000 on their way to the square."""
    data = encode(PillowImage.new("1", size), "PNG")
    with pytest.raises(ImageError, match="too much memory"):
        load(data, SPEC)


def test_a_jpeg_whose_bands_come_one_after_the_other_counts_as_several_passes():
    data = encode(plain("RGB", 100), "JPEG")
    at = data.index(b"\xff\xda") + 4  # the number of bands in the first scan
    one_by_one = data[:at] + b"\1" + data[at + 1 :]
    needs = [bytes_to_decode(PillowImage.open(io.BytesIO(each)), each, 8, 64_000_000) for each in (data, one_by_one)]
    assert needs[1] - needs[0] == 3 * 64_000_000  # 16 bits a coefficient, the colours at a quarter


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "I;16", "F", "I", "LAB"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_large_picture_is_the_same_by_bands(mode, orientation, monkeypatch):
    pixels = np.random.default_rng(orientation).integers(0, 256, (90, 150, 4), np.uint8)
    types = {"I;16": np.uint16, "F": np.float32, "I": np.int32}
    if mode in types:
        image = PillowImage.fromarray((pixels[..., 0] * 200.0).astype(types[mode]))
    elif mode == "LAB":
        image = PillowImage.merge("LAB", PillowImage.fromarray(pixels).split()[:3])
    else:
        image = PillowImage.fromarray(pixels)
        image = image if mode == "RGBA" else image.convert("LA" if mode == "LA" else "RGB").convert(mode)
    if mode == "P":
        image.info["transparency"] = 3
    spec = PreprocessSpec(size=32)
    whole = np.asarray(preprocess._squashed(image, orientation, spec)).astype(int)
    monkeypatch.setattr(preprocess, "WHOLE_PIXELS", 1)
    monkeypatch.setattr(preprocess, "BAND_PIXELS", 1000)
    by_bands = np.asarray(preprocess._squashed(image, orientation, spec))
    assert np.abs(whole - by_bands).max() <= 1  # rounded after the rows, or after the columns


# Asks for memory as its bytes say; two that are at work at once, although they need it all, leave a mark.
HUNGRY = """
import os, time
import numpy
from pathlib import Path
from cataloger.imaging import preprocess

PLACE = Path(__file__).parent

def hungry(data, spec, limits):
    need, seconds, rest = data.split(b":", 2)
    with preprocess.reserve(int(need)):
        mine = PLACE / "at-work"
        try:
            mine.touch(exist_ok=False)
        except FileExistsError:
            (PLACE / "met").touch()
        time.sleep(float(seconds))
        mine.unlink(missing_ok=True)
        if rest.startswith(b"abort"):
            os.abort()
        if rest.startswith(b"take:"):
            bytearray(int(rest[5:]))
    return preprocess.Loaded(numpy.zeros((spec.size, spec.size, 3), numpy.uint8), 1, 1)
"""


@pytest.fixture
def hungry(tmp_path, monkeypatch, started_decoders):
    (tmp_path / "hungry_loader.py").write_text(HUNGRY)
    inherited = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(tmp_path), inherited))))
    monkeypatch.setattr(decode_pool, "LOADER", "hungry_loader:hungry")
    return tmp_path


def fetched(*data):
    return [Fetched(Item(str(n), "", ""), body, hashlib.sha256(body).hexdigest()) for n, body in enumerate(data)]


def test_large_images_wait_for_each_other_and_waiting_is_no_decoding(hungry):
    limits = Limits(decode_timeout=1.0)
    with DecodePool(PreprocessSpec(size=8), limits, workers=3) as pool:
        results = list(pool.decode(fetched(*[b"400000000:0.5:"] * 6)))
    assert all(isinstance(result, Image) for result in results)  # the last of them has waited for 2.5 seconds
    assert not (hungry / "met").exists()


def test_the_memory_of_a_process_that_dies_is_free_again(hungry):
    with DecodePool(PreprocessSpec(size=8), Limits(), workers=2) as pool:
        results = list(pool.decode(fetched(b"400000000:0:abort", b"400000000:0:", b"400000000:0:abort")))
    assert [result.code if isinstance(result, Failure) else None for result in results] == [
        "decode.crashed",
        None,
        "decode.crashed",
    ]


def test_images_that_fit_together_do_not_wait(hungry):
    with DecodePool(PreprocessSpec(size=8), Limits(), workers=2) as pool:
        list(pool.decode(fetched(*[b"200000000:0.5:"] * 6)))
    assert (hungry / "met").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the memory that a process asks for")
def test_a_decoder_that_takes_more_than_it_may_is_stopped(hungry, monkeypatch):
    monkeypatch.setattr(decode_pool, "LOADER", "greedy_loader:greedy")
    (hungry / "greedy_loader.py").write_text(
        "from cataloger.imaging.preprocess import load\n"
        "from cataloger.imaging import preprocess\n"
        "def greedy(data, spec, limits):\n"
        "    preprocess._squashed = lambda *_: bytearray(900_000_000)\n"
        "    return load(data, spec, limits)\n"
    )
    with DecodePool(SPEC, Limits(), workers=1) as pool:
        (failure,) = pool.decode(fetched(encode(plain("RGB", 40), "PNG")))
    assert failure.code == "decode.too_large"
    assert "at most 500 MB" in failure.message
