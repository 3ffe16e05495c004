"""Hands inputs to the workers of a cluster in chunks, and brings every input to one result whatever becomes of them.

A chunk that was with a worker that ended goes to another one; if that ends, too, its inputs go one by one, and an
input that was with four workers that ended becomes a failure, io.worker_lost. What one machine cannot read, another
one is asked for before that counts: `cataloger.engine.executors.machines`. What workers are is left to the `Fleet`.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from cataloger.engine.executors.base import OnImage
from cataloger.engine.executors.machines import MOST_ASKED, Machines, place_of
from cataloger.errors import ClusterError
from cataloger.records import Failure, Fetched, Item, Prediction, Result, item_of
from cataloger.utils import Stopwatch

FIRST_CHUNKS = 2
FIRST_CHUNK, CHUNK = 8, 32
"""Inputs of the first chunks of a worker, and of the later ones."""
CHUNK_BYTES = 16_000_000
"""Encoded bytes that are sent with a chunk, one image apart from that."""
IN_FLIGHT = 2
"""Chunks that a worker has at most, so that it need not wait for the next one."""
LOSSES_TOGETHER, MOST_LOSSES = 2, 4
"""After so many lost workers the inputs of a chunk go one by one; after so many an input is given up."""
LOSSES_IN_A_ROW = 64
ERRORS_IN_A_ROW = 4
"""Workers that end, or report an error, without an answer of any in between, until the run ends; of the first, more
with more workers."""
NO_WORKER_SECONDS = 120.0
GRACE_SECONDS = 4.0
"""That chunks have after a stop; their images are tagged by the next run."""
WAIT_SECONDS = 0.2
MOST_RESULTS = 256

Input = Item | Fetched


@dataclass(slots=True, eq=False)
class Chunk:
    """Inputs that go to a worker together. losses: workers that ended with it. asked: machines that have read none.

    doubts: what the last of these answered, one for each input.
    """

    inputs: list[Input]
    losses: int = 0
    asked: frozenset[str] = frozenset()
    doubts: list[Failure] = field(default_factory=list)

    @property
    def hosts(self) -> set[str]:
        """The hosts that its inputs are downloaded from."""
        places = (place_of(each) for each in self.inputs if isinstance(each, Item) and each.url is not None)
        return {name for _, name in places}

    def singles(self) -> list["Chunk"]:
        """Return its inputs one by one."""
        doubts = [[each] for each in self.doubts] or [[] for _ in self.inputs]
        return [
            Chunk([each], self.losses, self.asked, doubt) for each, doubt in zip(self.inputs, doubts, strict=True)
        ]


@dataclass(slots=True, eq=False)
class Member:
    """A worker that takes chunks. machine: that it runs on. in_flight: what it has, the oldest is being worked on."""

    machine: str
    in_flight: deque[Chunk] = field(default_factory=deque)
    given: int = 0

    @property
    def has_room(self) -> bool:
        """True when it may be given another chunk."""
        return len(self.in_flight) < IN_FLIGHT


@dataclass(frozen=True, slots=True)
class Answer:
    """The results of the oldest chunk of a worker, in the order of its inputs."""

    member: Member
    results: Sequence[Result]


@dataclass(frozen=True, slots=True)
class Lost:
    """A worker that has ended. reason: for people. is_reported: it said what was wrong, and did not just end."""

    member: Member
    reason: str
    is_reported: bool = False


class Fleet(Protocol):
    """The workers of a cluster."""

    @property
    def members(self) -> Sequence[Member]:
        """Those that can be given chunks."""
        ...

    @property
    def is_starting(self) -> bool:
        """True while a worker has begun to start, and may soon be a member."""
        ...

    @property
    def problem(self) -> str:
        """Why there is no worker, or not another one; "" when that is not known."""
        ...

    def refresh(self, *, grow: bool) -> None:
        """Look after the workers. grow: start some if the cluster has room. Raises ClusterError where none can be."""
        ...

    def give(self, member: Member, inputs: Sequence[Input]) -> None:
        """Send inputs to a worker, which answers the chunks that it is given in their order."""
        ...

    def wait(self, seconds: float) -> list[Answer | Lost]:
        """Wait until something has come of the workers, at most so long. A lost one is no member any more."""
        ...


class Dispatch:
    """Brings inputs to results with a fleet.

    stop: after it, chunks that take long are given up. prepare: turns items into what is sent, e.g. their bytes, and
    results. per_host: workers that download from one host at once. warn: receives what people should know.
    """

    def __init__(
        self,
        fleet: Fleet,
        stop: threading.Event,
        watch: Stopwatch,
        *,
        prepare: Callable[[Iterable[Item | Failure]], Iterator[Input | Result]] = iter,
        per_host: int = 8,
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._fleet = fleet
        self._stop = stop
        self._watch = watch
        self._prepare = prepare
        self._per_host = per_host
        self._machines = Machines(warn)
        self._again: deque[Chunk] = deque()
        self._errors = self._losses = 0
        self._last_member = time.monotonic()

    def run(self, items: Iterable[Item | Failure], on_image: OnImage) -> Iterator[list[Result]]:
        """Yield the results of the inputs as their chunks are done; results among the inputs at once."""
        inputs = _Inputs(self._prepare(items))
        self._last_member = time.monotonic()
        stopped_at: float | None = None
        while True:
            if settled := self._settle_doubts():
                yield settled
            is_done = self._hand_out(inputs)
            if results := inputs.take_results():
                _tell_images(results, on_image)
                yield results
                continue
            if is_done:
                return
            self._require_members()
            yield from self._arriving(on_image)
            if self._stop.is_set():
                stopped_at = stopped_at or time.monotonic()
                if time.monotonic() - stopped_at > GRACE_SECONDS:
                    return

    def _arriving(self, on_image: OnImage) -> Iterator[list[Result]]:
        """Wait for the workers, and yield what comes of them."""
        with self._watch.stage("workers"):
            events = self._fleet.wait(WAIT_SECONDS)
        for event in events:
            if results := self._settled(event):
                _tell_images(results, on_image)
                yield results

    def _hand_out(self, inputs: "_Inputs") -> bool:
        """Give chunks to whoever has room; return whether nothing is left to be waited for."""
        members = [each for each in self._fleet.members if self._machines.may_work(each.machine)]
        for _ in range(IN_FLIGHT):  # one for each before any has two
            for member in sorted(members, key=lambda each: len(each.in_flight)):
                if member.has_room and (chunk := self._chunk_for(member, inputs)) is not None:
                    member.in_flight.append(chunk)
                    member.given += 1
                    self._fleet.give(member, chunk.inputs)
        is_left = bool(self._again) or inputs.has_more()
        self._fleet.refresh(grow=is_left)
        return not is_left and not any(member.in_flight for member in self._fleet.members)

    def _chunk_for(self, member: Member, inputs: "_Inputs") -> Chunk | None:
        for number, chunk in enumerate(self._again):
            if self._may_be_asked(member.machine, chunk) and self._may_ask_hosts(chunk, member):
                del self._again[number]
                return chunk
        waits_for_host = any(not chunk.asked for chunk in self._again)
        if waits_for_host or self._must_wait(member.machine):
            return None
        new = inputs.chunk(FIRST_CHUNK if member.given < FIRST_CHUNKS else CHUNK)
        if new is None or self._may_ask_hosts(new, member):
            return new
        self._again.append(new)
        return None

    def _may_be_asked(self, machine: str, chunk: Chunk) -> bool:
        """True where a machine is one that a chunk can go to: for a second opinion, rather one that has read."""
        if not chunk.asked:
            return True
        if machine in chunk.asked:
            return False
        return self._machines.has_read(machine) or not self._can_ask(chunk, only_readers=True)

    def _can_ask(self, chunk: Chunk, *, only_readers: bool = False) -> bool:
        """True while there is a machine that has not been asked yet."""
        others = {each.machine for each in self._fleet.members} - chunk.asked
        return any(
            self._machines.may_work(machine) and (not only_readers or self._machines.has_read(machine))
            for machine in others
        )

    def _must_wait(self, machine: str) -> bool:
        """True for a machine that has read nothing yet, while others are asked for what it could not read."""
        if self._machines.has_read(machine):
            return False
        in_flight = (chunk for each in self._fleet.members for chunk in each.in_flight)
        waiting = [chunk for chunk in (*self._again, *in_flight) if machine in chunk.asked]
        return sum(len(chunk.inputs) for chunk in waiting) >= FIRST_CHUNK

    def _may_ask_hosts(self, chunk: Chunk, member: Member) -> bool:
        """False while as many other workers download from one of its hosts as may."""
        others = [each for each in self._fleet.members if each is not member and each.in_flight]
        if len(others) < self._per_host:
            return True
        busy = [set().union(*(each.hosts for each in other.in_flight)) for other in others]
        return all(sum(host in hosts for hosts in busy) < self._per_host for host in chunk.hosts)

    def _settled(self, event: Answer | Lost) -> list[Result]:
        """Return the results that an event leads to."""
        if isinstance(event, Lost):
            return self._lose(event)
        chunk = event.member.in_flight.popleft()
        self._errors = self._losses = 0
        accepted, doubtful = self._machines.judge(event.member.machine, event.results, chunk.asked)
        if doubtful:
            inputs = [chunk.inputs[number] for number in doubtful]
            doubts = [each for number in doubtful if isinstance(each := event.results[number], Failure)]
            self._again.append(
                replace(chunk, inputs=inputs, asked=chunk.asked | {event.member.machine}, doubts=doubts)
            )
        return accepted

    def _settle_doubts(self) -> list[Result]:
        """Return the failures that nobody else can be asked about."""
        settled: list[Result] = []
        for chunk in [each for each in self._again if each.asked and self._is_settled(each)]:
            self._again.remove(chunk)
            self._machines.conclude(chunk.doubts)
            settled += chunk.doubts
        return settled

    def _is_settled(self, chunk: Chunk) -> bool:
        if len(chunk.asked) >= MOST_ASKED:
            return not self._can_ask(chunk, only_readers=True)
        return not self._can_ask(chunk) and not self._fleet.is_starting

    def _lose(self, lost: Lost) -> list[Result]:
        """Hand on the chunks of a worker that has ended; return failures of inputs that are given up."""
        self._count_loss(lost)
        chunks = list(lost.member.in_flight)
        lost.member.in_flight.clear()
        given_up: list[Result] = []
        for chunk in chunks[:1]:  # it was working on this one
            chunk.losses += 1
            parts = chunk.singles() if chunk.losses >= LOSSES_TOGETHER else [chunk]
            given_up += [_worker_lost(each.inputs[0], lost.reason) for each in parts if each.losses >= MOST_LOSSES]
            chunks[:1] = [each for each in parts if each.losses < MOST_LOSSES]
        self._again.extendleft(reversed(chunks))
        return given_up

    def _count_loss(self, lost: Lost) -> None:
        self._losses += 1
        self._errors += lost.is_reported
        most = LOSSES_IN_A_ROW + MOST_LOSSES * len(self._fleet.members)
        if self._errors >= ERRORS_IN_A_ROW or self._losses >= most:
            raise ClusterError(f"{self._losses} workers in a row ended without a result, the last one: {lost.reason}")

    def _require_members(self) -> None:
        """Raise ClusterError when there has been no worker for long."""
        if any(self._machines.may_work(member.machine) for member in self._fleet.members):
            self._last_member = time.monotonic()
        elif time.monotonic() - self._last_member > NO_WORKER_SECONDS:
            reason = self._fleet.problem or "the cluster has no free processors for one"
            raise ClusterError(f"no worker for {NO_WORKER_SECONDS:g} seconds: {reason}")


class _Inputs:
    """What is to be handed out, taken from its source as it is needed."""

    def __init__(self, source: Iterator[Input | Result]) -> None:
        self._source = source
        self._next: Input | None = None
        self._results: list[Result] = []
        self._has_ended = False

    def has_more(self) -> bool:
        """True unless the source has ended; it is not read on while many results of it wait to be taken."""
        while self._next is None and not self._has_ended and len(self._results) < MOST_RESULTS:
            each = next(self._source, None)
            if each is None:
                self._has_ended = True
            elif isinstance(each, Failure | Prediction):
                self._results.append(each)
            else:
                self._next = each
        return not (self._has_ended and self._next is None)

    def chunk(self, most: int) -> Chunk | None:
        """Take the next inputs; None if there are none now."""
        taken: list[Input] = []
        size = 0
        while len(taken) < most and self.has_more() and self._next is not None:
            size += len(self._next.data) if isinstance(self._next, Fetched) else 0
            if taken and size > CHUNK_BYTES:
                break
            taken.append(self._next)
            self._next = None
        return Chunk(taken) if taken else None

    def take_results(self) -> list[Result]:
        """Return the results that were among the inputs, each once."""
        results, self._results = self._results, []
        return results


def _tell_images(results: Iterable[Result], on_image: OnImage) -> None:
    """Report the items that could be decoded."""
    for result in results:
        if isinstance(result, Prediction):
            on_image(result.item)


def _worker_lost(subject: Input, reason: str) -> Failure:
    message = f"{MOST_LOSSES} workers that had this image ended without an answer, the last one: {reason}"
    return Failure(item_of(subject), "io.worker_lost", message)
