"""Small JPEGs of images that were decoded to a square, in their original shape."""

import base64
import io

from PIL import Image as PillowImage

from cataloger.imaging.preprocess import FORMATS, load
from cataloger.options import Limits, PreprocessSpec
from cataloger.records import Pixels

QUALITY = 80


def fitted(width: int, height: int, longest: int, *, enlarges: bool = True) -> tuple[int, int]:
    """Return the width and height of a picture whose longest side gets a length, pixels; at least 1.

    enlarges: also if it is smaller.
    """
    scale = longest / max(width, height)
    if not enlarges:
        scale = min(1.0, scale)
    return max(1, round(width * scale)), max(1, round(height * scale))


def as_jpeg(pixels: Pixels, width: int, height: int, longest: int, *, enlarges: bool = False) -> bytes:
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


def thumbnail(data: bytes, longest: int, *, limits: Limits | None = None) -> bytes:
    """Return a small JPEG of an image: upright, on white, without any metadata. Raises ImageError.

    longest: of its sides, pixels; a smaller image keeps its size. It is decoded in this process, with the limits and
    the formats of tagging: an image that is recorded as ok has been through the same decoder before, in a child.
    """
    loaded = load(data, PreprocessSpec(size=_needed(data, longest)), limits or Limits())
    return as_jpeg(loaded.pixels, loaded.width, loaded.height, longest)


def _needed(data: bytes, longest: int) -> int:
    """Return the side of the square to decode to, pixels: a small image need not be enlarged first."""
    try:
        with PillowImage.open(io.BytesIO(data), formats=FORMATS) as image:
            return min(longest, max(image.size))
    except Exception:  # noqa: BLE001 - whatever is wrong with it, the decoder reports it better
        return longest
