"""Small JPEGs of images that were decoded to a square, in their original shape."""

import base64
import io
from dataclasses import replace
from typing import TYPE_CHECKING

from PIL import Image as PillowImage

from cataloger.image_options import Limits, PreprocessSpec
from cataloger.imaging.loaded import LoadedBytes
from cataloger.imaging.preprocess import FORMATS, load_bytes

if TYPE_CHECKING:
    from cataloger.records import Pixels

QUALITY = 80
SMALLEST = 8
SMALL_LOADER = "cataloger.imaging.thumbnails:load_small"
"""What a `DecodePool` of thumbnails decodes with."""


def fitted(width: int, height: int, longest: int, *, enlarges: bool = True) -> tuple[int, int]:
    """Return the width and height of a picture whose longest side gets a length, pixels; at least 1.

    enlarges: also if it is smaller.
    """
    scale = longest / max(width, height)
    if not enlarges:
        scale = min(1.0, scale)
    return max(1, round(width * scale)), max(1, round(height * scale))


def as_jpeg(pixels: "Pixels", width: int, height: int, longest: int, *, enlarges: bool = False) -> bytes:
    """Return a picture that was squashed to a square, in the shape of its original, as JPEG.

    width, height: of the original. longest: side of the result, at most unless `enlarges`, pixels.
    """
    size = fitted(width, height, longest, enlarges=enlarges)
    buffer = io.BytesIO()
    PillowImage.fromarray(pixels).resize(size).save(buffer, "JPEG", quality=QUALITY, optimize=True)
    return buffer.getvalue()


def data_uri(jpeg: bytes) -> str:
    """Return a JPEG as a data URI."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


def load_small(data: bytes, spec: PreprocessSpec, limits: Limits) -> LoadedBytes:
    """Decode an image to a square of at most `spec.size`; a smaller image is not enlarged. Raises ImageError."""
    return load_bytes(data, replace(spec, size=_needed(data, spec.size)), limits)


def _needed(data: bytes, longest: int) -> int:
    """Return the side of the square to decode to, pixels, at least the least that there is."""
    try:
        with PillowImage.open(io.BytesIO(data), formats=FORMATS) as image:
            return max(SMALLEST, min(longest, max(image.size)))
    except Exception:  # noqa: BLE001 - whatever is wrong with it, the decoder reports it better
        return longest
