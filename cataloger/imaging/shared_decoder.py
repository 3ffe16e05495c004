"""Single images for several threads, decoded in child processes like those of a run."""

import queue
from types import TracebackType
from typing import Self

from cataloger.errors import CatalogerError
from cataloger.image_options import Limits, PreprocessSpec
from cataloger.imaging.decode_budget import SharedBudget
from cataloger.imaging.decode_pool import DecodePool
from cataloger.records import Failure, Fetched, Image


class SharedDecoder:
    """Decodes one image at a time in each of `workers` child processes, started when first needed.

    A picture that hangs or kills its decoder costs only itself: the others wait for a process, at most as long as one
    such picture takes. Safe to call from several threads; a context manager. budget, loader: see `DecodePool`.
    """

    def __init__(
        self,
        spec: PreprocessSpec,
        limits: Limits,
        *,
        workers: int,
        budget: SharedBudget,
        loader: str | None = None,
    ) -> None:
        self._spec = spec
        self._limits = limits
        self._budget = budget
        self._loader = loader
        self._count = workers
        self._started: list[DecodePool] = []
        self._is_closed = False
        self._idle: queue.LifoQueue[DecodePool | None] = queue.LifoQueue()
        for _ in range(workers):
            self._idle.put(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def decode(self, fetched: Fetched) -> Image | Failure:
        """Decode one image. Raises CatalogerError when no process can be started or this is closed."""
        pool = self._idle.get()
        try:
            pool = pool or self._start()
            (answer,) = pool.decode([fetched])
        except BaseException:
            if pool is not None:
                pool.__exit__(None, None, None)
            self._idle.put(None)
            raise
        self._idle.put(pool)
        return answer

    def close(self) -> None:
        """End the processes at once."""
        self._is_closed = True
        for pool in self._started:
            pool.abort()
        for _ in range(self._count):
            if (idle := self._idle.get()) is not None:
                idle.__exit__(None, None, None)
            self._idle.put(None)

    def _start(self) -> DecodePool:
        if self._is_closed:
            raise CatalogerError("decoding was ended")
        pool = DecodePool(self._spec, self._limits, workers=1, budget=self._budget, loader=self._loader)
        self._started.append(pool)
        return pool.__enter__()
