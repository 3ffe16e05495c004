"""Ask servers whether unchanged addresses still show the same images."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

from cataloger.engine.outages import Outages
from cataloger.ledger import Ledger
from cataloger.records import Failure, Item, Planned
from cataloger.sources import with_validators

if TYPE_CHECKING:
    from cataloger.fetch import Remote

LOOK_AHEAD = 64


class RevalidatingPlanner:
    """Plans as the ledger does, but what is "unchanged" becomes "changed" if its server does not confirm that.

    Servers are asked for the headers alone (HEAD), `remote.threads` at once. One that sends neither ETag nor
    Last-Modified, or fails, does not confirm it: the image is then downloaded. A host that may be out is not asked.
    """

    def __init__(self, ledger: Ledger, remote: "Remote", outages: Outages) -> None:
        self._ledger = ledger
        self._remote = remote
        self._outages = outages

    def plan(self, subjects: Iterable[Item | Failure], *, again: bool = False) -> Iterator[Planned]:
        """Yield a decision for each input, in order. again: as for the ledger."""
        waiting: deque[tuple[Planned, Future[bool] | None]] = deque()
        with ThreadPoolExecutor(self._remote.threads, thread_name_prefix="revalidate") as executor:
            for planned in self._ledger.plan(subjects, again=again):
                item = self._to_ask(planned)
                answer = executor.submit(self._is_confirmed, item, planned.recorded) if item else None
                waiting.append((planned, answer))
                if len(waiting) > LOOK_AHEAD:
                    yield self._settled(*waiting.popleft())
            while waiting:
                yield self._settled(*waiting.popleft())

    def release(self, subject: Item | Failure) -> None:
        """Forget that an input was planned."""
        self._ledger.release(subject)

    def _to_ask(self, planned: Planned) -> Item | None:
        """Return the item to ask a server about. A version column says by itself whether its image has changed."""
        item = planned.subject
        if planned.reason != "unchanged" or isinstance(item, Failure) or not item.version.startswith("url:"):
            return None
        return None if self._outages.suspension(item) or self._outages.outage(item) else item

    def _is_confirmed(self, item: Item, recorded: str) -> bool:
        now = with_validators(item.version, self._remote.validators(item))
        return now != item.version and now == recorded

    def _settled(self, planned: Planned, answer: Future[bool] | None) -> Planned:
        if answer is None:
            return planned
        return replace(planned, is_asked=True) if answer.result() else self._ledger.reconsider(planned)
