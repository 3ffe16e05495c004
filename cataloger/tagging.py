"""Composition root of `cataloger tag`: from options to parts to `pipeline.run`."""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cataloger import ledger as ledgers
from cataloger.bundle import Bundle, default_bundle_path, read_bundle, resolve_bundle_path
from cataloger.classify.onnx import OnnxClassifier, choose_provider
from cataloger.cpus import available_cpus
from cataloger.db.database import Database, open_database
from cataloger.db.session import is_new_sqlite_file, redact
from cataloger.decode import DEFAULT_LOADER, DecodePool
from cataloger.errors import CatalogerError, DatabaseError, SourceError, UsageError
from cataloger.fetch import fetch
from cataloger.lease import hold_lease
from cataloger.ledger import Ledger, ModelRef, Planned, SourceRef
from cataloger.options import DEFAULT_DB, Limits, RunOptions
from cataloger.pipeline import Control, Parts, RunReport
from cataloger.pipeline import run as run_pipeline
from cataloger.records import Failure, Image, Item
from cataloger.runs import Run, open_run
from cataloger.sinks import files
from cataloger.sinks.database import DatabaseSink
from cataloger.sources.folder import FolderSource
from cataloger.sources.manifest import ManifestSource
from cataloger.sources.names import key_of
from cataloger.targets import Target, resolve_targets

logger = logging.getLogger(__name__)

Progress = Callable[[RunReport, int | None], None]


@dataclass(frozen=True, slots=True)
class TagOptions:
    """Options of `cataloger tag`.

    model: a bundle's directory, "default", or None for what each source began with. loader: for tests, the decoder
    of the worker processes.
    """

    paths: tuple[str, ...]
    db: str = DEFAULT_DB
    schema: str | None = None
    model: str | None = None
    output: Path | None = None
    path_column: str | None = None
    product_column: str | None = None
    run: RunOptions = field(default_factory=RunOptions)
    limits: Limits = field(default_factory=Limits)
    loader: str = DEFAULT_LOADER

    def as_json(self) -> dict[str, Any]:
        """Return the options as the run's record holds them; the database's URL with its password stays out."""
        values = asdict(self)
        del values["db"]
        return {**values, "output": str(self.output) if self.output else None}


@dataclass(slots=True)
class TagReport:
    """What a command did. seconds: from its start. run_id: None for a dry run."""

    run: RunReport
    options: TagOptions
    run_id: int | None = None
    seconds: float = 0.0
    warnings: list[str] = field(default_factory=list)

    @property
    def exit_status(self) -> int:
        """130 when interrupted, 3 when more failed than allowed, else 0."""
        if self.run.interrupted:
            return 130
        return 3 if self.run.failure_rate > self.options.run.max_failure_rate else 0

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        return {
            "run_id": self.run_id,
            "db": redact(self.options.db),
            "output": str(self.options.output) if self.options.output else None,
            "dry_run": self.options.run.dry_run,
            **self.run.as_json(),
            "images_per_second": round(self.run.attempted / self.seconds, 2) if self.seconds else None,
            "total_seconds": round(self.seconds, 3),
            "warnings": self.warnings,
            "exit_status": self.exit_status,
        }


@dataclass(frozen=True, slots=True)
class Hooks:
    """How the caller takes part. stop: set it to end early. progress: told the report and the total, once known.

    checkpoint: told the names of the points at which tests kill the process.
    """

    stop: threading.Event = field(default_factory=threading.Event)
    progress: Progress = lambda _report, _total: None
    checkpoint: Callable[[str], None] = lambda _: None


def tag(options: TagOptions, hooks: Hooks | None = None) -> TagReport:
    """Tag what the paths name. Raises CatalogerError for anything that keeps the whole run from working."""
    tagger = _Tagger(options, hooks or Hooks())
    return tagger.plan_only() if options.run.dry_run else tagger.run()


class _Tagger:
    def __init__(self, options: TagOptions, hooks: Hooks) -> None:
        self.options = options
        self.hooks = hooks
        self.started = time.monotonic()
        self.report = TagReport(RunReport(), options)
        self.targets = resolve_targets(options.paths)
        self.sources = [_source(target, options) for target in self.targets]
        if options.output:
            files.check_output(options.output)
        choose_provider(options.run.device)
        self.default = read_bundle(resolve_bundle_path(options.model or "default"))

    def run(self) -> TagReport:
        """Tag every target in turn; the run's row is closed whatever happens."""
        database = open_database(self.options.db, schema=self.options.schema)
        try:
            command = {"command": "tag", "options": self.options.as_json()}
            run = open_run(database, device=self.options.run.device, **command)  # type: ignore[arg-type]
            self.report.run_id = run.id
            try:
                selections = self._tag_all(database, run)
            except BaseException as error:
                # A database that fails again must not hide why; the next run then closes this one.
                with suppress(DatabaseError):
                    self._close(run, "interrupted" if isinstance(error, KeyboardInterrupt) else "failed")
                raise
            if self.options.output:
                files.export(database, selections, self.options.output)
            self.hooks.checkpoint("before_close")
            self._close(run, "interrupted" if self.report.run.interrupted else "done")
        finally:
            database.close()
        return self._finished()

    def plan_only(self) -> TagReport:
        """Decide about every item and write nothing."""
        database = None
        if not is_new_sqlite_file(self.options.db):
            database = open_database(self.options.db, schema=self.options.schema)
        for target, source in zip(self.targets, self.sources, strict=True):
            for planned in self._planned(database, target, source):
                counter = self.report.run.planned if planned.do else self.report.run.skipped
                counter[planned.reason] += 1
        return self._finished()

    def _planned(
        self, database: Database | None, target: Target, source: FolderSource | ManifestSource
    ) -> Iterator[Planned]:
        known = database and ledgers.find_source(database, kind=target.kind, root=key_of(target.root))
        if not database or not known:
            return (Planned(subject, True, "new") for subject in source.scan())
        if isinstance(source, FolderSource):
            source.prefix = known.prefix
        weights_id = self._bundle(database, known).weights_id
        ledger = Ledger(
            database,
            known,
            None,
            weights_id=weights_id,
            force=self.options.run.force,
            retry=self.options.run.retry_failed,
        )
        return ledger.plan(source.scan())

    def _tag_all(self, database: Database, run: Run) -> list[files.Selection]:
        total = _Total(self.sources)
        selections = []
        for target, source in zip(self.targets, self.sources, strict=True):
            ref = ledgers.register_source(database, kind=target.kind, root=key_of(target.root))
            if isinstance(source, FolderSource):
                source.prefix = ref.prefix
            if not self.report.run.interrupted:
                self._tag_one(database, run, ref, source, total)
            names = None if target.files is None else frozenset(ref.prefix + key_of(n) for n in target.files)
            selections.append(files.Selection(ref.root, ref.prefix, names))
        return selections

    def _tag_one(
        self,
        database: Database,
        run: Run,
        ref: SourceRef,
        source: FolderSource | ManifestSource,
        total: "_Total",
    ) -> None:
        bundle = self._bundle(database, ref)
        with ExitStack() as stack:
            lease = stack.enter_context(hold_lease(database, ref.id, run.id))
            # The children start while the model is loaded here.
            pool = stack.enter_context(self._pool(bundle))
            classifier = OnnxClassifier(bundle, device=self.options.run.device)
            model = _model_ref(bundle)
            ledgers.pin_model(database, ref, model)
            ledger = Ledger(
                database,
                ref,
                run.id,
                weights_id=bundle.weights_id,
                force=self.options.run.force,
                retry=self.options.run.retry_failed,
            )
            sink = DatabaseSink(database, ref, run.id, model, lease, ledger.recorded, self.hooks.checkpoint)
            parts = Parts(ledger.plan, self._decoder(pool), classifier, sink, threads=available_cpus())
            control = Control(
                self.hooks.stop, lambda report: self.hooks.progress(report, total.value), self.hooks.checkpoint
            )
            before = self._seen()
            run_pipeline(source.scan(), parts, self.options.run, control=control, report=self.report.run)
        self._look_back(source, found_nothing=self._seen() == before)

    def _decoder(self, pool: DecodePool) -> Callable[[Iterable[Item | Failure]], Iterator[Image | Failure]]:
        return lambda items: pool.decode(fetch(items, self.options.limits))

    def _pool(self, bundle: Bundle) -> DecodePool:
        workers = self.options.run.workers or available_cpus()
        return DecodePool(bundle.preprocess, self.options.limits, workers=workers, loader=self.options.loader)

    def _seen(self) -> int:
        return self.report.run.attempted + sum(self.report.run.skipped.values())

    def _look_back(self, source: FolderSource | ManifestSource, *, found_nothing: bool) -> None:
        if isinstance(source, FolderSource):
            self.report.warnings += source.problems
        for problem in self.report.warnings:
            logger.warning("%s", problem)
        if found_nothing and not self.report.run.interrupted:
            raise SourceError(source.nothing_found())

    def _bundle(self, database: Database, ref: SourceRef) -> Bundle:
        """Return the model to use for a source: the one asked for, else the one that it is pinned to."""
        if self.options.model is not None or ref.weights_id in (None, self.default.weights_id):
            return self.default
        pinned = ledgers.known_model(database, str(ref.weights_id))
        try:
            path = default_bundle_path() if pinned.location == "default" else Path(pinned.location)
            bundle = read_bundle(path)
        except CatalogerError:
            bundle = None
        if bundle is None or bundle.weights_id != pinned.weights_id:
            raise UsageError(
                f"{ref.root} was tagged with {pinned.name} {pinned.version} from {pinned.location}, which is gone. "
                f"Name the model to go on with: --model DIR keeps it, --model default adopts "
                f"{self.default.title} and tags every image again"
            )
        logger.info("using %s, which %s began with", bundle.title, ref.root)
        return bundle

    def _close(self, run: Run, outcome: Any) -> None:
        run.close(outcome, {**self.report.run.as_json(), "total_seconds": self._finished().seconds})

    def _finished(self) -> TagReport:
        self.report.seconds = time.monotonic() - self.started
        return self.report


class _Total:
    """The number of items of all sources, counted in a thread beside the run."""

    def __init__(self, sources: list[FolderSource | ManifestSource]) -> None:
        self.value: int | None = None
        threading.Thread(target=self._count, args=(sources,), name="count", daemon=True).start()

    def _count(self, sources: list[FolderSource | ManifestSource]) -> None:
        try:
            self.value = sum(source.count() for source in sources)
        except CatalogerError:
            return  # the run itself meets the same problem and reports it


def _source(target: Target, options: TagOptions) -> FolderSource | ManifestSource:
    if target.kind == "manifest":
        source = ManifestSource(Path(os.fsdecode(target.root)), options.path_column, options.product_column)
        source.check()
        return source
    return FolderSource(target.root, files=target.files)


def _model_ref(bundle: Bundle) -> ModelRef:
    location = "default" if bundle.path == default_bundle_path() else str(bundle.path.absolute())
    return ModelRef(bundle.weights_id, bundle.calibration_id, bundle.name, bundle.version, location, bundle.labels)
