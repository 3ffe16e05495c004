"""Threads for each kind of request, so that those of one kind which wait do not keep the others waiting."""

import math
from collections.abc import Callable
from typing import TypeVar

import anyio
import anyio.to_thread

from cataloger.errors import CatalogerError

T = TypeVar("T")


class BusyError(CatalogerError):
    """Too many requests of a kind wait already; the page tries again by itself."""


class Turns:
    """`most` threads for one kind of request. seconds: that a request waits for one of them."""

    def __init__(self, most: int, seconds: float) -> None:
        self._most = anyio.CapacityLimiter(most)
        self._seconds = seconds
        self._own = anyio.CapacityLimiter(math.inf)

    async def run(self, function: Callable[..., T], *arguments: object) -> T:
        """Call a function in a thread. Raises BusyError when none gets free in time."""
        borrower = object()
        try:
            with anyio.fail_after(self._seconds):
                await self._most.acquire_on_behalf_of(borrower)
        except TimeoutError as error:
            raise BusyError("the server is busy; try again") from error
        try:
            return await anyio.to_thread.run_sync(function, *arguments, limiter=self._own)
        finally:
            self._most.release_on_behalf_of(borrower)
