"""What decoding gives."""

from typing import NamedTuple

from cataloger.records import Pixels


class Loaded(NamedTuple):
    """pixels: uint8 RGB, size x size x 3, C-contiguous. width, height: upright original, in pixels."""

    pixels: Pixels
    width: int
    height: int
