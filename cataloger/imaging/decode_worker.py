"""The child's side of `cataloger.imaging.decode_pool`: a few images in, their pixels or failures out, until the
parent exits.

Started as `python -m cataloger.imaging.decode_worker SOCKET MEMORY BUDGET CONFIG`, the first three descriptors. It
imports no more than Pillow and the preprocessing. What it is sent and sends: `decode_protocol`.
"""

import importlib
import json
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from multiprocessing.connection import Connection

from cataloger.errors import ImageError
from cataloger.image_options import Limits, PreprocessSpec
from cataloger.imaging import preprocess
from cataloger.imaging.decode_budget import DecodeBudget
from cataloger.imaging.decode_protocol import (
    READY,
    WAITED,
    WAITING,
    MemoryLayout,
    Part,
    decode_images,
    encode_error,
    encode_loaded,
    image_of,
)
from cataloger.imaging.loaded import Loaded, LoadedBytes
from cataloger.imaging.shared_memory import SharedMemory
from cataloger.utils import die_with_parent, limit_memory, reuse_buffers

SLACK = 200_000_000
"""Bytes that a process may take beside what decoding may: the encoded image, its estimate's error, and numpy, which
the first grey image of 16 bits loads."""

Loader = Callable[[bytes, PreprocessSpec, Limits], Loaded | LoadedBytes]


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
