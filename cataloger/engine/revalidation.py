"""Ask servers whether unchanged addresses still show the same images."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from cataloger.ledger import Ledger
from cataloger.records import Item, Planned
from cataloger.sources import with_validators

if TYPE_CHECKING:
    from cataloger.fetch import Downloader

LOOK_AHEAD = 64


def revalidate(ledger: Ledger, web: "Downloader", threads: int) -> Callable[[Iterable[Planned]], Iterator[Planned]]:
    """Return a step that turns a planned item from "unchanged" to "changed" if its server does not confirm that.

    Servers are asked for the headers alone (HEAD), `threads` at once. One that sends neither ETag nor Last-Modified,
    or fails, does not confirm it: the image is then downloaded.
    """

    def is_confirmed(item: Item, recorded: str) -> bool:
        now = with_validators(item.version, web.validators(item))
        return now != item.version and now == recorded

    def settle(planned: Planned, answer: Future[bool] | None) -> Planned:
        return planned if answer is None or answer.result() else ledger.reconsider(planned)

    def step(plan: Iterable[Planned]) -> Iterator[Planned]:
        waiting: deque[tuple[Planned, Future[bool] | None]] = deque()
        with ThreadPoolExecutor(threads, thread_name_prefix="revalidate") as executor:
            for planned in plan:
                item = _to_ask(planned)
                answer = executor.submit(is_confirmed, item, planned.recorded) if item else None
                waiting.append((planned, answer))
                if len(waiting) > LOOK_AHEAD:
                    yield settle(*waiting.popleft())
            while waiting:
                yield settle(*waiting.popleft())

    return step


def _to_ask(planned: Planned) -> Item | None:
    """Return the item to ask a server about. A version column says by itself whether its image has changed."""
    item = planned.subject
    is_url = planned.reason == "unchanged" and isinstance(item, Item) and item.version.startswith("url:")
    return item if is_url and isinstance(item, Item) else None
