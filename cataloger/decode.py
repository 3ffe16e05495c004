"""Decoding in child processes, so that an image that kills or hangs its decoder costs nobody else anything.

Each worker holds one image at a time, so it is certain which one it died of. That image is tried once more, as the
first one of a fresh process, and recorded if that dies too. A plain subprocess on a socket is used and not
multiprocessing's start methods: these import the caller's main module again in every child.
"""

import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Self

from cataloger.decode_worker import READY, decode_answer, encode_config, encode_image, memory_size
from cataloger.errors import CatalogerError, ImageError
from cataloger.handover import SharedMemory
from cataloger.options import Limits, PreprocessSpec
from cataloger.preprocess import Loaded
from cataloger.records import Failure, Fetched, Image

DEFAULT_LOADER = "cataloger.preprocess:load"
START_TIMEOUT = 60.0
ATTEMPTS = 2
HANDOVERS = 3
LOOK_AHEAD = 8
CRASHED = ImageError("decode.crashed", "the image crashes the decoder")


@dataclass(slots=True, eq=False)
class _Slot:
    """An input on its way; slots keep the order. result: set when it is done."""

    fetched: Fetched | None
    result: Image | Failure | None = None
    attempts: int = 0


class _Worker:
    """A child process and the image it holds."""

    def __init__(self, config: str, memory_size: int) -> None:
        with ExitStack() as opened:
            try:
                self.memory = opened.enter_context(closing(SharedMemory.create(memory_size)))
                ours, theirs = socket.socketpair()
                opened.enter_context(ours)
                with theirs:
                    self.process = _start(theirs.fileno(), self.memory.file.fileno(), config)
            except OSError as error:
                raise CatalogerError(f"a decoding process cannot be started: {error.strerror}") from error
            opened.pop_all()
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
            self.pipe.send_bytes(encode_image(self.memory, slot.fetched.data))
        except (BrokenPipeError, ConnectionError):
            return False
        self.slot, self.deadline = slot, time.monotonic() + timeout
        return True

    def answer(self) -> Loaded | ImageError:
        """Return what became of the image. Raises EOFError or OSError when the child is gone."""
        assert self.slot is not None
        assert self.slot.fetched is not None
        answer = decode_answer(self.memory, self.pipe.recv_bytes())
        self.memory.forget(len(self.slot.fetched.data))
        return answer

    def kill(self) -> None:
        """End the child at once and reap it."""
        self.process.kill()
        self.process.wait()
        self.pipe.close()
        self.memory.close()


def _start(pipe: int, memory: int, config: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        # -P: a json.py among the pictures of the current folder must not be imported.
        [sys.executable, "-P", "-m", "cataloger.decode_worker", str(pipe), str(memory), config],
        pass_fds=(pipe, memory),
        process_group=0,  # so that Ctrl-C cannot reach a child that is still starting
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )


class DecodePool:
    """Decodes in `workers` child processes; a context manager, so that none is left behind.

    loader: "module:function" with the signature of `preprocess.load`; another one only in tests.
    """

    def __init__(self, spec: PreprocessSpec, limits: Limits, *, workers: int, loader: str = DEFAULT_LOADER) -> None:
        self._limits = limits
        self._config = encode_config(loader, spec, limits)
        self._memory_size = memory_size(spec, limits)
        self._count = workers
        self._workers: list[_Worker] = []

    def __enter__(self) -> Self:
        try:
            while len(self._workers) < self._count:
                self._workers.append(_Worker(self._config, self._memory_size))
        except BaseException:
            self._kill_all()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._kill_all()

    def _kill_all(self) -> None:
        for worker in self._workers:
            worker.kill()
        self._workers = []

    def decode(self, items: Iterable[Fetched | Failure]) -> Iterator[Image | Failure]:
        """Yield an image or a failure for every input, in order; failures pass through.

        Codes: those of `preprocess.load`, decode.crashed, decode.timeout. Raises CatalogerError when a new process
        is needed and cannot be started.
        """
        source = iter(items)
        slots: deque[_Slot] = deque()
        while not self._hand_out(source, slots) or slots:
            # Without slots every worker still holds an image of a stream that was left early.
            if not slots or slots[0].result is None:
                self._collect()
            while slots and slots[0].result is not None:
                yield slots.popleft().result  # type: ignore[misc]  # just checked

    def _hand_out(self, source: Iterator[Fetched | Failure], slots: deque[_Slot]) -> bool:
        """Give every idle worker an image; return whether the source has ended."""
        bound = self._count * LOOK_AHEAD
        for index in range(self._count):
            while self._workers[index].slot is None:
                if len(slots) >= bound:
                    return False
                subject = next(source, None)
                if subject is None:
                    return True
                slot = _Slot(subject) if isinstance(subject, Fetched) else _Slot(None, result=subject)
                slots.append(slot)
                if slot.fetched is not None:
                    self._give(index, slot)
        return False

    def _give(self, index: int, slot: _Slot) -> None:
        """Hand an image to a worker, or to a fresh one when it was gone already, which need not be its fault."""
        assert slot.fetched is not None
        if len(slot.fetched.data) > self._limits.max_bytes:
            _record(
                slot, ImageError("decode.too_many_bytes", f"more than the {self._limits.max_bytes:,} bytes allowed")
            )
            return
        for _ in range(HANDOVERS):
            if self._workers[index].give(slot, self._limits.decode_timeout):
                return
            self._replace(index)
        _record(slot, CRASHED)

    def _collect(self) -> None:
        """Wait until a worker answers, dies or exceeds its time."""
        busy = {worker.pipe: worker for worker in self._workers if worker.slot is not None}
        if not busy:
            return
        patience = max(0.0, min(worker.deadline for worker in busy.values()) - time.monotonic())
        for pipe in wait(list(busy), timeout=patience):
            assert isinstance(pipe, Connection)
            self._receive(busy[pipe])
        now = time.monotonic()
        for worker in busy.values():
            if worker.slot is not None and worker.deadline <= now:
                seconds = self._limits.decode_timeout
                self._fail(worker, ImageError("decode.timeout", f"decoding took longer than {seconds:g} seconds"))

    def _receive(self, worker: _Worker) -> None:
        slot = worker.slot
        assert slot is not None
        try:
            answer = worker.answer()
        except (EOFError, OSError):  # it may have died in the middle of its answer, which is a plain OSError
            self._fail(worker, CRASHED)
            return
        worker.slot = None
        _record(slot, answer)

    def _fail(self, worker: _Worker, error: ImageError) -> None:
        """Replace a worker that died or hangs; its image gets one more chance, in the fresh process."""
        slot, worker.slot = worker.slot, None
        assert slot is not None
        slot.attempts += 1
        index = self._workers.index(worker)
        self._replace(index)
        if slot.attempts < ATTEMPTS:
            self._give(index, slot)
        else:
            _record(slot, error)

    def _replace(self, index: int) -> None:
        self._workers[index].kill()
        self._workers[index] = _Worker(self._config, self._memory_size)


def _record(slot: _Slot, answer: Loaded | ImageError) -> None:
    """Give a slot its result; the encoded bytes are not needed while it waits for its turn."""
    fetched, slot.fetched = slot.fetched, None
    assert fetched is not None
    if isinstance(answer, ImageError):
        slot.result = Failure(fetched.item, answer.code, str(answer), fetched.content_hash)
    else:
        slot.result = Image(fetched.item, fetched.content_hash, *answer)
