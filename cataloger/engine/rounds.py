"""In which order a run brings the items of a source to results: what is new before what has failed before.

Each input ends as one result, a prediction or a failure, or it lies in a place that is out. A run has these rounds:

1. The plan, in its order, without what has failed before and without what lies in a suspended place.
2. What waits for suspended places, as far as these bring answers again.
3. The images that are missing are recorded as failures, unless so many are that their place is out.
4. What has failed before.
5. If more had to wait than is kept in memory: a second scan, for what is left.

So nothing that was broken before keeps what is new from being done. What an outage is: `cataloger.engine.outages`.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from cataloger.engine.backlog import Backlog
from cataloger.engine.executors import Executor, SharedPlaces, log_step, tells_steps
from cataloger.engine.losses import Losses
from cataloger.engine.outages import Outages, Place, place_of
from cataloger.engine.pipeline import Parts, Pipeline
from cataloger.engine.run_report import RunHooks, RunReport
from cataloger.errors import OutageError, SourceError
from cataloger.hooks import ignore
from cataloger.options import RunOptions
from cataloger.records import Failure, Item, Planned, Result, item_of

NO_CONTACT = ("fetch.bad_url", "fetch.scheme", "fetch.private_address")
"""Codes of failures that say nothing about a host, since it was not asked."""
T = TypeVar("T", Planned, Failure)
Scan = Callable[[], Iterable[Item | Failure]]


def run(scan: Scan, parts: Parts, options: RunOptions, *, hooks: RunHooks, report: RunReport) -> None:
    """Bring every item to a recorded result; `report` is kept up to date throughout.

    scan: gives all items, each time that it is called. Raises OutageError when an outage left nothing to go on with.
    """
    _Rounds(scan, Pipeline(parts, options, hooks, report)).run()
    report.interrupted = hooks.stop.is_set()


def _sharing(parts: Parts) -> Executor:
    """Return an executor that asks for a picture once, where it is known how others are answered by it."""
    return parts.executor if parts.answers is None else SharedPlaces(parts.executor, parts.answers)


class _Rounds:
    """The rounds of one run over one source."""

    def __init__(self, scan: Scan, pipeline: Pipeline) -> None:
        self._scan = scan
        self._pipeline = pipeline
        self._options = pipeline.options
        self._report = pipeline.report
        self._planner = pipeline.parts.planner
        self._outages = pipeline.parts.outages or Outages(pipeline.options.outage_after)
        self._executor = _sharing(pipeline.parts)
        self._losses = Losses()
        self._late: Backlog[Planned] = Backlog()
        self._suspended: Backlog[Planned] = Backlog()
        self._missing: Backlog[Failure] = Backlog()
        self._were_there: set[str] = set()  # keys of items on their way that were there in the last run
        self._started = 0
        self._is_late = False

    def run(self) -> None:
        try:
            self._through(self._scanned())
        except (OutageError, SourceError):  # the listing broke off: what it has given is recorded
            self._pipeline.flush()
            raise
        self._ask_suspended()
        self._settle_missing()
        self._scan_rest(self._suspended)
        is_total = self._outages.is_total
        self._is_late = True
        self._through(self._late.take())
        self._ask_suspended()
        self._scan_rest(self._suspended, self._late, self._missing)
        self._pipeline.add(self._outages.release())
        self._pipeline.flush()
        outages = self._outages.found() + self._losses.found()
        self._report.outages += outages
        if is_total and self._outages.is_total and not self._is_stopped:
            raise OutageError(f"{outages[0]}. Run again when it is available.")

    @property
    def _is_stopped(self) -> bool:
        return self._pipeline.hooks.stop.is_set()

    @property
    def _must_end(self) -> bool:
        return self._is_stopped or self._started == self._options.limit

    def _scanned(self, *, again: bool = False) -> Iterator[Planned]:
        """Yield what is to be done now, in the order of the plan; count the rest, or put it off."""
        plan = self._planner.plan(self._scan(), again=again)
        while (planned := self._next_planned(plan)) is not None:
            if self._must_end:
                return
            if again:
                if planned.do and (self._is_late or not planned.is_late):
                    yield planned
                continue
            self._note_known(planned)
            if not planned.do:
                self._report.skipped[planned.reason] += 1
                _log_plan(planned, "image.skipped", "skipped")
                self._pipeline.hooks.progress(self._report)
            elif planned.is_late:
                self._put_off(self._late, planned, None)
            else:
                yield planned

    def _note_known(self, planned: Planned) -> None:
        """Note an image that was there in the last run."""
        if planned.was_there:
            place = place_of(item_of(planned.subject))
            if planned.is_asked:
                self._losses.know(place)
            if planned.reason == "unchanged":
                self._outages.remember(item_of(planned.subject), place)

    def _next_planned(self, plan: Iterator[Planned]) -> Planned | None:
        with self._report.watch.stage("planning"):
            return next(plan, None)

    def _through(self, plan: Iterable[Planned]) -> None:
        """Bring inputs to their results, up to the limit."""
        for results in self._executor.run(self._begun(plan), self._note_image):
            for result in results:
                self._note(result)

    def _begun(self, plan: Iterable[Planned]) -> Iterator[Item | Failure]:
        for planned in plan:
            item = item_of(planned.subject)
            if self._must_end:
                return
            if (place := self._outages.outage(item)) is not None:
                self._outages.leave(place)
                self._leave(item)
            elif self._outages.is_put_off(item):
                self._leave(item, "put_off")
            elif (place := self._outages.suspension(item)) is not None:
                self._put_off(self._suspended, planned, place)
            else:
                self._started += 1
                _log_plan(planned, "image.planned", "to be tagged")
                self._report.planned[planned.reason] += 1
                if planned.was_there:
                    self._were_there.add(item.key)
                yield planned.subject

    def _note_image(self, item: Item) -> None:
        self._outages.remember(item, place_of(item))
        self._note_answer(item)

    def _note_answer(self, item: Item) -> None:
        self._pipeline.add(self._outages.answered(item))

    def _note(self, result: Result) -> None:
        """Record a result, or keep it until it is known what it means."""
        was_there = result.item.key in self._were_there
        self._were_there.discard(result.item.key)
        if not isinstance(result, Failure):
            self._pipeline.add([result])
        elif result.may_be_outage:
            self._pipeline.add(self._outages.failed(result))
        else:
            if result.code not in NO_CONTACT:
                self._note_answer(result.item)
            if result.is_missing and not self._options.accept_missing:
                self._note_missing(result, was_there=was_there)
            else:
                self._pipeline.add([result])

    def _note_missing(self, failure: Failure, *, was_there: bool) -> None:
        place = place_of(failure.item)
        if self._losses.is_concluded or place is None:
            self._record_missing(failure)
            return
        if was_there:
            self._losses.miss(place)
        if was_there or self._missing.has_room():
            self._put_off(self._missing, failure, place)
        else:
            self._pipeline.add([failure])

    def _settle_missing(self) -> None:
        """Record what is missing, unless it is because its folder or host is out."""
        if len(self._missing):
            try:
                self._pipeline.parts.require_root()
            except SourceError:
                self._pipeline.flush()
                raise
        self._losses.conclude()
        for failure in self._missing.take():
            self._record_missing(failure)

    def _record_missing(self, failure: Failure) -> None:
        if self._losses.covers(place_of(failure.item)):
            self._leave(failure.item)
        else:
            self._pipeline.add([failure])

    def _ask_suspended(self) -> None:
        """Find out which suspended places are out, by some of their images; go on with the others."""
        while (self._outages.has_suspended or len(self._suspended)) and not self._must_end:
            if self._outages.has_suspended:
                self._probe()
            self._through(self._suspended.take())
        if not self._is_stopped:
            self._conclude()

    def _probe(self) -> None:
        """Find out which of the suspended places are there, are out, or are put off until the next run."""
        alive = self._alive()
        if not self._is_late:
            self._pipeline.add(sign for place in alive for sign in self._outages.lift(place))
        some = self._suspended.sample(self._options.outage_after, self._suspension_of)
        self._outages.is_probing = True
        self._through(some)
        self._outages.is_probing = False
        if not self._is_stopped:
            self._pipeline.add(sign for place in alive for sign in self._outages.put_off(place))
            self._conclude()

    def _suspension_of(self, planned: Planned) -> Place | None:
        return self._outages.suspension(item_of(planned.subject))

    def _alive(self) -> set[Place]:
        """Return the suspended places where an image that was read before is read again, whoever shares it."""
        answers = self._pipeline.parts.executor.run(self._outages.controls(), ignore)
        read = (each for some in answers for each in some if not isinstance(each, Failure) or not each.may_be_outage)
        items = [each.item for each in read]
        return {place for item in items if (place := self._outages.suspension(item)) is not None}

    def _conclude(self) -> None:
        for failure in self._outages.conclude():
            self._leave(failure.item)

    def _scan_rest(self, *backlogs: Backlog[Any]) -> None:
        """Scan the source again for what found no room in backlogs, as long as that leads to results."""
        while self._forget_what_found_no_room(backlogs) and not self._must_end:
            self._pipeline.flush()
            before = self._report.attempted
            self._through(self._scanned(again=True))
            self._ask_suspended()
            self._pipeline.flush()
            if self._report.attempted == before:
                return

    def _forget_what_found_no_room(self, backlogs: Iterable[Backlog[Any]]) -> bool:
        """Return whether there was any that does not lie in a place that is out."""
        is_any = False
        for backlog in backlogs:
            for place, count in backlog.left.items():
                if place is not None and self._outages.is_out(place):
                    self._outages.leave(place, count)
                    self._report.skipped["outage"] += count
                elif self._losses.covers(place):
                    self._report.skipped["outage"] += count
                else:
                    is_any = True
            backlog.left.clear()
        return is_any

    def _put_off(self, backlog: Backlog[T], waiting: T, place: Place | None) -> None:
        if backlog.has_room():
            backlog.add(waiting)
        else:
            backlog.left[place] += 1
            self._planner.release(waiting.subject if isinstance(waiting, Planned) else waiting)

    def _leave(self, item: Item, reason: str = "outage") -> None:
        """Leave an image as it is, since its place is out or put off."""
        self._report.skipped[reason] += 1
        if tells_steps():
            log_step(item, "image.skipped", f"left as it is: {reason.replace('_', ' ')}", reason=reason)
        self._planner.release(item)


def _log_plan(planned: Planned, event: str, what: str) -> None:
    if tells_steps():
        item, reason = item_of(planned.subject), planned.reason
        log_step(item, event, f"{what}: {reason.replace('_', ' ')}", reason=reason)
