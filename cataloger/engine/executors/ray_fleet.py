"""The workers of a Ray cluster: actors that are started where there is room, and are not restarted by Ray."""

import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from cataloger.engine.executors.base import RecordedPictures, Work
from cataloger.engine.executors.bundles import digest_of, packed
from cataloger.engine.executors.dispatch import Answer, Input, Lost, Member
from cataloger.engine.executors.worker import Worker, versions
from cataloger.errors import ClusterError, UsageError
from cataloger.model import Bundle
from cataloger.options import ClusterOptions
from cataloger.records import Fetched

REFRESH_SECONDS = 1.0
OUT_OF_MEMORY = re.compile("NODE_OUT_OF_MEMORY|node running low on memory")
STARTING_SECONDS = 30.0
"""That other machines wait for one that has begun to start, where it matters who can read what."""


@dataclass(slots=True, eq=False)
class RayMember(Member):
    """An actor. machine: the node that it is on, "" until it has said so. calls: what it has not answered yet.

    reading: those of them that read inputs first, with these.
    """

    actor: Any = None
    calls: list[Any] = field(default_factory=list)
    reading: dict[Any, list[Input]] = field(default_factory=dict)
    begun: float = field(default_factory=time.monotonic)
    is_ready: bool = False
    is_useless: bool = False


class RayWorker(Worker):
    """A worker that says which node it is on."""

    def about(self, digest: str) -> dict[str, Any]:
        """Return who this is."""
        import ray

        return {**super().about(digest), "machine": ray.get_runtime_context().get_node_id()}


class RayFleet:
    """Workers for one source; a context manager. Connected to a cluster already.

    warn: receives what people should know. recorded: what images that workers read are answered with; this process
    is asked, so that no password leaves it. Raises ClusterError or UsageError where no worker can be used.
    """

    def __init__(
        self,
        options: ClusterOptions,
        bundle: Bundle,
        work: Work,
        warn: Callable[[str], None],
        recorded: RecordedPictures | None = None,
    ) -> None:
        self._recorded = recorded
        self._options = options
        self._bundle = bundle
        self._work = work
        self._warn: Callable[[str], None] = warn
        self._digest = digest_of(bundle)
        self._files: Any = None
        self._all: list[RayMember] = []
        self._told: set[str] = set()
        self._looked = -math.inf
        self._errors: dict[str, bool] = {}
        self.problem = ""
        self.device = ""

    def __enter__(self) -> "RayFleet":
        return self

    def __exit__(self, *_: object) -> None:
        for member in self._all:
            self._kill(member)
        self._all.clear()

    @property
    def members(self) -> Sequence[RayMember]:
        """Those that can be given chunks."""
        return [each for each in self._all if each.is_ready]

    @property
    def is_starting(self) -> bool:
        """True while a worker has begun to start, and may soon be a member."""
        now = time.monotonic()
        return any(
            not (each.is_ready or each.is_useless) and now - each.begun < STARTING_SECONDS for each in self._all
        )

    def begin(self, seconds: float, is_stopped: Callable[[], bool]) -> None:
        """Wait for the first worker, which tells whether workers can be used at all."""
        until = time.monotonic() + seconds
        while not self.members and not is_stopped():
            self.refresh(grow=not self._all)
            self.wait(0.2)
            if time.monotonic() > until:
                reason = self.problem or "the cluster has no free processors for one"
                raise ClusterError(f"no worker for {seconds:g} seconds: {reason}")

    def refresh(self, *, grow: bool) -> None:
        """Start workers where there is room."""
        self._require_use()
        now = time.monotonic()
        if not grow or now - self._looked < REFRESH_SECONDS:
            return
        self._looked = now
        for _ in range(self._room()):
            self._all.append(self._new())

    def give(self, member: Member, inputs: Sequence[Input]) -> None:
        """Send inputs to a worker."""
        assert isinstance(member, RayMember)
        is_asked = self._recorded is not None and self._recorded.has_any
        if not is_asked or all(isinstance(each, Fetched) for each in inputs):
            member.calls.append(member.actor.run.remote(list(inputs)))
        else:
            member.calls.append(member.actor.read.remote(list(inputs)))
            member.reading[member.calls[-1]] = list(inputs)

    def wait(self, seconds: float) -> list[Answer | Lost]:
        """Wait until something has come of the workers."""
        import ray

        calls = {call: member for member in self._all for call in member.calls}
        if not calls:
            time.sleep(seconds)
            return []
        found, _ = ray.wait(list(calls), num_returns=1, timeout=seconds)
        if found:
            found, _ = ray.wait(list(calls), num_returns=len(calls), timeout=0)
        events: list[Answer | Lost] = []
        for call in found:
            member = calls[call]
            if member in self._all and call in member.calls:
                events += self._received(member, call)
        return events

    def _received(self, member: RayMember, call: Any) -> list[Answer | Lost]:
        import ray

        if member.calls[0] is not call and member.is_ready:
            return []  # its first one comes first
        events: list[Answer | Lost] = []
        while member.calls and (call is member.calls[0] or _is_there(member.calls[0])):
            first = member.calls.pop(0)
            try:
                value = ray.get(first)
            except (ray.exceptions.RayError, OSError) as error:
                return [*events, *self._end(member, _reason(error))]
            if not member.is_ready:
                self._greet(member, value)
                return events
            inputs = member.reading.pop(first, None)
            if inputs is not None and not isinstance(value, str):
                self._go_on(member, inputs, value)
                call = first
                continue
            if isinstance(value, str) or len(value) != len(member.in_flight[len(events)].inputs):
                reason = value if isinstance(value, str) else "it answered for other images than it was given"
                return [*events, *self._end(member, reason, is_reported=True)]
            events.append(Answer(member, value))
            call = first
        return events

    def _go_on(self, member: RayMember, inputs: list[Input], hashes: Sequence[str]) -> None:
        """Have inputs that a worker has read answered, with what is recorded of them."""
        assert self._recorded is not None
        known = self._recorded.find(sorted(set(hashes))) if hashes else {}
        member.calls.append(member.actor.run.remote(inputs, dict(known)))

    def _greet(self, member: RayMember, value: Mapping[str, Any]) -> None:
        """Take an answer of a worker that starts; ask it the next question."""
        if "versions" in value:
            member.machine = value["machine"]
            if (problem := self._unlike(value)) is not None:
                self._refuse(member, problem, is_usage=False)
                return
            files = None if value["has_bundle"] else self._sent()
            work = share_of(self._work, self._expected())
            member.calls.append(member.actor.start.remote(work, self._digest, files))
        elif "error" in value:
            self._refuse(member, value["error"], is_usage=bool(value.get("is_usage")))
        else:
            member.is_ready = True
            self.device = self.device or value["device"]
            if value["precision"] != self._bundle.precision:
                self._tell_once(f"a worker answers in {value['precision']} and not in {self._bundle.precision}")

    def _unlike(self, value: Mapping[str, Any]) -> str | None:
        """Return why a worker is of no use by its versions; warn of those that may change answers a little."""
        ours, theirs, host = versions(), dict(value["versions"]), value["host"]
        if theirs.get("cataloger") != ours["cataloger"]:
            return f"{host} has cataloger {theirs.get('cataloger')}, and this machine {ours['cataloger']}"
        other = [name for name in ours if name != "python" and theirs.get(name) != ours[name]]
        if other:
            differences = ", ".join(f"{name} {theirs.get(name)} and not {ours[name]}" for name in other)
            self._tell_once(f"{host} has {differences}: its answers may differ in their last digits")
        return None

    def _refuse(self, member: RayMember, problem: str, *, is_usage: bool) -> None:
        """Give a worker no work. It stays, so that Ray starts no other one in its place."""
        member.is_useless = True
        self.problem = problem
        self._errors[problem] = is_usage
        self._tell_once(f"a worker cannot be used: {problem}")

    def _require_use(self) -> None:
        """Raise an error when there are workers, but none that can be used."""
        if self._all and all(each.is_useless for each in self._all):
            error = UsageError if any(self._errors.values()) else ClusterError
            raise error(f"no worker of the cluster can be used: {'; '.join(self._errors)}")

    def _end(self, member: RayMember, reason: str, *, is_reported: bool = False) -> list[Answer | Lost]:
        was_ready = member.is_ready
        self._kill(member)
        self._all.remove(member)
        self.problem = reason
        self._looked = -math.inf
        if not was_ready:
            self._failed_start(reason)
            return []
        return [Lost(member, reason, is_reported)]

    def _failed_start(self, reason: str) -> None:
        if "ModuleNotFoundError" in reason or "ImportError" in reason:
            raise ClusterError(
                f"a worker cannot import cataloger ({reason}): install the same version on every machine"
            )

    def _room(self) -> int:
        """Return how many workers to start."""
        import ray

        living = sum(not each.is_useless for each in self._all)
        if self._options.workers:
            return self._options.workers - living
        pending = sum(not (each.is_ready or each.is_useless) for each in self._all)
        most = self._fitting(ray.cluster_resources()) - len(self._all)
        free = self._fitting(ray.available_resources()) - pending
        return max(0 if living else 1, min(most, free))

    def _expected(self) -> int:
        """Return how many workers there may be."""
        import ray

        return self._options.workers or self._fitting(ray.cluster_resources())

    def _fitting(self, found: Mapping[str, float]) -> int:
        fit = found.get("CPU", 0.0) / self._options.cpus_per_worker
        if self._options.gpus_per_worker:
            fit = min(fit, found.get("GPU", 0.0) / self._options.gpus_per_worker)
        return int(fit + 1e-6)

    @cached_property
    def _kind(self) -> Any:
        """What the workers are; Ray sends it to the cluster once."""
        import ray

        options = self._options
        return ray.remote(
            num_cpus=options.cpus_per_worker,
            num_gpus=options.gpus_per_worker,
            max_restarts=0,
            max_task_retries=0,
            scheduling_strategy="SPREAD",
        )(RayWorker)

    def _new(self) -> RayMember:
        member = RayMember("", actor=self._kind.remote())
        member.calls.append(member.actor.about.remote(self._digest))
        return member

    def _sent(self) -> Any:
        """Return the bundle as an object of the cluster, which each machine gets once."""
        import ray

        if self._files is None:
            self._files = ray.put(packed(self._bundle))
        return self._files

    def _kill(self, member: RayMember) -> None:
        import ray

        member.is_ready = False
        member.calls.clear()
        member.reading.clear()
        ray.kill(member.actor)

    def _tell_once(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._warn(text)


def share_of(work: Work, workers: int) -> Work:
    """Return the same work with a worker's share of the downloads from one host."""
    return work if work.web is None else replace(work, web=work.web.share(max(1, workers)))


def _is_there(call: Any) -> bool:
    import ray

    return bool(ray.wait([call], timeout=0)[0])


def _reason(error: BaseException) -> str:
    """Return what a lost worker has to say, as one line."""
    import ray

    # The text of any other end names a lack of memory as well, as one of several causes that there may be.
    if isinstance(error, ray.exceptions.OutOfMemoryError) or OUT_OF_MEMORY.search(str(error)):
        return "its machine had no memory left"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if isinstance(error, ray.exceptions.RayTaskError) and lines:
        return lines[-1]
    found = [line for line in lines if "Error" in line or "died" in line or "exit" in line]
    return (found or lines or [type(error).__name__])[0][:300]
