"""Preprocessing: every kind of picture that a catalog holds comes out right, or fails with its own code."""

import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from cataloger.errors import ImageError
from cataloger.imaging.preprocess import load
from cataloger.options import Limits, PreprocessSpec

SPEC = PreprocessSpec()
RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


def encode(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def picture(width=320, height=240):
    """A smooth picture, different in every corner and in every channel."""
    y, x = np.mgrid[0:height, 0:width]
    channels = (255 * x / width, 255 * y / height, 255 * (x + y) / (width + height))
    return Image.fromarray(np.stack(channels, axis=2).astype(np.uint8))


def expected(image):
    return np.asarray(image.convert("RGB").resize((224, 224), Image.Resampling.BILINEAR))


def pixels(data):
    return load(data, SPEC).pixels


def colour(data):
    """The one colour of a plain picture."""
    found = np.unique(pixels(data).reshape(-1, 3), axis=0)
    assert len(found) == 1
    return tuple(int(value) for value in found[0])


def code(data, limits=None):
    with pytest.raises(ImageError) as caught:
        load(data, SPEC, limits or Limits())
    assert "\n" not in str(caught.value)
    assert str(caught.value).isprintable()
    return caught.value.code


def png(width, height, *, depth=8, kind=2, rows=b"", chunks=()):
    """A PNG made by hand, so that its header can claim anything."""

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    parts = (chunk(b"IHDR", header), *(chunk(*c) for c in chunks), chunk(b"IDAT", zlib.compress(rows)))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b"")


def test_the_result_is_a_contiguous_rgb_square_with_the_original_size():
    loaded = load(encode(picture(320, 240)), SPEC)
    assert loaded.pixels.shape == (224, 224, 3)
    assert loaded.pixels.dtype == np.uint8
    assert loaded.pixels.flags.c_contiguous
    assert (loaded.width, loaded.height) == (320, 240)


@pytest.mark.parametrize(("width", "height"), [(224, 224), (400, 533), (1200, 1600), (60, 80), (3, 2000), (1, 1)])
def test_an_ordinary_photo_is_what_four_lines_of_pillow_make_of_it(width, height):
    data = encode(picture(width, height), "JPEG", quality=90)
    image = Image.open(io.BytesIO(data))
    image.draft(None, (224, 224))
    upright = ImageOps.exif_transpose(image).convert("RGB")
    simple = np.asarray(upright.resize((224, 224), Image.Resampling.BILINEAR))
    assert np.array_equal(pixels(data), simple)


def test_full_scale_decodes_every_pixel():
    data = encode(picture(1200, 1600), "JPEG", quality=90)
    full = load(data, PreprocessSpec(scale="full")).pixels
    assert np.array_equal(full, expected(Image.open(io.BytesIO(data))))


def test_reduced_scale_keeps_the_original_size_on_record():
    loaded = load(encode(picture(1600, 1200), "JPEG"), SPEC)
    assert (loaded.width, loaded.height) == (1600, 1200)


def test_bicubic_is_a_choice_of_the_spec():
    image = picture()
    cubic = load(encode(image), PreprocessSpec(resampling="bicubic")).pixels
    assert np.array_equal(cubic, np.asarray(image.resize((224, 224), Image.Resampling.BICUBIC)))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_lossless_formats_come_out_exactly(kind):
    assert np.array_equal(pixels(encode(picture(), kind)), expected(picture()))


@pytest.mark.parametrize(("kind", "options"), [("WEBP", {"lossless": True}), ("AVIF", {"quality": 95}), ("GIF", {})])
def test_other_formats_come_out_as_pillow_reads_them(kind, options):
    data = encode(picture(), kind, **options)
    assert np.array_equal(pixels(data), expected(Image.open(io.BytesIO(data))))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_turns_the_picture_upright(kind, orientation):
    upright = picture(320, 240)
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Transpose methods that store an upright picture turned
    stored = upright.transpose(Image.Transpose(undo[orientation])) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"WEBP": {"lossless": True}, "JPEG": {"quality": 95}}.get(kind, {})
    loaded = load(encode(stored, kind, exif=exif, **lossless), SPEC)
    assert (loaded.width, loaded.height) == (320, 240)
    assert np.abs(loaded.pixels.astype(int) - expected(upright)).max() <= (0 if kind != "JPEG" else 8)


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"]
)
def test_a_broken_exif_block_does_not_harm_the_picture(exif):
    data = encode(picture(), "JPEG", exif=exif)
    assert np.array_equal(pixels(data), pixels(encode(picture(), "JPEG")))


def test_an_orientation_that_does_not_exist_is_ignored():
    exif = Image.Exif()
    exif[0x0112] = 99
    assert np.array_equal(pixels(encode(picture(), exif=exif)), expected(picture()))


def test_the_extension_does_not_matter_the_content_does():
    assert colour(encode(Image.new("RGB", (20, 20), RED), "BMP")) == RED


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_pixels_show_the_background(mode):
    assert colour(encode(Image.new(mode, (20, 20), (0,) * len(mode)))) == WHITE


def test_half_transparent_pixels_are_blended():
    assert colour(encode(Image.new("RGBA", (20, 20), (0, 0, 0, 51)))) == (204, 204, 204)


def test_another_background_is_a_choice_of_the_spec():
    clear = encode(Image.new("RGBA", (20, 20), (0, 0, 0, 0)))
    assert tuple(load(clear, PreprocessSpec(background=BLUE)).pixels[0, 0]) == BLUE


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_transparent_palette_entry_shows_the_background(kind):
    image = Image.new("P", (20, 20), 1)
    image.putpalette([*RED, *BLUE])
    assert colour(encode(image, kind, transparency=1)) == WHITE
    assert colour(encode(image, kind, transparency=0)) == BLUE


def test_a_transparent_colour_of_an_rgb_png_shows_the_background():
    image = Image.new("RGB", (20, 20), RED)
    assert colour(encode(image, transparency=RED)) == WHITE
    assert colour(encode(image, transparency=BLUE)) == RED


def test_a_transparent_grey_of_a_16_bit_png_shows_the_background():
    rows = b"\0" + struct.pack(">HH", 1000, 65535)
    data = png(2, 1, depth=16, kind=0, rows=rows, chunks=[(b"tRNS", struct.pack(">H", 1000))])
    assert tuple(pixels(data)[0, 0]) == WHITE


def test_a_cmyk_jpeg_has_its_colours():
    data = encode(Image.new("CMYK", (32, 32), (0, 255, 255, 0)), "JPEG", quality=100)
    assert np.abs(np.array(colour(data)) - RED).max() <= 3


@pytest.mark.parametrize(("value", "grey"), [(0, 0), (65535, 255), (32768, 128), (257, 1), (300, 1)])
def test_16_bit_greys_are_scaled_and_not_clipped(value, grey):
    image = Image.fromarray(np.full((20, 20), value, np.uint16))
    assert colour(encode(image)) == (grey, grey, grey)
    assert colour(encode(image, "TIFF")) == (grey, grey, grey)


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_32_bit_greys_are_stretched_to_the_whole_range(dtype):
    values = np.repeat(np.array([[-1000, 3000]], dtype), 10, axis=0).repeat(10, axis=1)
    found = pixels(encode(Image.fromarray(values), "TIFF"))
    assert (found.min(), found.max()) == (0, 255)


def test_floats_that_are_not_numbers_do_no_harm():
    values = np.full((8, 8), np.nan, np.float32)
    assert colour(encode(Image.fromarray(values), "TIFF")) == (0, 0, 0)


@pytest.mark.parametrize(
    ("mode", "kind"), [("1", "PNG"), ("L", "PNG"), ("P", "PNG"), ("1", "TIFF"), ("YCbCr", "TIFF")]
)
def test_other_modes_become_rgb(mode, kind):
    image = picture().convert(mode)
    assert np.array_equal(pixels(encode(image, kind)), expected(image))


def test_lab_becomes_rgb():
    assert np.abs(np.array(colour(encode(Image.new("LAB", (20, 20), (255, 128, 128)), "TIFF"))) - WHITE).max() <= 2


@pytest.mark.parametrize(("kind", "options"), [("GIF", {}), ("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {})])
def test_the_first_frame_counts(kind, options):
    frames = [Image.new("RGB", (20, 20), value) for value in (RED, BLUE)]
    assert colour(encode(frames[0], kind, save_all=True, append_images=frames[1:], **options)) == RED


def test_a_jpeg_with_several_pictures_is_a_jpeg():
    frames = [picture(), Image.new("RGB", (320, 240), BLUE)]
    data = encode(frames[0], "MPO", save_all=True, append_images=frames[1:])
    assert np.abs(pixels(data).astype(int) - expected(picture())).max() <= 12


def test_an_empty_file_is_empty():
    assert code(b"") == "decode.empty"


@pytest.mark.parametrize(
    ("data", "hint"),
    [
        (b"<!DOCTYPE html><html><body>404</body></html>", "HTML"),
        (b'{"error": "not found"}', "JSON"),
        (b"hello, world", "text"),
        (bytes(1000), "zeros"),
        (b"\x7fELF\x02\x01\x01" + bytes(range(200)), "binary"),
    ],
)
def test_what_is_no_image_says_what_it_looks_like(data, hint):
    with pytest.raises(ImageError, match=hint) as caught:
        load(data, SPEC)
    assert caught.value.code == "decode.not_image"


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0" + bytes(100), "HEIC"),
        (b"8BPS\0\1" + bytes(100), "PSD"),
        (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        (b"%PDF-1.7\n", "PDF"),
        (b"\xff\x0a" + bytes(100), "JPEG XL"),
        (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(100), "JPEG 2000"),
    ],
)
def test_formats_that_are_not_allowed_are_named(data, name):
    with pytest.raises(ImageError, match=name) as caught:
        load(data, SPEC)
    assert caught.value.code == "decode.unsupported"


def test_a_format_that_pillow_could_read_is_refused_all_the_same():
    assert code(encode(picture(), "ICO")) == "decode.unsupported"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
@pytest.mark.parametrize("share", [0.5, 0.95])
def test_a_truncated_picture_is_a_failure(kind, share):
    data = encode(picture(), kind)
    assert code(data[: int(len(data) * share)]) == "decode.truncated"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_a_picture_cut_in_its_header_is_a_failure(kind):
    assert code(encode(picture(), kind)[:20]).startswith("decode.")


def test_a_damaged_picture_is_a_failure():
    data = encode(picture())
    start = data.index(b"IDAT") + 4
    assert code(data[:start] + bytes(8) + data[start + 8 :]) == "decode.corrupt"


def test_a_gigapixel_bomb_is_refused_before_it_is_decoded():
    assert code(png(40_000, 40_000, rows=b"")) == "decode.too_large"
    assert code(png(2_000_000_000, 2_000_000_000, rows=b"")) == "decode.too_large"


def test_the_limit_on_pixels_is_inclusive():
    data = encode(Image.new("L", (100, 50)))
    assert load(data, SPEC, Limits(max_pixels=5000)).width == 100
    assert code(data, Limits(max_pixels=4999)) == "decode.too_large"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_whatever_happens_to_the_bytes_is_a_picture_or_a_failure(kind, data):
    broken = bytearray(encode(picture(40, 30), kind))
    for _ in range(data.draw(st.integers(1, 6))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    broken = bytes(broken[: data.draw(st.integers(1, len(broken)))])
    with contextlib.suppress(ImageError):  # any other exception fails the test
        assert load(broken, SPEC, Limits(max_pixels=1_000_000)).pixels.shape == (224, 224, 3)
