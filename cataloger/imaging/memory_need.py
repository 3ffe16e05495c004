"""How much memory the decoding of an image takes, from what its header says.

Pillow holds the whole picture, and most decoders hold something beside it. The figures are upper bounds for the
versions of Pillow and its libraries that are supported; a test measures them.
"""

from PIL import Image as PillowImage
from PIL import ImageFile, JpegImagePlugin, TiffImagePlugin

# What Pillow holds per pixel: four bytes in every mode with more than one band, too.
_STORED = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2}
_WIDEST = 4

# Bytes per pixel beside the picture itself.
# libwebp: two canvases, the picture, and a copy of the canvas. libavif: planes of up to 12 bits, grain, RGBA.
_BESIDE = {"WEBP": 13, "AVIF": 14, "GIF": 2, "BMP": 0, "PNG": 0, "JPEG": 0, "MPO": 0, "TIFF": 0}
MOST_PER_PIXEL = _WIDEST + max(_BESIDE.values())
"""Of any format, but for what a JPEG in several passes or a TIFF in one strip takes, at most as much again."""

BAND_PIXELS = 2**19
"""Pixels of a large picture that are converted at once."""
WHOLE_PIXELS = 2**20
"""A larger picture is converted and turned band by band: a second picture of its size would double the need."""
_CONVERTING = 24
"""Bytes per pixel of what is converted at once: RGBA, its background, RGB, and what lies between them."""
_CONVERTING_GREY = 40
"""The same of grey of 16 bits or more, by bands even in a small picture."""

_ORIENTATION = 274
_RLE = 3
"""Bytes per pixel of Pillow's decoder for compressed BMPs."""
_TILE = 320
"""Bytes that Pillow keeps of each strip or tile of a file, at most."""


def stored_bytes(image: PillowImage.Image) -> int:
    """Return the bytes that Pillow needs for the pixels of an opened image."""
    return image.width * image.height * _STORED.get(image.mode, _WIDEST)


def bytes_to_decode(image: ImageFile.ImageFile, data: bytes, size: int, full_pixels: int) -> int:
    """Return the bytes that decoding an opened image and squashing it to a square need at most, about.

    image: after `draft`, so that a reduced scale counts. data: the encoded image. size: side of the square.
    full_pixels: of the encoded image.
    """
    pixels = image.width * image.height
    rows = 2 * image.width * 8  # what a decoder reads in one go: a row, of up to four bands of 16 bits, and the next
    return (
        stored_bytes(image)
        + pixels * _BESIDE.get(image.format or "", _WIDEST)
        + _beside(image, data, full_pixels)
        + rows
        + bytes_to_squash(image, size)
        + 2 * len(data)
        + _TILE * len(image.tile)
    )


def bytes_to_squash(image: PillowImage.Image, size: int) -> int:
    """Return what the conversion to RGB takes, and resizing: the picture in its new width or height, and weights."""
    pixels = image.width * image.height
    converting = _CONVERTING * min(pixels, WHOLE_PIXELS)
    if is_deep_grey(image):
        converting += _CONVERTING_GREY * min(pixels, BAND_PIXELS)
    return converting + 4 * size * max(image.size) + 24 * (image.width + image.height)


def is_deep_grey(image: PillowImage.Image) -> bool:
    """True for grey of 16 bits or more."""
    return image.mode.startswith("I;16") or image.mode in ("I", "F")


def _beside(image: ImageFile.ImageFile, data: bytes, full_pixels: int) -> int:
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        return _coefficients(image, full_pixels) if _has_several_passes(image, data) else 0
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        is_turned = image.tag_v2.get(_ORIENTATION, 1) != 1  # Pillow turns it itself, into a second picture
        copies = 3 if image.info.get("compression") == "webp" else 1
        return copies * _strip_bytes(image) + (stored_bytes(image) if is_turned else 0)
    is_python = any(tile.codec_name == "bmp_rle" for tile in image.tile)
    return _RLE * image.width * image.height if is_python else 0


def _coefficients(image: JpegImagePlugin.JpegImageFile, full_pixels: int) -> int:
    """Return the bytes of all coefficients, which libjpeg holds until the last pass, whatever the scale."""
    layers = image.layer
    most = max(layer[1] for layer in layers) * max(layer[2] for layer in layers)
    return sum(2 * full_pixels * layer[1] * layer[2] // max(1, most) for layer in layers)


def _has_several_passes(image: JpegImagePlugin.JpegImageFile, data: bytes) -> bool:
    return "progressive" in image.info or _bands_of_first_pass(data) < image.layers


def _bands_of_first_pass(data: bytes) -> int:
    """Return how many bands the first scan of a JPEG holds; 0 if none is found, which counts as several passes."""
    at = 2
    while at + 4 < len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xDA:
            return data[at + 4]
        has_length = marker not in (0xFF, 0x01) and not 0xD0 <= marker <= 0xD9
        at += 2 + int.from_bytes(data[at + 2 : at + 4]) if has_length else 1 + (marker != 0xFF)
    return 0


def _strip_bytes(image: TiffImagePlugin.TiffImageFile) -> int:
    """Return the bytes of the largest piece that libtiff decodes in one go."""
    tags = image.tag_v2
    bits = tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,))
    bands = max(len(bits), int(tags.get(TiffImagePlugin.SAMPLESPERPIXEL, 1)))
    if TiffImagePlugin.TILEWIDTH in tags:
        columns, rows = int(tags[TiffImagePlugin.TILEWIDTH]), int(tags[TiffImagePlugin.TILELENGTH])
    else:
        columns = image.width
        rows = min(image.height, int(tags.get(TiffImagePlugin.ROWSPERSTRIP, image.height)))
    return columns * rows * bands * int(max(bits)) // 8
