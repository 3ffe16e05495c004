"""Small JPEGs of pictures that were decoded to a square, in the shape that they had."""

import base64
import io

from PIL import Image as PillowImage

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
    """Return a JPEG as an address that holds it."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
