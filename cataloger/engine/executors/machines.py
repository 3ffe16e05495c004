"""Which machine of a cluster can read what: a folder may not be mounted on one, a host not be reached from it.

Such a machine fails faster than others work, and would take everything. So what a machine cannot read counts only
where it has read something of the same place (folder or host), or where the others that are asked cannot read it
either. A machine that can read nothing of what others can gets no more work.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from urllib.parse import urlsplit

from cataloger.records import Failure, Fetched, Item, Result

Place = tuple[str, str]

UNREAD = ("io.missing", "io.permission")
MOST_ASKED = 3
"""Machines that are asked for what none of them can read, unless there is one that has read other things."""
BLIND = 8
"""Images that others could read until a machine that has read none gets no more work."""
PLACES = 20_000


def place_of(subject: Item | Fetched) -> Place:
    """Return the folder or host of an input; ("", "") for bytes that are sent with it."""
    if isinstance(subject, Fetched):
        return "", ""
    if subject.url is not None:
        return "host", urlsplit(subject.url).netloc.rpartition("@")[2]
    return "folder", repr((subject.path or b"").rpartition(b"/")[0])


def is_unread(result: Result) -> bool:
    """True for a failure that may be the machine's and not the image's."""
    return isinstance(result, Failure) and (result.code in UNREAD or result.may_be_outage)


class Machines:
    """Judges what machines answer. warn: receives that one gets no more work."""

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._reads: Counter[str] = Counter()
        self._blind: Counter[str] = Counter()  # images of each machine that others could read
        self._readers: defaultdict[Place, set[str]] = defaultdict(set)
        self._agreed: set[Place] = set()  # places of which several machines could read nothing
        self._left_out: set[str] = set()

    def may_work(self, machine: str) -> bool:
        """False for a machine that can read nothing of what others can."""
        return machine not in self._left_out

    def has_read(self, machine: str) -> bool:
        """True for a machine that has read something."""
        return self._reads[machine] > 0

    def judge(self, machine: str, results: Sequence[Result], asked: Iterable[str]) -> tuple[list[Result], list[int]]:
        """Return what counts of a chunk's results, and the positions of what another machine has to be asked for.

        asked: machines that could not read them before.
        """
        for result in results:
            if not is_unread(result):
                self._note_read(machine, place_of(result.item), asked)
        doubtful = [number for number, result in enumerate(results) if self._is_doubtful(machine, result)]
        left = set(doubtful)
        accepted = [result for number, result in enumerate(results) if number not in left]
        return accepted, doubtful

    def conclude(self, results: Iterable[Result]) -> None:
        """Note that nobody can read anything of the places of these."""
        self._agreed.update(place_of(result.item) for result in results)

    def _is_doubtful(self, machine: str, result: Result) -> bool:
        if not is_unread(result):
            return False
        place = place_of(result.item)
        return machine not in self._readers.get(place, ()) and place not in self._agreed

    def _note_read(self, machine: str, place: Place, asked: Iterable[str]) -> None:
        if len(self._readers) > PLACES or len(self._agreed) > PLACES:
            self._readers.clear()  # it is found out again
            self._agreed.clear()
        self._reads[machine] += 1
        self._readers[place].add(machine)
        self._agreed.discard(place)
        for other in asked:
            self._blind[other] += 1
            if self._blind[other] >= max(BLIND, self._reads[other]) and self.may_work(other):
                self._left_out.add(other)
                self._warn(
                    f"machine {other} cannot read what other machines of the cluster can, and gets no more work: "
                    "is the folder mounted there, the host reached?"
                )
