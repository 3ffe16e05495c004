"""One run over one source after another: what `tag` and `sync` have in common.

A job owns the run's row, its report and the inference engine; what works on a source is a session of it. The callers
say which sources there are and in which database the results go.
"""

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from cataloger.corrections import count_catalog
from cataloger.db import Database
from cataloger.engine.job_report import JobOptions, JobReport
from cataloger.engine.run_report import RunReport
from cataloger.engine.session import SourceSession
from cataloger.engine.source_model import JobContext
from cataloger.errors import CatalogerError
from cataloger.fetch import ObjectReader, Remote
from cataloger.hooks import Hooks
from cataloger.inference import Engine, choose_engine
from cataloger.ledger import Run, recorded_run
from cataloger.model import read_bundle, resolve_bundle_path
from cataloger.objects import ObjectStores
from cataloger.options import RunOptions, WebOptions
from cataloger.sources import Source
from cataloger.utils import note, span

if TYPE_CHECKING:
    from cataloger.engine.executors import Cluster
EVENTS = logging.getLogger("cataloger.events")
"""What a program that reads the log wants to see whatever people do."""

JobHooks = Hooks[[RunReport, int | None]]
"""The progress callback receives the report, and the number of all inputs once that is known."""


# Downloads wait for the network most of the time; more of them than processors keep the model working.
DOWNLOADS = 16

Report = TypeVar("Report", bound=JobReport)


class Job(Generic[Report]):
    """One command's work. Made before anything is opened: a wrong model or device is told at once.

    report: the class of its report.
    """

    def __init__(self, options: JobOptions, hooks: JobHooks, report: type[Report]) -> None:
        self.options = options
        self.hooks = hooks
        self.report = report(RunReport(), options)
        self._started = time.monotonic()
        self._total: int | None = None
        self.engine, self.cluster = _engine(options.run)
        self.default = read_bundle(resolve_bundle_path(options.model or "default"), check=())
        if options.model is not None:  # a source may be pinned to another one, which has the precision
            self.default = self.engine.bundle(self.default, options.run.precision)

    @property
    def interrupted(self) -> bool:
        """True when the run has stopped on request."""
        return self.report.run.interrupted

    @contextmanager
    def running(self, database: Database) -> Iterator[Run]:
        """Give the run's row; it is closed whatever happens. There is none where a cluster cannot be reached."""
        device, options = self.engine.device, self.options
        with ExitStack() as stack:
            stack.enter_context(span(f"cataloger {options.command}"))
            if self.cluster is not None:
                stack.enter_context(self.cluster.connected())
            run = stack.enter_context(recorded_run(database, options.command, options.record, device=device))
            run.report = self
            self.report.run_id = run.id
            values = {"event": "run.began", "run_id": run.id, "command": self.options.command}
            EVENTS.info("run %d began: cataloger %s", run.id, self.options.command, extra=values)
            note(run_id=run.id, weights_id=self.default.weights_id)
            try:
                yield run
            finally:
                counted = self.report.run
                note(done=counted.done, failed=counted.failed, skipped=counted.skipped.total())
                note(recomputed=self.report.recomputed)

    def counts(self) -> dict[str, Any]:
        """Return what is recorded in the run's row, as plain JSON values."""
        report = self.report
        writes = {"write_back": report.writes.as_json()} if report.writes else {}
        numbers = {**report.presence_json(), "recomputed": report.recomputed}
        seconds = self.finished().seconds
        return {**report.run.as_json(), **numbers, **writes, "total_seconds": round(seconds, 3)}

    def finished(self) -> Report:
        """Return the report with the time that the whole command took."""
        self.report.seconds = time.monotonic() - self._started
        return self.report

    def count(self, sources: Sequence[Source]) -> None:
        """Count the items of all sources in a thread beside the run, for the progress bar."""
        threading.Thread(target=self._count, args=(sources,), name="count", daemon=True).start()

    def count_catalog(self, database: Database, sources: Sequence[int]) -> None:
        """Count the images of the sources, where that is wanted: it reads all of their current results."""
        if self.options.run.count_catalog:
            self.report.catalog = count_catalog(database, sources)

    def session(self, database: Database | None, source: Source) -> SourceSession:
        """Look a source up. database: None for a plan when there is none yet."""
        return SourceSession(self._context(), database, source)

    def _context(self) -> JobContext:
        hooks = Hooks(self.hooks.stop, self._progress)
        return JobContext(self.options, self.report, self.engine, self.default, hooks, self.cluster)

    def _progress(self, report: RunReport) -> None:
        self.hooks.progress(report, self._total)

    def _count(self, sources: Sequence[Source]) -> None:
        try:
            counts = [source.count() for source in sources]
        except CatalogerError:
            return  # the run itself meets the same problem and reports it
        self._total = None if None in counts else sum(count or 0 for count in counts)


def _engine(options: RunOptions) -> "tuple[Engine, Cluster | None]":
    """Return how models run, and the cluster that they run on, if that is not this process.

    The workers of a cluster choose their devices themselves; what is said of them here is what they are asked for.
    """
    if options.engine == "local":
        return choose_engine(options.device), None
    from cataloger.engine.executors import Cluster

    has_gpus = options.cluster.gpus_per_worker > 0 and options.device != "cpu"
    return Engine("torch", "cuda") if has_gpus else Engine("onnxruntime", "cpu"), Cluster(options.cluster)


@contextmanager
def downloading(job: Job[Report], web: WebOptions, *, objects: bool = False) -> Iterator[Remote]:
    """Give what downloads the images of one source. objects: also out of object stores."""
    from cataloger.fetch import Downloader  # it loads the HTTP client, which files do not need

    reader = ObjectReader(ObjectStores(web), job.options.limits) if objects else None
    with Downloader(web, job.options.limits) as downloader:
        yield Remote(downloader, reader, threads=DOWNLOADS, revalidate=web.revalidate, stop=job.hooks.stop)


@contextmanager
def reading_objects(job: Job[Report], stores: ObjectStores) -> Iterator[Remote]:
    """Give what reads the images of one source from object stores."""
    reader = ObjectReader(stores, job.options.limits)
    try:
        yield Remote(objects=reader, threads=DOWNLOADS, stop=job.hooks.stop)
    finally:
        reader.close()
