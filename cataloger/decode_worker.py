"""The child's side of `cataloger.decode`: one image in, its pixels or a failure out, until the parent is gone.

Started as `python -m cataloger.decode_worker SOCKET MEMORY CONFIG`, the first two descriptors. It imports no more
than Pillow, numpy and the preprocessing. Images and pixels lie in the memory; the messages that say so are plain
bytes, never pickles, and `encode_*` and `decode_*` are both ends of the protocol.
"""

import ctypes
import importlib
import json
import os
import signal
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from multiprocessing.connection import Connection

import numpy as np

from cataloger.errors import ImageError
from cataloger.handover import SharedMemory
from cataloger.memory import reuse_buffers
from cataloger.options import Limits, PreprocessSpec
from cataloger.preprocess import Loaded

READY = b"ready"
LENGTH = struct.Struct("<Q")
SIZES = struct.Struct("<III")
PR_SET_PDEATHSIG = 1

Loader = Callable[[bytes, PreprocessSpec, Limits], Loaded]


def encode_config(loader: str, spec: PreprocessSpec, limits: Limits) -> str:
    """Return what a worker is told at its start, as JSON. loader: "module:function"."""
    return json.dumps({"loader": loader, "spec": asdict(spec), "limits": asdict(limits)})


def memory_size(spec: PreprocessSpec, limits: Limits) -> int:
    """Return the bytes that the largest image that is decoded, or its pixels, take."""
    return max(limits.max_bytes, 3 * spec.size**2)


def encode_image(memory: SharedMemory, data: bytes) -> bytes:
    """Put an encoded image into the memory; return the message that says so."""
    return LENGTH.pack(memory.put(data))


def decode_image(memory: SharedMemory, message: bytes) -> bytes:
    """Take the encoded image of a message out of the memory."""
    (size,) = LENGTH.unpack(message)
    return memory.take(size)


def encode_loaded(memory: SharedMemory, loaded: Loaded) -> bytes:
    """Put the pixels of a decoded image into the memory; return the answer that says so."""
    memory.put(loaded.pixels.data.cast("B"))
    return b"+" + SIZES.pack(loaded.width, loaded.height, loaded.pixels.shape[0])


def encode_error(error: ImageError) -> bytes:
    """Return the answer for an image that cannot be used."""
    return b"-" + json.dumps([error.code, str(error)]).encode()


def decode_answer(memory: SharedMemory, answer: bytes) -> Loaded | ImageError:
    """Read an answer in the parent, and the pixels that it speaks of."""
    if answer[:1] == b"-":
        code, message = json.loads(answer[1:])
        return ImageError(code, message)
    width, height, size = SIZES.unpack_from(answer, 1)
    pixels = np.frombuffer(memory.take(3 * size**2), dtype=np.uint8)
    return Loaded(pixels.reshape(size, size, 3), width, height)


def main(pipe_descriptor: int, memory_descriptor: int, config: str) -> None:
    """Serve images until the pipe closes."""
    # Ctrl-C goes to the whole group; the parent decides when to stop. Nobody outlives a killed parent.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    reuse_buffers()
    load, spec, limits = _configure(config)
    memory = SharedMemory(os.fdopen(memory_descriptor, "r+b", buffering=0), memory_size(spec, limits))
    with Connection(pipe_descriptor) as pipe, suppress(EOFError, ConnectionError):  # then the parent is gone
        pipe.send_bytes(READY)
        # From here on only decoders written in C would write there, e.g. libtiff its warnings.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        while True:
            data = decode_image(memory, pipe.recv_bytes())
            try:
                answer = encode_loaded(memory, load(data, spec, limits))
            except ImageError as error:
                answer = encode_error(error)
            pipe.send_bytes(answer)


def _configure(config: str) -> tuple[Loader, PreprocessSpec, Limits]:
    values = json.loads(config)
    module, function = values["loader"].split(":")
    load: Loader = getattr(importlib.import_module(module), function)
    return load, PreprocessSpec.from_json(values["spec"]), Limits(**values["limits"])


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
