"""An executor that is opened when there is something for it to do: most nights a run finds nothing new."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack
from itertools import chain
from types import TracebackType
from typing import Self

from cataloger.engine.executors.base import Executor, OnImage
from cataloger.records import Failure, Item, Result


class DeferredExecutor:
    """Opens another executor with its first input; a context manager, which closes it. device: of that one."""

    def __init__(self, opening: Callable[[], AbstractContextManager[Executor]], device: str) -> None:
        self._opening = opening
        self._device = device
        self._stack = ExitStack()
        self._opened: Executor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    @property
    def device(self) -> str:
        """Where the model will run, e.g. "cpu"."""
        return self._device

    def run(self, items: Iterable[Item | Failure], on_image: OnImage) -> Iterator[list[Result]]:
        """Yield what the other one does; without inputs it is left closed."""
        waiting = iter(items)
        if (first := next(waiting, None)) is None:
            return
        if self._opened is None:
            self._opened = self._stack.enter_context(self._opening())
        yield from self._opened.run(chain([first], waiting), on_image)
