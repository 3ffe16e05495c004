"""Models of others, run in a child process: one that never ends, or takes all memory, can be ended.

An ONNX file is a program. Those of the bundles which we ship run here; any other runs in a process with a limit of
memory, and each of its answers has a limit of time.
"""

import itertools
import json
import queue
import socket
import weakref
from collections.abc import Sequence
from contextlib import ExitStack
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from cataloger.errors import BundleError
from cataloger.inference.classify_worker import decode_answer, encode_request
from cataloger.inference.onnx import OnnxClassifier
from cataloger.model import MANIFEST, Bundle, is_shipped
from cataloger.records import Pixels
from cataloger.utils import available_cpus, one_line, start_child

if TYPE_CHECKING:
    import subprocess

LOAD_SECONDS = 60.0
"""Until a model must be loaded; ours take a twentieth of a second."""
ANSWER_SECONDS = 30.0
IMAGE_SECONDS = 2.0
"""That classifying a batch may take: so much, and so much more for each image."""
LONGEST_REASON = 900


def open_classifier(bundle: Bundle, *, device: Literal["cpu", "cuda"] = "cpu", threads: int = 1) -> OnnxClassifier:
    """Load a bundle's ONNX model, in a process of its own unless it is ours. See `OnnxClassifier`.

    Ours are the bundles that we ship, and one that this process is making: a draft, which has no manifest yet.
    """
    is_ours = is_shipped(bundle.path) or not (bundle.path / MANIFEST).exists()
    kind = OnnxClassifier if is_ours else IsolatedClassifier
    return kind(bundle, device=device, threads=threads)


class IsolatedClassifier(OnnxClassifier):
    """Runs a bundle's model in a child process. Safe to call from several threads at once; `close` ends the process.

    BundleError: where the model cannot be loaded or run, takes too long or too much memory, or ends its process.
    """

    def __init__(self, bundle: Bundle, *, device: Literal["cpu", "cuda"] = "cpu", threads: int = 1) -> None:
        self._bundle = bundle
        config = {"path": str(bundle.path), "precision": bundle.precision, "device": device, "threads": threads}
        process, pipes = _start(json.dumps(config), available_cpus())
        self._end = weakref.finalize(self, _kill, process)
        self._idle: queue.LifoQueue[Connection] = queue.LifoQueue()
        for pipe in pipes:
            self._idle.put(pipe)
        found = self._greeting(pipes[0])
        self.outputs, self._device = tuple(found["outputs"]), str(found["device"])

    @property
    def device(self) -> str:
        return self._device

    def close(self) -> None:
        """End the process; calls that are under way raise BundleError."""
        self._end()

    def run(self, names: Sequence[str], pixels: Pixels) -> list[Any]:
        """Return outputs of the model for uint8 N x size x size x 3."""
        pipe = self._idle.get()
        try:
            answer = self._ask(pipe, encode_request(names, pixels), ANSWER_SECONDS + IMAGE_SECONDS * len(pixels))
            outputs = decode_answer(answer)
        except (EOFError, OSError, ValueError, KeyError, TypeError) as error:
            self.close()
            raise self.refused("ended the process that ran it") from error
        finally:
            self._idle.put(pipe)
        if isinstance(outputs, str):
            raise BundleError(one_line(outputs, LONGEST_REASON))
        return [np.asarray(output) for output in outputs]

    def _greeting(self, pipe: Connection) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads(self._ask(pipe, b"", LOAD_SECONDS))
        except (EOFError, OSError, ValueError) as error:
            self.close()
            raise self.refused("ended the process that loaded it") from error
        if "error" in found:
            self.close()
            raise BundleError(one_line(found["error"], LONGEST_REASON))
        return found

    def _ask(self, pipe: Connection, request: bytes, seconds: float) -> bytes:
        if request:
            pipe.send_bytes(request)
        if not pipe.poll(seconds):
            self.close()
            what = "answer" if request else "load"
            raise self.refused(f"took longer than {seconds:g} seconds to {what}, and was stopped")
        return pipe.recv_bytes()


def _start(config: str, calls: int) -> "tuple[subprocess.Popen[bytes], list[Connection]]":
    """Start the child. calls: that can be made at once."""
    with ExitStack() as opened:
        pairs = [socket.socketpair() for _ in range(calls)]
        for each in itertools.chain(*pairs):
            opened.enter_context(each)
        inherited = [theirs.fileno() for _, theirs in pairs]
        process = start_child("cataloger.inference.classify_worker", (config, *map(str, inherited)), inherited)
        return process, [Connection(ours.detach()) for ours, _ in pairs]


def _kill(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()
