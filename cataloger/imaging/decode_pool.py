"""Decoding in child processes, so that an image that kills or hangs its decoder affects no other image.

Each worker holds a few images and marks the one that it is at, so it is certain which one it died of. That image is
tried once more, alone in a fresh process, and recorded if that dies too; those that it was with are handed out again.
A plain subprocess on a socket is used and not multiprocessing's start methods: these import the caller's main module
again in every child.
"""

import socket
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import TYPE_CHECKING, Self, overload

from cataloger.errors import CatalogerError, ImageError
from cataloger.image_options import Limits, PreprocessSpec
from cataloger.imaging.decode_budget import SharedBudget
from cataloger.imaging.decode_protocol import (
    CHUNK,
    CHUNK_BYTES,
    READY,
    WAITING,
    MemoryLayout,
    decode_answer,
    encode_config,
    encode_images,
    image_of,
)
from cataloger.imaging.decoder_version import decoder_identity
from cataloger.imaging.loaded import Loaded
from cataloger.imaging.shared_memory import SharedMemory
from cataloger.records import Failure, Fetched, Image, Result
from cataloger.utils import start_child

if TYPE_CHECKING:
    import subprocess

LOADER = "cataloger.imaging.preprocess:load_bytes"
"""What decodes an image in a child process, "module:function"; tests and benchmarks set another one."""
START_TIMEOUT = 60.0
ATTEMPTS = 2
SEND_ATTEMPTS = 3
LOOK_AHEAD = 3
"""Chunks per worker, decoded or in progress, until the oldest image must be done."""
FILLING_SECONDS = 0.05
"""How long a chunk waits for its next image, about; a slow download must not delay the images that have arrived."""
CRASHED = ImageError("decode.crashed", "the image crashes the decoder")


@dataclass(slots=True, eq=False)
class _Slot:
    """An input on its way; slots keep the order. result: set when it is done."""

    fetched: Fetched | None
    result: Image | Result | None = None
    attempts: int = 0
    decoder: str = ""

    @property
    def data(self) -> bytes:
        """The encoded image, until the slot has its result."""
        assert self.fetched is not None
        return self.fetched.data


class _Worker:
    """A child process and the images it holds; none when it is idle."""

    def __init__(self, config: str, layout: MemoryLayout, budget: SharedBudget) -> None:
        with ExitStack() as opened:
            try:
                self.memory = opened.enter_context(closing(SharedMemory.create(layout.size)))
                ours, theirs = socket.socketpair()
                opened.enter_context(ours)
                with theirs:
                    inherited = (theirs.fileno(), self.memory.file.fileno(), budget.fileno())
                    self.process = _start(inherited, config)
            except OSError as error:
                raise CatalogerError(f"a decoding process cannot be started: {error.strerror}") from error
            opened.pop_all()
        self.layout = layout
        self.pipe = Connection(ours.detach())
        self.is_ready = False
        self.chunk: list[_Slot] = []
        self.chunks = 0
        self.at = 0
        self.deadline = 0.0

    def ensure_ready(self) -> None:
        """Wait for the child's first message. Raises CatalogerError when it does not come."""
        if self.is_ready:
            return
        try:
            greeted = self.pipe.poll(START_TIMEOUT) and self.pipe.recv_bytes() == READY
        except (EOFError, ConnectionError):
            greeted = False
        if not greeted:
            self.kill()
            raise CatalogerError("a decoding process cannot be started; its own message, if any, is above")
        self.is_ready = True

    @property
    def chunk_size(self) -> int:
        """How many images to give it: few at first, so that a small run uses all workers."""
        return min(CHUNK, 1 + self.chunks // 2)

    def give(self, chunk: list[_Slot], timeout: float) -> bool:
        """Send images; False if the child had exited already, which is not their fault."""
        self.ensure_ready()
        try:
            self.pipe.send_bytes(encode_images(self.memory, [slot.data for slot in chunk]))
        except (BrokenPipeError, ConnectionError):
            return False
        self.chunk, self.at, self.deadline = chunk, 0, time.monotonic() + timeout
        self.chunks += 1
        return True

    def answer(self) -> list[Loaded | ImageError]:
        """Return what became of the images. Raises EOFError, OSError or ValueError if the child has exited or
        sent an invalid reply."""
        answers = decode_answer(self.memory, self.layout, self.pipe.recv_bytes())
        if len(answers) != len(self.chunk):
            raise ValueError(f"{len(answers)} answers for {len(self.chunk)} images")
        self.memory.forget(sum(len(slot.data) for slot in self.chunk))
        return answers

    def is_stuck(self, timeout: float) -> bool:
        """True when it has been at one image for longer than `timeout`; it is noticed within twice that."""
        now = time.monotonic()
        if now < self.deadline or self.pipe.poll():  # an answer that was not read yet
            return False
        mark = self.memory.mark
        if mark == self.at and not mark & WAITING:
            return True
        self.at, self.deadline = mark, now + timeout
        return False

    def take_back(self, at: int) -> tuple[_Slot, list[_Slot]]:
        """Return the image that it was at, and the others."""
        chunk, self.chunk = self.chunk, []
        blamed = chunk.pop(min(image_of(at), len(chunk) - 1))
        return blamed, chunk

    def kill(self) -> None:
        """End the child at once and reap it."""
        self.process.kill()
        self.process.wait()
        self.pipe.close()
        self.memory.close()


def _start(inherited: tuple[int, ...], config: str) -> "subprocess.Popen[bytes]":
    arguments = (*map(str, inherited), config)
    return start_child("cataloger.imaging.decode_worker", arguments, inherited)


class DecodePool:
    """Decodes in `workers` child processes; a context manager, so that none is left behind.

    budget: of the memory that decoding may take, where several pools share it. loader: LOADER if not given.
    """

    def __init__(
        self,
        spec: PreprocessSpec,
        limits: Limits,
        *,
        workers: int,
        budget: SharedBudget | None = None,
        loader: str | None = None,
    ) -> None:
        self._limits = limits
        self._config = encode_config(loader or LOADER, spec, limits)
        self._layout = MemoryLayout.of(spec, limits)
        self._decoder = decoder_identity(spec)
        self._count = workers
        self._workers: list[_Worker] = []
        self._again: deque[_Slot] = deque()  # were with an image that ended their worker
        self._is_aborted = False
        self._own_budget = budget is None
        self._budget = budget

    def __enter__(self) -> Self:
        self._budget = self._budget or SharedBudget()
        try:
            while len(self._workers) < self._count:
                self._workers.append(self._new_worker())
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
        if self._budget is not None and self._own_budget:
            self._budget.close()
            self._budget = None

    def abort(self) -> None:
        """End the processes from another thread: what is being decoded raises CatalogerError."""
        self._is_aborted = True
        for worker in self._workers:
            worker.process.kill()

    def _new_worker(self) -> _Worker:
        if self._is_aborted:
            raise CatalogerError("decoding was ended")
        assert self._budget is not None
        return _Worker(self._config, self._layout, self._budget)

    @overload
    def decode(self, items: Iterable[Fetched | Failure]) -> Iterator[Image | Failure]: ...

    @overload
    def decode(self, items: Iterable[Fetched | Result]) -> Iterator[Image | Result]: ...

    def decode(self, items: Iterable[Fetched | Result]) -> Iterator[Image | Result]:
        """Yield an image or a failure for every input, in order; what is a result already passes through.

        Codes: those of `preprocess.load`, decode.crashed, decode.timeout. Raises CatalogerError when a new process
        is needed and cannot be started.
        """
        self._again.clear()
        stream = _Stream(items, self._limits.max_bytes, self._count * LOOK_AHEAD * CHUNK, self._decoder)
        while not self._hand_out(stream) or stream.slots:
            # Without slots every worker still holds images of a stream that was left early.
            if not stream.slots or stream.slots[0].result is None:
                self._collect()
            yield from stream.done()

    def _hand_out(self, stream: "_Stream") -> bool:
        """Give every idle worker images; return whether the source has ended."""
        for index, worker in enumerate(self._workers):
            if not worker.chunk and (chunk := _chunk(self._again, stream, worker.chunk_size)):
                self._give(index, chunk)
        return stream.has_ended

    def _give(self, index: int, chunk: list[_Slot]) -> None:
        """Send images to a worker, or to a new one if it had exited already. Raises CatalogerError."""
        for _ in range(SEND_ATTEMPTS):
            if self._workers[index].give(chunk, self._limits.decode_timeout):
                return
            self._replace(index)
        raise CatalogerError(
            f"{SEND_ATTEMPTS} decoding processes in a row were killed from outside before they received an image; "
            "is there memory left?"
        )

    def _collect(self) -> None:
        """Wait until a worker answers, dies or exceeds its time."""
        busy = {worker.pipe: worker for worker in self._workers if worker.chunk}
        if not busy:
            return
        patience = max(0.0, min(worker.deadline for worker in busy.values()) - time.monotonic())
        for pipe in wait(list(busy), timeout=patience):
            assert isinstance(pipe, Connection)
            self._receive(busy[pipe])
        timeout = self._limits.decode_timeout
        for worker in busy.values():
            if worker.chunk and worker.is_stuck(timeout):
                error = ImageError("decode.timeout", f"decoding took longer than {timeout:g} seconds")
                self._fail(worker, worker.at, error)

    def _receive(self, worker: _Worker) -> None:
        try:
            answers = worker.answer()
        except (EOFError, OSError, ValueError):  # it may have died in the middle of its answer: a plain OSError
            self._fail(worker, worker.memory.mark, CRASHED)
            return
        for slot, answer in zip(worker.chunk, answers, strict=True):
            _record(slot, answer)
        worker.chunk = []

    def _fail(self, worker: _Worker, at: int, error: ImageError) -> None:
        """Replace a worker that died or hangs; the image that it was at gets one more chance, in the fresh one."""
        slot, others = worker.take_back(at)
        slot.attempts += 1
        self._again.extendleft(reversed(others))
        index = self._workers.index(worker)
        self._replace(index)
        if slot.attempts < ATTEMPTS:
            self._give(index, [slot])
        else:
            _record(slot, error)

    def _replace(self, index: int) -> None:
        self._workers[index].kill()
        self._workers[index] = self._new_worker()


class _Stream:
    """The inputs of one call: `slots` are those on their way, at most `bound`, in order. decoder: of the images."""

    def __init__(self, items: Iterable[Fetched | Result], max_bytes: int, bound: int, decoder: str) -> None:
        self.source = iter(items)
        self.max_bytes = max_bytes
        self.bound = bound
        self.decoder = decoder
        self.slots: deque[_Slot] = deque()
        self.has_ended = False

    def next(self) -> _Slot | None:
        """Take the next input that is to be decoded; None if there is none now."""
        while len(self.slots) < self.bound and (item := next(self.source, None)) is not None:
            slot = _Slot(item, decoder=self.decoder) if isinstance(item, Fetched) else _Slot(None, item)
            self.slots.append(slot)
            if slot.fetched is None:
                continue
            if len(slot.data) <= self.max_bytes:
                return slot
            _record(slot, ImageError.too_many_bytes(self.max_bytes))
        self.has_ended = self.has_ended or len(self.slots) < self.bound
        return None

    def done(self) -> Iterator[Image | Result]:
        """Give out the results that are there, up to the first that is not."""
        while self.slots and (result := self.slots[0].result) is not None:
            self.slots.popleft()
            yield result


def _chunk(again: deque[_Slot], stream: _Stream, most: int) -> list[_Slot]:
    """Take images that go to a worker together. again: come first, and take those that do not fit."""
    chunk: list[_Slot] = []
    size = 0
    late = time.monotonic() + FILLING_SECONDS
    while len(chunk) < most and (slot := again.popleft() if again else stream.next()) is not None:
        size += len(slot.data)
        if chunk and size > CHUNK_BYTES:
            again.appendleft(slot)
            break
        chunk.append(slot)
        if time.monotonic() > late:
            break
    return chunk


def _record(slot: _Slot, answer: Loaded | ImageError) -> None:
    """Give a slot its result; the encoded bytes are not needed while it waits for its turn."""
    fetched, slot.fetched = slot.fetched, None
    assert fetched is not None
    if isinstance(answer, ImageError):
        slot.result = Failure(fetched.item, answer.code, str(answer), fetched.content_hash)
    else:
        slot.result = Image(fetched.item, fetched.content_hash, *answer, slot.decoder)
