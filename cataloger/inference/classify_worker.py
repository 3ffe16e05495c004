"""The child's side of `cataloger.inference.isolated`: a bundle's model, run for the parent until that exits.

Started as `python -m cataloger.inference.classify_worker CONFIG SOCKET...`; each socket is served by a thread of its
own. Messages are one line of JSON and then plain bytes, never pickles.
"""

import json
import os
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from cataloger.errors import CatalogerError
from cataloger.inference.onnx import OnnxClassifier
from cataloger.model import read_bundle
from cataloger.records import Floats, Pixels
from cataloger.utils import die_with_parent, limit_memory

MODEL_BYTES = 4_000_000_000
"""Memory that a model may take on a CPU; ours take a twentieth."""


def encode_request(names: Sequence[str], pixels: Pixels) -> bytes:
    """Return the message that asks for outputs of uint8 N x size x size x 3."""
    return _joined({"names": list(names), "shape": pixels.shape}, np.ascontiguousarray(pixels).tobytes())


def decode_request(message: bytes) -> tuple[list[str], Pixels]:
    """Read a request in the child."""
    head, body = _split(message)
    return head["names"], np.frombuffer(body, np.uint8).reshape(head["shape"])


def encode_answer(arrays: Sequence[Floats]) -> bytes:
    """Return the message with the outputs, as float32."""
    plain = [np.ascontiguousarray(array, dtype=np.float32) for array in arrays]
    return _joined({"shapes": [array.shape for array in plain]}, b"".join(array.tobytes() for array in plain))


def decode_answer(message: bytes) -> list[Floats] | str:
    """Read an answer in the parent: outputs, or why there are none. Raises ValueError, KeyError, TypeError."""
    head, body = _split(message)
    if "error" in head:
        return str(head["error"])
    arrays, at = [], 0
    for shape in head["shapes"]:
        array = np.frombuffer(body, np.float32, int(np.prod(shape)), at).reshape(shape)
        arrays.append(array)
        at += array.nbytes
    return arrays


def _joined(head: dict[str, Any], body: bytes = b"") -> bytes:
    return json.dumps(head).encode() + b"\n" + body


def _split(message: bytes) -> tuple[dict[str, Any], memoryview]:
    head, _, _ = message.partition(b"\n")
    return json.loads(head), memoryview(message)[len(head) + 1 :]


def main(config: str, descriptors: Sequence[int]) -> None:
    """Load the model, say so on the first socket, and serve all of them."""
    die_with_parent()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # onnxruntime's own lines; what matters is in the answers
    pipes = [Connection(descriptor) for descriptor in descriptors]
    try:
        classifier = _load(json.loads(config))
    except CatalogerError as error:
        pipes[0].send_bytes(_joined({"error": str(error)}))
        return
    pipes[0].send_bytes(_joined({"outputs": classifier.outputs, "device": classifier.device}))
    threads = [threading.Thread(target=_serve, args=(classifier, pipe)) for pipe in pipes]
    threads.append(threading.Thread(target=_check_answer, args=(classifier,)))
    for thread in threads:
        thread.start()


def _load(values: dict[str, Any]) -> OnnxClassifier:
    if values["device"] == "cpu":  # a GPU's driver maps more than there is
        limit_memory(MODEL_BYTES)
    bundle = read_bundle(Path(values["path"]), check=()).at(values["precision"])
    return OnnxClassifier(bundle, device=values["device"], threads=values["threads"])


def _check_answer(classifier: OnnxClassifier) -> None:
    """Compare an answer with the weights while the parent prepares its first request, which tells the outcome."""
    with suppress(CatalogerError):
        classifier.check_answer()


def _serve(classifier: OnnxClassifier, pipe: Connection) -> None:
    with suppress(EOFError, ConnectionError):  # then the parent has exited
        while True:
            names, pixels = decode_request(pipe.recv_bytes())
            try:
                answer = encode_answer(classifier.run(names, pixels))
            except CatalogerError as error:
                answer = _joined({"error": str(error)})
            except Exception as error:  # noqa: BLE001 - an answer that is no array of numbers, or takes all memory
                answer = _joined({"error": str(classifier.refused(f"cannot be run: {error!r}"))})
            pipe.send_bytes(answer)


if __name__ == "__main__":
    main(sys.argv[1], list(map(int, sys.argv[2:])))
