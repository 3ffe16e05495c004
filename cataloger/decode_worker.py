"""The child's side of `cataloger.decode`: one image in, its pixels or a failure out, until the parent is gone.

Started as `python -m cataloger.decode_worker DESCRIPTOR CONFIG`. It imports no more than Pillow, numpy and the
preprocessing. Messages are plain bytes, never pickles; `encode_*` and `decode_*` are both ends of the protocol.
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
from cataloger.memory import reuse_buffers
from cataloger.options import Limits, PreprocessSpec
from cataloger.preprocess import Loaded

READY = b"ready"
SIZES = struct.Struct("<III")
PR_SET_PDEATHSIG = 1

Loader = Callable[[bytes, PreprocessSpec, Limits], Loaded]


def encode_config(loader: str, spec: PreprocessSpec, limits: Limits) -> str:
    """Return what a worker is told at its start, as JSON. loader: "module:function"."""
    return json.dumps({"loader": loader, "spec": asdict(spec), "limits": asdict(limits)})


def encode_loaded(loaded: Loaded) -> bytes:
    """Return the answer for a decoded image."""
    header = SIZES.pack(loaded.width, loaded.height, loaded.pixels.shape[0])
    return b"".join((b"+", header, loaded.pixels.tobytes()))


def encode_error(error: ImageError) -> bytes:
    """Return the answer for an image that cannot be used."""
    return b"-" + json.dumps([error.code, str(error)]).encode()


def decode_answer(answer: bytes) -> Loaded | ImageError:
    """Read an answer in the parent."""
    if answer[:1] == b"-":
        code, message = json.loads(answer[1:])
        return ImageError(code, message)
    width, height, size = SIZES.unpack_from(answer, 1)
    pixels = np.frombuffer(answer, dtype=np.uint8, offset=1 + SIZES.size).reshape(size, size, 3)
    return Loaded(pixels, width, height)


def main(descriptor: int, config: str) -> None:
    """Serve images until the pipe closes."""
    # Ctrl-C goes to the whole group; the parent decides when to stop. Nobody outlives a killed parent.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    reuse_buffers()
    load, spec, limits = _configure(config)
    with Connection(descriptor) as pipe, suppress(EOFError, ConnectionError):  # then the parent is gone
        pipe.send_bytes(READY)
        # From here on only decoders written in C would write there, e.g. libtiff its warnings.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        while True:
            pipe.send_bytes(_answer(load, pipe.recv_bytes(), spec, limits))


def _configure(config: str) -> tuple[Loader, PreprocessSpec, Limits]:
    values = json.loads(config)
    module, function = values["loader"].split(":")
    load: Loader = getattr(importlib.import_module(module), function)
    return load, PreprocessSpec.from_json(values["spec"]), Limits(**values["limits"])


def _answer(load: Loader, data: bytes, spec: PreprocessSpec, limits: Limits) -> bytes:
    try:
        return encode_loaded(load(data, spec, limits))
    except ImageError as error:
        return encode_error(error)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
