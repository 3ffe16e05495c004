"""The child's side of `cataloger.imaging.decode_pool`: a few images in, their pixels or failures out, until the
parent exits.

Started as `python -m cataloger.imaging.decode_worker SOCKET MEMORY BUDGET CONFIG`, the first three descriptors. It
imports no more than Pillow, numpy and the preprocessing. Images and pixels lie in the memory, and its mark is the
number of the image that is being decoded, with WAITING added while that waits for its part of the budget. The
messages that say what lies there are plain bytes, never pickles, and `encode_*` and `decode_*` are both ends of the
protocol.
"""

import importlib
import json
import os
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection

import numpy as np

from cataloger.errors import ImageError
from cataloger.imaging import preprocess
from cataloger.imaging.decode_budget import DecodeBudget
from cataloger.imaging.preprocess import Loaded
from cataloger.imaging.shared_memory import KEPT_BYTES, SharedMemory
from cataloger.options import Limits, PreprocessSpec
from cataloger.utils import die_with_parent, limit_memory, reuse_buffers

READY = b"ready"
CHUNK = 4
"""Images that go to a decoder together. Each transfer interrupts both sides, and other processes."""
CHUNK_BYTES = KEPT_BYTES
"""Encoded bytes of a chunk; a larger image goes alone."""

WAITING, WAITED = 128, 64
"""Are added to the mark while an image waits for memory, which is no time of its decoding, and then until its end."""
SLACK = 100_000_000
"""Bytes that a process may take beside what decoding may: the encoded image, and its estimate's error."""

Loader = Callable[[bytes, PreprocessSpec, Limits], Loaded]
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


def encode_loaded(memory: SharedMemory, layout: MemoryLayout, number: int, loaded: Loaded) -> Part:
    """Put the pixels of a decoded image into the memory; return its part of the answer. number: in the chunk."""
    memory.put(loaded.pixels.data.cast("B"), layout.pixels_of(number))
    side = loaded.pixels.shape[0]
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


def main(pipe_descriptor: int, memory_descriptor: int, budget_descriptor: int, config: str) -> None:
    """Serve images until the pipe closes."""
    die_with_parent()
    reuse_buffers()
    load, spec, limits = _configure(config)
    layout = MemoryLayout.of(spec, limits)
    memory = SharedMemory(os.fdopen(memory_descriptor, "r+b", buffering=0), layout.size)
    preprocess.reserve = _reserving(DecodeBudget(budget_descriptor, limits.max_decode_bytes), memory)
    limit_memory(limits.max_decode_bytes + 2 * limits.max_bytes + SLACK)
    with Connection(pipe_descriptor) as pipe, suppress(EOFError, ConnectionError):  # then the parent has exited
        pipe.send_bytes(READY)
        # From here on only decoders written in C would write there, e.g. libtiff its warnings.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        while True:
            parts: list[Part] = []
            for number, data in enumerate(decode_images(memory, pipe.recv_bytes())):
                try:
                    parts.append(encode_loaded(memory, layout, number, load(data, spec, limits)))
                except ImageError as error:
                    parts.append(encode_error(error))
            pipe.send_bytes(json.dumps(parts).encode())


def _reserving(budget: DecodeBudget, memory: SharedMemory) -> preprocess.Reserve:
    def waiting() -> None:
        memory.mark |= WAITING

    def done() -> None:
        memory.mark = image_of(memory.mark) | WAITED

    def reserve(need: int) -> AbstractContextManager[None]:
        return budget.hold(need, waiting, done)

    return reserve


def _configure(config: str) -> tuple[Loader, PreprocessSpec, Limits]:
    values = json.loads(config)
    module, function = values["loader"].split(":")
    load: Loader = getattr(importlib.import_module(module), function)
    return load, PreprocessSpec.from_json(values["spec"]), Limits(**values["limits"])


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
