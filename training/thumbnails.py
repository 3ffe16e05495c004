"""Small JPEGs of labelled images for a report, through the same fetch and decode as everything else."""

import base64
import io
from collections.abc import Sequence

from PIL import Image as PillowImage

from cataloger.options import PreprocessSpec
from cataloger.records import Failure, Image
from cataloger.training.images import decode_examples
from cataloger.training.labels import Example

SIDE = 192  # pixels
QUALITY = 78


def thumbnails(examples: Sequence[Example]) -> list[str | None]:
    """Return each image as a data URI of a JPEG, at most SIDE pixels wide and high; None where it cannot be read."""
    spec = PreprocessSpec(size=SIDE)
    return [None if isinstance(each, Failure) else _data_uri(each) for each in decode_examples(examples, spec)]


def _data_uri(image: Image) -> str:
    scale = SIDE / max(image.width, image.height)
    # Decoding has squashed it to a square; a person wants to see its shape.
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    buffer = io.BytesIO()
    PillowImage.fromarray(image.pixels).resize(size).save(buffer, "JPEG", quality=QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
