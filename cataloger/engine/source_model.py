"""One source in one run, looked up once; the model and calibration of its results, and what classifies by them."""

import logging
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

from cataloger.adaptation import LabelSelection, changed_selection
from cataloger.db import Database
from cataloger.engine.executors import (
    Decoder,
    DeferredExecutor,
    Executor,
    ExecutorHooks,
    SharedAnswers,
    SharedBytes,
    Work,
    decoding,
    open_local,
)
from cataloger.engine.job_report import JobOptions, JobReport
from cataloger.engine.run_report import RunReport
from cataloger.errors import UsageError
from cataloger.fetch import Remote
from cataloger.history import KnownPictures
from cataloger.hooks import Hooks
from cataloger.imaging import DecodePool, decoder_identity
from cataloger.inference import Engine
from cataloger.ledger import (
    ModelRef,
    SourceRef,
    bundle_of,
    find_source,
    known_calibration,
    known_model,
    model_ref,
)
from cataloger.model import Bundle, Calibration, shipped_bundle
from cataloger.sources import Source
from cataloger.utils import available_cpus

if TYPE_CHECKING:
    from cataloger.engine.executors import Cluster

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class JobContext:
    """What the sessions of one job have in common.

    report: each adds its counts to it. default: the bundle that was asked for, or the shipped one. hooks:
    the progress callback receives the report. cluster: None where all is done in this process.
    """

    options: JobOptions
    report: JobReport
    engine: Engine
    default: Bundle
    hooks: Hooks[[RunReport]]
    cluster: "Cluster | None" = None


class SourceModel:
    """One source, its model and what runs it. database: None when there is none yet.

    known: the row of the source; None until it has one. mapped: the labels that its label map has codes for; None for
    all. It is set before the model is asked for.
    """

    def __init__(self, context: JobContext, database: Database | None, source: Source) -> None:
        self.source = source
        self.known: SourceRef | None = None
        self._context = context
        self._options = context.options
        self._report = context.report
        self._database = database
        self.mapped: tuple[str, ...] | None = None
        self._is_behind = False
        self._is_mixed = False
        if database is not None:
            self._know(find_source(database, kind=source.kind, root=source.root))

    @cached_property
    def bundle(self) -> Bundle:
        """The model to use, in the run's precision: the one asked for, else the pinned one."""
        default, known, precision = self._context.default, self.known, self._options.run.precision
        if known is None or self._options.model is not None or known.weights_id in (None, default.weights_id):
            return self._context.engine.bundle(default, precision)
        pinned = known_model(self._open(), str(known.weights_id))
        bundle = bundle_of(pinned)
        if bundle is None:
            raise _missing_model(known.root, pinned, default)
        logger.info("using %s, to which %s is pinned", bundle.title, known.root)
        return self._context.engine.bundle(bundle, precision)

    @cached_property
    def model(self) -> ModelRef:
        """How results are recorded: under the bundle, and by the calibration of the source."""
        base, selection = self._pinned_calibration
        bundle, pins_model = self.bundle, self._options.model is None
        if base is not None and (pins_model or (base.is_adapted and not self._is_adapted)):
            self._is_behind = pins_model and base != bundle.calibration and not base.is_adapted
            bundle = replace(bundle, calibration=base)
        return model_ref(bundle, replace(self._selection(selection), mapped=self.mapped))

    def _selection(self, known: LabelSelection) -> LabelSelection:
        return changed_selection(known, self._options.selection, self.labels)

    @property
    def department_column(self) -> str | None:
        """The column that names the departments: the one that was asked for, else the one of the source."""
        departments = self._selection(self._pinned_calibration[1]).departments
        return None if departments is None else departments.column

    @property
    def has_new_model(self) -> bool:
        """True when the source has shown the answers of another model until now."""
        return self.known is not None and self.known.weights_id not in (None, self.bundle.weights_id)

    @property
    def former_labels(self) -> tuple[str, ...]:
        """Labels of the model whose answers the source has shown until now; none for a new source."""
        if self.known is None or self.known.weights_id is None:
            return ()
        return known_model(self._open(), self.known.weights_id).labels

    @property
    def sold(self) -> tuple[str, ...]:
        """The labels that can be the answer in any department."""
        return self.model.labels_of(None)

    def check_selection(self) -> None:
        """Raise UsageError, before any work, where too few labels are sold in the shop or in a department."""
        calibration = self.model.calibration
        assert calibration is not None
        calibration.check()

    @property
    def _is_adapted(self) -> bool:
        return self.bundle.calibration.is_adapted

    @cached_property
    def _pinned_calibration(self) -> tuple[Calibration | None, LabelSelection]:
        if self.known is None or self.known.calibration_id is None:
            return None, LabelSelection()
        return known_calibration(self._open(), self.known.calibration_id, self.bundle.weights_id)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that the model can answer."""
        return self.bundle.labels

    def _executor(self, bundle: Bundle, remote: Remote | None) -> AbstractContextManager[Executor]:
        """Return what brings the items of the source to results; a context manager."""
        context, calibration, options = self._context, self.model.calibration, self._options
        assert calibration is not None
        web = None if remote is None or remote.web is None else remote.web.options
        work = Work(calibration, options.run, options.limits, web, self._within, available_cpus())
        recorded = KnownPictures(self._open(), self.model, decoder_identity(bundle.preprocess))
        hooks = ExecutorHooks(
            context.hooks.stop, self._report.run.watch, self._warn, None if options.run.force else recorded
        )
        if context.cluster is not None:
            return context.cluster.executor(bundle, work, remote, hooks)
        opening = partial(open_local, work, bundle, context.engine, partial(self._decoder, remote=remote), hooks)
        if self.known is not None and self.known.weights_id == bundle.weights_id:
            return DeferredExecutor(opening, context.engine.device_for(bundle))
        return opening()  # now: a source goes over only to a model that could be loaded

    def _pool(self, bundle: Bundle) -> DecodePool:
        workers = self._options.run.workers or available_cpus()
        return DecodePool(bundle.preprocess, self._options.limits, workers=workers)

    def _decoder(
        self, pool: DecodePool, shared: SharedBytes | None = None, *, remote: Remote | None = None
    ) -> Decoder:
        watch, limits = self._report.run.watch, self._options.limits
        return decoding(pool, limits, watch, remote=remote, within=self._within, shared=shared)

    @property
    def _answers(self) -> SharedAnswers:
        """How items that share a picture are answered."""
        calibration = self.model.calibration
        assert calibration is not None
        return SharedAnswers(
            self.bundle.labels, lambda item: calibration.of(item.department), self._options.run.top_k
        )

    @property
    def _within(self) -> bytes | None:
        """The folder that files must lie in, whatever links say; None: anywhere."""
        return None if self._options.run.follow_links else self.source.within

    def _warn(self, text: str) -> None:
        self._report.warnings.append(text)
        logger.warning("%s", text, extra={"event": "run.warning"})

    def _open(self) -> Database:
        """Return the database, which only a plan can do without."""
        assert self._database is not None
        return self._database

    def _know(self, ref: SourceRef | None) -> None:
        self.known = ref
        if ref is not None:
            self.source.prefix = ref.prefix


def _missing_model(root: str, pinned: ModelRef, default: Bundle) -> UsageError:
    """Make the error of a pinned model that is not found; it says what goes on with it, if anything does."""
    switch = f"--model default switches to {default.title} and tags every image again"
    name = f"{pinned.name} {pinned.version}"
    if pinned.is_of_the_package:
        return UsageError(
            f"{root} was tagged with {name}, which came with another version of cataloger and is not part of this "
            "one. Choose a model: --model DIR goes on with a copy of it, which `cataloger models keep default DIR` "
            f"of that version makes, {switch}"
        )
    same = shipped_bundle(pinned.weights_id)
    shipped = f"--model {same.reference} goes on with the same weights, which come with cataloger, " if same else ""
    return UsageError(
        f"{root} was tagged with {name} from {pinned.location}, which no longer exists. Choose a model: {shipped}"
        f"--model DIR keeps it if you name its new folder, {switch}"
    )
