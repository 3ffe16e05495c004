"""What decoding gives."""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from cataloger.records import Pixels


class Loaded(NamedTuple):
    """pixels: uint8 RGB, size x size x 3, C-contiguous. width, height: upright original, in pixels."""

    pixels: "Pixels"
    width: int
    height: int


class LoadedBytes(NamedTuple):
    """The same without numpy, which a decoding process would load for nothing. pixels: a view of the same shape."""

    pixels: memoryview
    width: int
    height: int
