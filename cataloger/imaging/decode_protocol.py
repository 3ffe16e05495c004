"""What `cataloger.imaging.decode_pool` and its children tell each other; it needs no decoder.

Images and pixels lie in shared memory, and its mark is the number of the image that is being decoded, with WAITING
added while that waits for its part of the budget. The messages that say what lies there are plain bytes, never
pickles; `encode_*` and `decode_*` are both ends.
"""

import json
import struct
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from cataloger.errors import ImageError
from cataloger.image_options import Limits, PreprocessSpec
from cataloger.imaging.loaded import Loaded, LoadedBytes
from cataloger.imaging.shared_memory import KEPT_BYTES, SharedMemory

READY = b"ready"
CHUNK = 4
"""Images that go to a decoder together. Each transfer interrupts both sides, and other processes."""
CHUNK_BYTES = KEPT_BYTES
"""Encoded bytes of a chunk; a larger image goes alone."""

WAITING, WAITED = 128, 64
"""Are added to the mark while an image waits for memory, which is no time of its decoding, and then until its end."""
Part = tuple[int, int] | tuple[int, int, int] | tuple[str, str]
"""What an answer says of one image: its width and height, and the side of its pixels' square if that is smaller than
usual, or the code and text of its failure."""


def encode_config(loader: str, spec: PreprocessSpec, limits: Limits) -> str:
    """Return the configuration that a worker receives at its start, as JSON. loader: "module:function"."""
    return json.dumps({"loader": loader, "spec": asdict(spec), "limits": asdict(limits)})


@dataclass(frozen=True, slots=True)
class MemoryLayout:
    """Where things lie in the memory: encoded images, one after the other, then the pixels of each of a chunk.

    encoded: bytes for all encoded images. side: of the pixels' square, at most.
    """

    encoded: int
    side: int

    @classmethod
    def of(cls, spec: PreprocessSpec, limits: Limits) -> "MemoryLayout":
        """Leave room for the largest image that is decoded, and for a chunk of smaller ones."""
        return cls(max(limits.max_bytes, CHUNK_BYTES), spec.size)

    @property
    def size(self) -> int:
        """Bytes of the whole memory."""
        return self.pixels_of(CHUNK)

    def pixels_of(self, number: int) -> int:
        """Return where the pixels of an image begin. number: its place in the chunk."""
        return self.encoded + number * 3 * self.side**2


def encode_images(memory: SharedMemory, images: Sequence[bytes]) -> bytes:
    """Put encoded images into the memory; return the message that says so, the length of each."""
    memory.mark = start = 0
    for data in images:
        start += memory.put(data, start)
    return struct.pack(f"<{len(images)}Q", *map(len, images))


def decode_images(memory: SharedMemory, message: bytes) -> Iterator[bytes]:
    """Take the encoded images of a message out of the memory, each when it is its turn, which the mark says."""
    start = 0
    for number, (length,) in enumerate(struct.iter_unpack("<Q", message)):
        memory.mark = number
        yield memory.take(length, start)
        start += length


def image_of(mark: int) -> int:
    """Return the number of the image that a mark speaks of."""
    return mark & ~(WAITING | WAITED)


def encode_loaded(memory: SharedMemory, layout: MemoryLayout, number: int, loaded: Loaded | LoadedBytes) -> Part:
    """Put the pixels of a decoded image into the memory; return its part of the answer. number: in the chunk."""
    pixels = loaded.pixels if isinstance(loaded, LoadedBytes) else loaded.pixels.data
    memory.put(pixels.cast("B"), layout.pixels_of(number))
    side = len(pixels)
    return (loaded.width, loaded.height, *(() if side == layout.side else (side,)))


def encode_error(error: ImageError) -> Part:
    """Return the part of the answer of an image that cannot be used."""
    return error.code, str(error)


def decode_answer(memory: SharedMemory, layout: MemoryLayout, answer: bytes) -> list[Loaded | ImageError]:
    """Read an answer in the parent, and the pixels that it speaks of. Raises ValueError for an invalid one."""
    try:
        parts = json.loads(answer)
    except RecursionError as error:
        raise ValueError("a decoding process sent deeply nested JSON") from error
    if not isinstance(parts, list):
        raise ValueError(f"a decoding process sent {parts!r}")
    return [_decode_part(memory, layout, number, part) for number, part in enumerate(parts)]


def _decode_part(memory: SharedMemory, layout: MemoryLayout, number: int, part: Part) -> Loaded | ImageError:
    import numpy as np  # the children need none

    match part:
        case [str(code), str(message)]:
            return ImageError(code, message)
        case [int(width), int(height), *rest]:
            side = rest[0] if rest else layout.side
            if len(rest) > 1 or type(side) is not int or not 0 < side <= layout.side:
                raise ValueError(f"a decoding process sent {part!r}")
            pixels = np.frombuffer(memory.take(3 * side**2, layout.pixels_of(number)), dtype=np.uint8)
            return Loaded(pixels.reshape(side, side, 3), width, height)
    raise ValueError(f"a decoding process sent {part!r}")
