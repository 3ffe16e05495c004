"""What -vv tells of a single image, step by step."""

import logging

from cataloger.records import Image, Item
from cataloger.utils import visible

logger = logging.getLogger(__name__)


def tells_steps() -> bool:
    """Tell whether somebody wants to know; the texts take time, and there are many images."""
    return logger.isEnabledFor(logging.DEBUG)


def log_step(item: Item, event: str, text: str, **values: object) -> None:
    """Say what is done with one image. event: its name in a log of JSON. values: further keys there."""
    where = visible(item.uri or item.key)
    logger.debug("%s: %s", where, text, extra={"event": event, "key": item.key, "uri": item.uri, **values})


def log_decoded(image: Image) -> None:
    """Say that the pixels of an image are there."""
    if tells_steps():
        text = f"decoded, {image.width} x {image.height} pixels, SHA-256 {image.content_hash[:12]}.."
        values = {"width": image.width, "height": image.height, "content_hash": image.content_hash}
        log_step(image.item, "image.decoded", text, **values)
