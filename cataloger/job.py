"""One run over one source after another: what `tag` and `sync` have in common.

A job owns the run's row, the lease of the source that it works on, the model and the decoding processes. The callers
say which sources there are and in which database the results go.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from cataloger.bundle import Bundle, read_bundle, resolve_bundle_path
from cataloger.classify.engine import choose_engine
from cataloger.cpus import available_cpus
from cataloger.db.database import Database
from cataloger.decode import DecodePool
from cataloger.errors import CatalogerError, SourceError, UsageError
from cataloger.fetch import Remote, fetch
from cataloger.hooks import Hooks
from cataloger.job_report import JobOptions, JobReport
from cataloger.lease import hold_lease
from cataloger.ledger import (
    Ledger,
    SourceRef,
    bundle_of,
    find_source,
    known_model,
    model_ref,
    pin_model,
    register_source,
)
from cataloger.pipeline import Parts, RunReport
from cataloger.pipeline import run as run_pipeline
from cataloger.presence import Presence
from cataloger.product_results import ProductResults
from cataloger.records import Failure, Image, Item, Planned
from cataloger.revalidate import revalidate
from cataloger.runs import Run, recorded_run
from cataloger.sinks.database import DatabaseSink
from cataloger.sources.base import Source
from cataloger.write_back import WriteBack, WriteCounts, WritePlan

logger = logging.getLogger(__name__)

JobHooks = Hooks[[RunReport, int | None]]
"""Progress is told the report, and the number of all inputs once that is known."""


class Job:
    """One command's work. Made before anything is opened: a wrong model or device is told at once."""

    def __init__(self, options: JobOptions, hooks: JobHooks) -> None:
        self.options = options
        self.hooks = hooks
        self.report = JobReport(RunReport(), options)
        self._started = time.monotonic()
        self._total: int | None = None
        self.engine = choose_engine(options.run.device)
        self.default = self.engine.bundle(
            read_bundle(resolve_bundle_path(options.model or "default"), check=()), options.run.precision
        )

    @property
    def interrupted(self) -> bool:
        """True when the run was asked to stop and did."""
        return self.report.run.interrupted

    @contextmanager
    def running(self, database: Database) -> Iterator[Run]:
        """Give the run's row; it is closed whatever happens."""
        with recorded_run(database, self.options.command, self.options.record, device=self.engine.device) as run:
            run.report = self
            self.report.run_id = run.id
            yield run

    def counts(self) -> dict[str, Any]:
        """Return what the run's row is to hold, as plain JSON values."""
        report = self.report
        writes = {"write_back": report.writes.as_json()} if report.writes else {}
        numbers = {"gone": report.gone, "returned": report.returned, "forgotten": report.forgotten}
        seconds = self.finished().seconds
        return {**report.run.as_json(), **numbers, **writes, "total_seconds": round(seconds, 3)}

    def finished(self) -> JobReport:
        """Return the report with the time that the whole command took."""
        self.report.seconds = time.monotonic() - self._started
        return self.report

    def count(self, sources: Sequence[Source]) -> None:
        """Count the items of all sources in a thread beside the run, for the progress bar."""
        threading.Thread(target=self._count, args=(sources,), name="count", daemon=True).start()

    def plan(self, database: Database | None, source: Source, remote: Remote | None = None) -> None:
        """Decide about every item of a source and write nothing. database: None when there is none yet."""
        known = database and find_source(database, kind=source.kind, root=source.root)
        if not database or not known:
            self._count_plan(Planned(subject, True, "new") for subject in source.scan())
        else:
            source.prefix = known.prefix
            ledger, presence = self._ledger(database, known, None, self.bundle(database, known))
            self._count_plan(_planner(ledger, remote)(source.scan()))
            if self._saw_all(source):
                self.report.gone += presence.count_gone()
        self._look_back(source)

    def process(
        self,
        database: Database,
        run: Run,
        source: Source,
        remote: Remote | None = None,
        write: WritePlan | None = None,
    ) -> SourceRef:
        """Bring every item of a source to a result.

        remote: for sources whose bytes are not in files. write: what goes back into the product table.
        """
        ref = register_source(database, kind=source.kind, root=source.root)
        source.prefix = ref.prefix
        if self.interrupted:
            return ref
        bundle = self.bundle(database, ref)
        with ExitStack() as stack:
            lease = stack.enter_context(hold_lease(database, ref.id, run.id))
            # The children start while the model is loaded here.
            pool = stack.enter_context(self._pool(bundle))
            classifier = self.engine.open(bundle)
            model = model_ref(bundle)
            self._note_model(bundle, classifier.device)
            if pin_model(database, ref, model, run.id):
                self._warn(
                    f"older results of {ref.root} are of another calibration of {bundle.title}: "
                    f"`cataloger recalibrate` brings them to the present one"
                )
            ProductResults(ref, run.id, model).catch_up(database, lease)
            ledger, presence = self._ledger(database, ref, run.id, bundle)
            presence.lease = lease
            write_back = WriteBack(write, ref, run.id, model.weights_id) if write else None
            self.report.writes = WriteCounts() if write else None
            sink = DatabaseSink(database, ref, run.id, model, lease, ledger.recorded, write_back, self._written)
            parts = Parts(
                _planner(ledger, remote),
                self._decoder(pool, remote),
                classifier,
                sink,
                threads=available_cpus(),
                batch_size=self.engine.batch_size,
            )
            self._go_through(source, parts)
            self._note_presence(source, presence, run)
            if write_back and not self._is_cut:
                self._settle(write_back.settle(database, lease))
        return ref

    def _go_through(self, source: Source, parts: Parts) -> None:
        """Run the pipeline over a source. Raises SourceError when there was nothing in it."""
        before = self._seen()
        hooks = Hooks(self.hooks.stop, self._progress)
        run_pipeline(source.scan(), parts, self.options.run, hooks=hooks, report=self.report.run)
        found_nothing = self._seen() == before
        self._look_back(source)
        if found_nothing and not self.interrupted:
            raise SourceError(source.nothing_found())

    def _note_presence(self, source: Source, presence: Presence, run: Run) -> None:
        """Record what came back and, after a complete scan, what has gone."""
        self.report.returned += presence.bring_back(run.id)
        if self._saw_all(source):
            self.report.gone += presence.settle(run.id)
            if self.options.run.forget:
                self.report.forgotten += presence.forget()

    def bundle(self, database: Database, ref: SourceRef) -> Bundle:
        """Return the model to use for a source, in the run's precision: the one asked for, else the pinned one."""
        if self.options.model is not None or ref.weights_id in (None, self.default.weights_id):
            return self.default
        pinned = known_model(database, str(ref.weights_id))
        bundle = bundle_of(pinned)
        if bundle is None:
            raise UsageError(
                f"{ref.root} was tagged with {pinned.name} {pinned.version} from {pinned.location}, which is gone. "
                f"Name the model to go on with: --model DIR keeps it, --model default adopts "
                f"{self.default.title} and tags every image again"
            )
        logger.info("using %s, which %s began with", bundle.title, ref.root)
        return self.engine.bundle(bundle, self.options.run.precision)

    def labels(self, database: Database | None, source: Source) -> tuple[str, ...]:
        """Return what the model of a source can answer, whether the source is known or not."""
        known = database and find_source(database, kind=source.kind, root=source.root)
        return (self.bundle(database, known) if database and known else self.default).labels

    def _note_model(self, bundle: Bundle, device: str) -> None:
        name = f"{bundle.title} in {bundle.precision} on {device}"
        if name not in self.report.models:
            self.report.models.append(name)

    def _ledger(
        self, database: Database, ref: SourceRef, run_id: int | None, bundle: Bundle
    ) -> tuple[Ledger, Presence]:
        run = self.options.run
        ledger = Ledger(database, ref, run_id, weights_id=bundle.weights_id, force=run.force, retry=run.retry_failed)
        products = None if run_id is None else ProductResults(ref, run_id, model_ref(bundle))
        presence = Presence(database, ref, products.renew_those_of if products else None)
        ledger.on_known = presence.see
        return ledger, presence

    def _warn(self, text: str) -> None:
        self.report.warnings.append(text)
        logger.warning("%s", text)

    def _saw_all(self, source: Source) -> bool:
        """True when what was not met is really gone."""
        return source.is_complete and not self._is_cut

    @property
    def _is_cut(self) -> bool:
        return self.interrupted or self.options.run.limit is not None

    def _written(self, counts: WriteCounts) -> None:
        if self.report.writes:
            self.report.writes.add(counts)

    def _settle(self, counts: WriteCounts) -> None:
        """Take over the counts at the end of a run, which are those of all rows and not of some batches."""
        before = self.report.writes or WriteCounts()
        self.report.writes = counts
        counts.add(WriteCounts(before.written))

    def _decoder(
        self, pool: DecodePool, remote: Remote | None
    ) -> Callable[[Iterable[Item | Failure]], Iterator[Image | Failure]]:
        watch = self.report.run.watch
        return lambda items: pool.decode(watch.over("reading", fetch(items, self.options.limits, remote, watch)))

    def _pool(self, bundle: Bundle) -> DecodePool:
        workers = self.options.run.workers or available_cpus()
        return DecodePool(bundle.preprocess, self.options.limits, workers=workers)

    def _progress(self, report: RunReport) -> None:
        self.hooks.progress(report, self._total)

    def _seen(self) -> int:
        return self.report.run.attempted + sum(self.report.run.skipped.values())

    def _count_plan(self, plan: Iterable[Planned]) -> None:
        for planned in plan:
            counter = self.report.run.planned if planned.do else self.report.run.skipped
            counter[planned.reason] += 1

    def _look_back(self, source: Source) -> None:
        if source.without_image:
            self.report.run.skipped["no_image"] += source.without_image
        self.report.warnings += source.problems
        for problem in source.problems:
            logger.warning("%s", problem)

    def _count(self, sources: Sequence[Source]) -> None:
        try:
            counts = [source.count() for source in sources]
        except CatalogerError:
            return  # the run itself meets the same problem and reports it
        self._total = None if None in counts else sum(count or 0 for count in counts)


def _planner(ledger: Ledger, remote: Remote | None) -> Callable[[Iterable[Item | Failure]], Iterator[Planned]]:
    if remote is None or remote.web is None or not remote.revalidate:
        return ledger.plan
    step = revalidate(ledger, remote.web, remote.threads)
    return lambda items: step(ledger.plan(items))
