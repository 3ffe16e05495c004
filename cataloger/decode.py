"""Decoding in child processes, so that an image that kills or hangs its decoder costs nobody else anything.

Each worker holds one image at a time, so it is certain which one it died of. That image is tried once more in a
fresh process of its own and, if that dies too, recorded. A plain subprocess on a socket is used and not
multiprocessing's start methods: these import the caller's main module again in every child.
"""

import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Self

from cataloger.decode_worker import READY, decode_answer, encode_config
from cataloger.errors import CatalogerError, ImageError
from cataloger.options import Limits, PreprocessSpec
from cataloger.records import Failure, Fetched, Image

DEFAULT_LOADER = "cataloger.preprocess:load"
START_TIMEOUT = 60.0
ATTEMPTS = 2
LOOK_AHEAD = 8


@dataclass(slots=True, eq=False)
class _Slot:
    """An input on its way; slots keep the order. result: set when it is done."""

    fetched: Fetched | None
    result: Image | Failure | None = None
    attempts: int = 0


class _Worker:
    """A child process and the image it holds."""

    def __init__(self, config: str) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                # -P: a json.py among the pictures of the current folder must not be imported.
                [sys.executable, "-P", "-m", "cataloger.decode_worker", str(theirs.fileno()), config],
                pass_fds=(theirs.fileno(),),
                process_group=0,  # so that Ctrl-C cannot reach a child that is still starting
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        self.pipe = Connection(ours.detach())
        self.is_ready = False
        self.slot: _Slot | None = None
        self.deadline = 0.0

    def ensure_ready(self) -> None:
        """Wait for the child's greeting. Raises CatalogerError when it does not come."""
        if self.is_ready:
            return
        try:
            greeted = self.pipe.poll(START_TIMEOUT) and self.pipe.recv_bytes() == READY
        except (EOFError, ConnectionError):
            greeted = False
        if not greeted:
            self.kill()
            raise CatalogerError("a decoding process cannot be started; its own message, if any, stands above")
        self.is_ready = True

    def give(self, slot: _Slot, timeout: float) -> bool:
        """Hand over an image; False when the child was gone already, which is not the image's fault."""
        assert slot.fetched is not None
        self.ensure_ready()
        try:
            self.pipe.send_bytes(slot.fetched.data)
        except (BrokenPipeError, ConnectionError):
            return False
        self.slot, self.deadline = slot, time.monotonic() + timeout
        return True

    def kill(self) -> None:
        """End the child at once and reap it."""
        self.process.kill()
        self.process.wait()
        self.pipe.close()


class DecodePool:
    """Decodes in `workers` child processes; a context manager, so that none is left behind.

    loader: "module:function" with the signature of `preprocess.load`; another one only in tests.
    """

    def __init__(self, spec: PreprocessSpec, limits: Limits, *, workers: int, loader: str = DEFAULT_LOADER) -> None:
        self._limits = limits
        self._config = encode_config(loader, spec, limits)
        self._count = workers
        self._workers: list[_Worker] = []

    def __enter__(self) -> Self:
        self._workers = [_Worker(self._config) for _ in range(self._count)]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.kill()
        self._workers = []

    def decode(self, items: Iterable[Fetched | Failure]) -> Iterator[Image | Failure]:
        """Yield an image or a failure for every input, in order; failures pass through.

        Codes: those of `preprocess.load`, decode.crashed, decode.timeout.
        """
        source = iter(items)
        slots: deque[_Slot] = deque()
        again: deque[_Slot] = deque()
        exhausted = False
        while True:
            exhausted = self._hand_out(source, slots, again) or exhausted
            if slots and slots[0].result is None:
                self._collect(again)
            while slots and slots[0].result is not None:
                yield slots.popleft().result  # type: ignore[misc]  # just checked
            if exhausted and not slots:
                return

    def _hand_out(self, source: Iterator[Fetched | Failure], slots: deque[_Slot], again: deque[_Slot]) -> bool:
        """Give every idle worker an image; return whether the source has ended."""
        bound = self._count * LOOK_AHEAD
        for index, worker in enumerate(self._workers):
            while worker.slot is None:
                slot = again.popleft() if again else None
                if slot is None:
                    if len(slots) >= bound or (subject := next(source, None)) is None:
                        return len(slots) < bound
                    slot = _Slot(subject) if isinstance(subject, Fetched) else _Slot(None, result=subject)
                    slots.append(slot)
                if slot.fetched is not None and not worker.give(slot, self._limits.decode_timeout):
                    worker = self._replace(index)  # noqa: PLW2901 (the place in the list is what counts)
                    again.appendleft(slot)
        return False

    def _collect(self, again: deque[_Slot]) -> None:
        """Wait until a worker answers, dies or exceeds its time."""
        busy = {worker.pipe: worker for worker in self._workers if worker.slot is not None}
        if not busy:
            return
        patience = max(0.0, min(worker.deadline for worker in busy.values()) - time.monotonic())
        for pipe in wait(list(busy), timeout=patience):
            assert isinstance(pipe, Connection)
            self._receive(busy[pipe], again)
        now = time.monotonic()
        for worker in busy.values():
            if worker.slot is not None and worker.slot.result is None and worker.deadline <= now:
                seconds = self._limits.decode_timeout
                self._fail(worker, again, "decode.timeout", f"decoding took longer than {seconds:g} seconds")

    def _receive(self, worker: _Worker, again: deque[_Slot]) -> None:
        slot = worker.slot
        assert slot is not None
        assert slot.fetched is not None
        try:
            answer = decode_answer(worker.pipe.recv_bytes())
        except (EOFError, ConnectionError):
            self._fail(worker, again, "decode.crashed", "the image crashes the decoder")
            return
        worker.slot = None
        item, content_hash = slot.fetched.item, slot.fetched.content_hash
        if isinstance(answer, ImageError):
            slot.result = Failure(item, answer.code, str(answer), content_hash)
        else:
            slot.result = Image(item, content_hash, *answer)
        slot.fetched = None  # its bytes are not needed while it waits for its turn

    def _fail(self, worker: _Worker, again: deque[_Slot], code: str, message: str) -> None:
        """Replace a worker that died or hangs; its image gets one more chance."""
        slot = worker.slot
        assert slot is not None
        assert slot.fetched is not None
        slot.attempts += 1
        if slot.attempts < ATTEMPTS:
            again.append(slot)
        else:
            slot.result = Failure(slot.fetched.item, code, message, slot.fetched.content_hash)
        self._replace(self._workers.index(worker))

    def _replace(self, index: int) -> _Worker:
        self._workers[index].kill()
        self._workers[index] = _Worker(self._config)
        return self._workers[index]
