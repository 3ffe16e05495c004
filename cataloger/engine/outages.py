"""What is an outage, and what is only an answer about one image.

An *answer* says something about one image and nothing about the place where it lies: a missing file below a root
that is there, 404, 410 and other refusals of a server, bytes that cannot be decoded, a value that names no image. No
number of answers is an outage. An image that is unchanged is not read and says nothing, either way.

A *sign of an outage* says something about the place (a host and port, a bucket, or a folder), since no answer came:
the name does not resolve, the connection is refused or breaks, no secure connection, a time limit, 408, 429 and 5xx,
wrong credentials of a bucket, an error of the file system (`Failure.may_be_outage`). Images that share one address or
file are asked for once, and are one sign. One sign may be the fault of one image all the same, and so:

1. `RunOptions.outage_after` signs of one place without an answer in between suspend the place; so do as many signs of
   several hosts (or folders) without an answer of any of them, which suspends all hosts (or folders). The run goes on
   with the other places.
2. When the rest is done, an image of the suspended place that has brought an answer before is asked for once more,
   and then as many as in 1 that wait for it, chosen at random. If one of them brings an answer, the place is there
   and the run goes on with it. If none does, the place is out.
3. Nothing of a place that is out is recorded. Signs of a place that is not out are recorded as transient failures.
4. What has failed before is tried after all else. If only the image of 2 that is known answers then, the rest of that
   place waits for the next run, so that dead images of a host that is there cost a bounded time.

Images that were there in the last run and are missing now are evidence of another kind: `cataloger.engine.losses`.
"""

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from cataloger.records import Failure, Item
from cataloger.sources import key_of

Place = tuple[str, str]
"""("host", "img.example:8080"), ("folder", "/srv/photos") or ("bucket", "s3://photos"); a second part that is empty
means all of that kind."""

PLACES = 1000
CONTROLS = 8
KEPT = 10_000
"""Signs that are kept in memory until it is known what they mean; the oldest are recorded first."""


@dataclass(frozen=True, slots=True)
class Outage:
    """A place that is out. place: formatted. images: of it that were not recorded. reason: why it counts as out."""

    place: str
    images: int
    reason: str

    def __str__(self) -> str:
        left = "1 image of it was" if self.images == 1 else f"{self.images:,} images of it were"
        return f"{self.place} is out: {self.reason}; {left} not recorded"


def place_of(item: Item) -> Place | None:
    """Return the host, the bucket or the folder of an image; None if it has none."""
    if item.stored is not None:
        return "bucket", item.stored.store
    if item.url is not None:
        return _host(item.url)
    return None if item.path is None else _folder(item.path.rpartition(b"/")[0])


@lru_cache(1000)
def _folder(name: bytes) -> Place:
    return "folder", key_of(name)


def _host(url: str) -> Place | None:
    return _of_authority(url.partition("://")[2].partition("/")[0])


@lru_cache(1000)
def _of_authority(authority: str) -> Place | None:
    try:
        parts = urlsplit(f"//{authority}")
        port = parts.port
    except ValueError:
        return None
    if not parts.hostname:
        return None
    return "host", parts.hostname if port is None else f"{parts.hostname}:{port}"


def formatted(place: Place) -> str:
    """Return a place as it is named in messages."""
    kind, name = place
    return f"the {kind} {name}" if name else f"every {kind}"


class Outages:
    """Tells by the results of one run over one source which places are out; see the rule above."""

    def __init__(self, after: int) -> None:
        self.is_probing = False
        self._after = after
        self._signs: dict[Place, list[Failure]] = {}  # of each place since its last answer, the oldest place first
        self._asked: Counter[Place] = Counter()  # how many of its signs are of images that were asked for themselves
        self._kept = 0
        self._in_a_row: Counter[str] = Counter()  # signs of a kind of place since the last answer of any
        self._suspended: dict[Place, Failure] = {}  # with the sign that was the last
        self._out: dict[Place, Failure] = {}
        self._left: Counter[Place] = Counter()
        self._answered: set[Place] = set()
        self._put_off: set[Place] = set()
        self._controls: dict[Place, Item] = {}

    @property
    def has_suspended(self) -> bool:
        """True when it has to be found out whether a place is out."""
        return bool(self._suspended)

    @property
    def is_total(self) -> bool:
        """True when there is an outage and no place answered that is not out."""
        return bool(self._out) and all(self._key(self._out, place) for place in self._answered)

    def found(self) -> list[Outage]:
        """Return the places that are out."""
        row = f"{self._after:,} inputs in a row could not be read, the last one"
        return [
            Outage(formatted(place), self._left[place], f"{row} {last.item.uri}: {last.message} ({last.code})")
            for place, last in self._out.items()
        ]

    def suspension(self, item: Item) -> Place | None:
        """Return the suspended place that an image has to wait for; None if it can be tried."""
        return self._key(self._suspended, place_of(item)) if self._suspended and not self.is_probing else None

    def outage(self, item: Item) -> Place | None:
        """Return the place that is out and that an image lies in; None if it can be tried."""
        return self._key(self._out, place_of(item)) if self._out else None

    def is_out(self, place: Place | None) -> bool:
        """True for a place that is out."""
        return self._key(self._out, place) is not None

    def is_put_off(self, item: Item) -> bool:
        """True for an image that the next run tries, since its place is there but brings no answers."""
        return bool(self._put_off) and (place_of(item) in self._put_off)

    def remember(self, item: Item, place: Place | None) -> None:
        """Keep an image that was read, in this run or the last one, to read it again when its place is suspended."""
        if place is not None and place not in self._controls and len(self._controls) < PLACES:
            self._controls[place] = item

    def controls(self) -> list[Item]:
        """Return an image of each suspended place that has brought an answer before, as far as there is one."""
        suspended = [(self._key(self._suspended, place), item) for place, item in self._controls.items()]
        some: Counter[Place] = Counter()
        found = []
        for key, item in suspended:
            if key is not None and some[key] < CONTROLS:
                some[key] += 1
                found.append(item)
        return found

    def leave(self, place: Place, count: int = 1) -> None:
        """Count images that are not recorded because their place is out."""
        self._left[place] += count

    def answered(self, item: Item) -> list[Failure]:
        """Note an answer about an image; return the earlier signs of its place, which mean no outage."""
        place = place_of(item)
        if place is None:
            return []
        if len(self._answered) < PLACES:
            self._answered.add(place)
        self._suspended.pop((place[0], ""), None)
        return self.lift(place)

    def lift(self, place: Place) -> list[Failure]:
        """Go on with a suspended place; return its earlier signs, which mean no outage."""
        self._in_a_row[place[0]] = 0
        self._suspended.pop(place, None)
        return self._pop(place)

    def put_off(self, place: Place) -> list[Failure]:
        """Leave what still waits for a suspended place to the next run; return its signs."""
        if place not in self._suspended:
            return []
        if place[1]:
            self._put_off.add(place)
        return self.lift(place)

    def failed(self, failure: Failure) -> list[Failure]:
        """Note a sign of an outage, and suspend its place if it is one too many; return signs to record."""
        place = place_of(failure.item)
        if place is None:
            return [failure]
        signs = self._signs.setdefault(place, [])
        signs.append(failure)
        self._kept += 1
        if failure.is_shared:  # of an image that counts already
            return self._bounded()
        self._asked[place] += 1
        self._in_a_row[place[0]] += 1
        if not self.is_probing:
            self._judge(place, failure)
        return self._bounded()

    def conclude(self) -> list[Failure]:
        """End the search for an answer: what is still suspended is out. Return its signs, which are not recorded."""
        dropped: list[Failure] = []
        self._out |= self._suspended
        for place in [each for each in self._signs if self._key(self._suspended, each)]:
            signs = self._pop(place)
            self._left[self._key(self._out, place) or place] += len(signs)
            dropped += signs
        self._suspended.clear()
        return dropped

    def release(self) -> list[Failure]:
        """Return the signs that were too few for an outage, to be recorded."""
        few = [place for place in self._signs if not self._key(self._suspended, place)]
        return [sign for place in few for sign in self._pop(place)]

    def _judge(self, place: Place, last: Failure) -> None:
        kind, signs = place[0], self._asked[place]
        if signs >= self._after:
            self._suspended[place] = last
            self._in_a_row[kind] = max(0, self._in_a_row[kind] - signs)
        elif self._in_a_row[kind] >= self._after:
            self._suspended[kind, ""] = last

    def _bounded(self) -> list[Failure]:
        """Return the signs of the oldest place if there are too many."""
        return self._pop(next(iter(self._signs))) if self._kept > KEPT else []

    def _pop(self, place: Place) -> list[Failure]:
        signs = self._signs.pop(place, [])
        self._asked.pop(place, None)
        self._kept -= len(signs)
        return signs

    @staticmethod
    def _key(places: dict[Place, Failure], place: Place | None) -> Place | None:
        """Return what a place is listed under: itself, or all of its kind."""
        if place is None or place in places:
            return place
        return (place[0], "") if (place[0], "") in places else None
