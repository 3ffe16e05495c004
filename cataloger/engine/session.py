"""One source in one run: looked up once, with its model, and processed."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from typing import Any

from cataloger.corrections import LEAST_ACCEPTED, MeasuredAccept, measure_accept
from cataloger.db import Database, DatabaseURL
from cataloger.engine.column_check import check_column
from cataloger.engine.executors import Executor
from cataloger.engine.losses import Losses
from cataloger.engine.outages import Outages, Place
from cataloger.engine.pipeline import Parts, Planner, WithoutRetries
from cataloger.engine.revalidation import RevalidatingPlanner
from cataloger.engine.rounds import run as run_pipeline
from cataloger.engine.source_model import JobContext, SourceModel
from cataloger.errors import QualityGateError, SourceError
from cataloger.fetch import Remote
from cataloger.history import MovedResults, OutdatedResults
from cataloger.ledger import (
    Lease,
    Ledger,
    Presence,
    ProductResults,
    Run,
    SourceRef,
    WriteTarget,
    hold_lease,
    is_behind,
    last_options,
    note_queries_known,
    note_recomputed,
    pin_model,
    record_other_targets,
    record_write_target,
    register_source,
)
from cataloger.records import Failure, Item, Planned, Renewal, item_of
from cataloger.schema import key_hash, without_tables
from cataloger.sinks import DatabaseSink, ItemRenewer
from cataloger.sources import Source
from cataloger.utils import note, traced
from cataloger.writeback import WriteBack, WriteCounts, WritePlan

logger = logging.getLogger(__name__)


class SourceSession(SourceModel):
    """One source, its model, and what is done with both."""

    def __init__(self, context: JobContext, database: Database | None, source: Source) -> None:
        super().__init__(context, database, source)
        self._shard = context.options.run.shard
        self._others = 0  # items of other shards that a scan has met
        self._settles = False  # all shards have been through, and what none of them can do is left

    def register(self) -> SourceRef:
        """Return the row of the source, created if there is none."""
        if self.known is None:
            self._know(register_source(self._open(), kind=self.source.kind, root=self.source.root))
        assert self.known is not None
        return self.known

    def note_columns(self, names: Sequence[str]) -> None:
        """Report the missing columns of the product table: those that were added or, in a dry run, would be."""
        self._report.created_columns = list(names)

    def plan(self, remote: Remote | None = None) -> None:
        """Decide about every item of the source and write nothing."""
        if self._database is None or self.known is None:
            self._count_plan(Planned(subject, True, "new") for subject in self._scan())
        else:
            presence = Presence(self._database, self.known)
            ledger = self._ledger(self.known, presence, None)
            ledger.on_former = moved = MovedResults(OutdatedResults(self._database, self.known, self.model))
            planner = _planner(ledger, remote, Outages(self._options.run.outage_after))
            self._count_plan(planner.plan(self._scan()))
            self._report.recomputed += 0 if self._options.run.force else moved.count
            if self._saw_all:
                self._report.missing += presence.count_missing(self._staying(presence, self.known))
        self._report_scan_problems()
        self._try_sample(remote)

    def plan_recomputing(self) -> None:
        """Count the results that `recompute` would, those of images among them that the run would tag again."""
        if self._database is None or self.known is None or self._is_partial or self._options.run.force:
            return
        if is_behind(self._database, self.known, self.model):
            self._report.recomputed += OutdatedResults(self._database, self.known, self.model).count_outdated()

    def _try_sample(self, remote: Remote | None) -> None:
        """Open a few images of a column. Raises WrongSourceError when it holds none."""
        if (sample := self.source.sample) is None or not sample.drawn or self._interrupted:
            return
        if self._report.run.skipped["unchanged"]:
            return  # images of this column have been read before
        with self._pool(self.bundle) as pool:
            warning = check_column(sample, self._decoder(pool, remote=remote))
        if warning:
            self._warn(warning)

    def measure(self) -> None:
        """Report how right what is accepted is, as far as labelled images of the source tell."""
        if (found := self._measured()) is not None:
            self._report.measured.append(found)

    def require_measured(self) -> None:
        """Raise QualityGateError unless labelled images of the source have measured what is accepted."""
        found = self._measured()
        if found is not None and found.is_measured:
            return
        state = "there are no results yet, or the model has no thresholds" if found is None else found.line()
        raise QualityGateError(
            f"--require-measured: {self.source.root}: {state}. Nothing was tagged or written. Run once without "
            f"--write, label at least {LEAST_ACCEPTED} accepted images with `cataloger review` or `cataloger "
            "corrections import`, or learn from labels with `cataloger adapt`; then run this again"
        )

    def _measured(self) -> MeasuredAccept | None:
        """Return what is known of accept; None without a source in the ledger or without thresholds."""
        calibration = self.model.calibration
        if self.known is None or calibration is None or calibration.base.target_precision is None:
            return None
        return measure_accept(self._open(), self.known.id, self.model)

    def preview(self, write: Sequence[WritePlan]) -> None:
        """Count what the current answers would change in the shop's tables."""
        if self._database is not None and self.known is not None:
            write_back = WriteBack(write, self.known, 0, self.bundle.weights_id)
            self._report.writes = write_back.preview(self._database)

    @traced("source")
    def process(self, run: Run, remote: Remote | None = None, write: Sequence[WritePlan] = ()) -> SourceRef:
        """Bring every item of the source to a result; those of another calibration, `recompute` sees to.

        Of a shard, only those of the shard; but the run that ends the last one settles the whole source, too.
        remote: for sources whose bytes are not in files. write: what goes back into the shop's tables.
        """
        ref = self.register()
        note(source=ref.root)
        self._record_targets(run, ref, write)
        if self._interrupted:
            return ref
        database, shard = self._open(), self._shard
        products = ProductResults(ref, run.id, self.model)
        with ExitStack() as stack:
            leases = stack.enter_context(ExitStack())
            lease = leases.enter_context(hold_lease(database, ref.id, run.id, shard))
            executor = stack.enter_context(self._executor(self.bundle, remote))
            self._pin(ref, run, executor.device)
            if shard is not None:
                self._record(products, lease, executor, remote, ())
                first = None if self._is_partial else lease.finish()
                if first is None:
                    return ref
                leases.close()
                self._shard, self._settles = None, True
                self._report.settled = True
                lease = leases.enter_context(hold_lease(database, ref.id, run.id))
                self._pin(ref, run, executor.device)
                products.recompute_since(database, lease, first)
            products.catch_up(database, lease)
            self._record(products, lease, executor, remote, write)
            if not self._is_partial:
                lease.close_shards()
        return ref

    def _record_targets(self, run: Run, ref: SourceRef, write: Sequence[WritePlan]) -> None:
        """Record where a run is going to write to."""
        for plan in write:
            if plan.target is None:
                record_write_target(self._open(), run.id, WriteTarget(plan.table.info.name, plan.table.ids))
        record_other_targets(self._open(), ref.id, [plan.target for plan in write if plan.target is not None])

    def _record(
        self,
        products: ProductResults,
        lease: Lease,
        executor: Executor,
        remote: Remote | None,
        write: Sequence[WritePlan],
    ) -> None:
        """Run the pipeline into the ledger and, if wanted, back into the product table."""
        database, ref, run_id = self._open(), products.source, products.run_id
        presence = Presence(database, ref, products.recompute_for_items)
        presence.lease = lease
        ledger = self._ledger(ref, presence, run_id)
        ledger.on_former = self._renewing(ItemRenewer(database, ref.id, lease, products.recompute))
        write_back = WriteBack(write, ref, run_id, self.model.weights_id) if write else None
        self._report.writes = WriteCounts() if write else None
        sink = DatabaseSink(database, products, lease, ledger.recorded, write_back, self._written)
        outages = Outages(self._options.run.outage_after)
        planner = _planner(ledger, remote, outages)
        if self._settles:
            planner = WithoutRetries(planner)
        parts = Parts(planner, executor, sink, self.source.require_root, outages, self._answers)
        self._go_through(parts)
        self._note_presence(presence, ref, run_id)
        if write_back and not self._is_partial:
            self._recompute(replace(sink, on_recorded=lambda _: None, write_back=None))
            self._settle(write_back.settle(database, lease))

    def _renewing(self, renewer: ItemRenewer) -> Callable[[list[Renewal]], None]:
        def renew(renewals: list[Renewal]) -> None:
            renewer.renew(renewals)
            self._is_mixed = self._is_mixed or any(each.is_department for each in renewals)

        return renew

    def recompute(self, run: Run) -> None:
        """Recompute, after all images of a run, the results of the source that are of another calibration.

        Only then: an image that has changed has one result in a run, and that is of what it shows now.
        """
        if not self._is_mixed or self._is_partial or self.known is None or self._shard is not None:
            return
        database = self._open()
        with hold_lease(database, self.known.id, run.id) as lease:
            self._recompute(DatabaseSink(database, ProductResults(self.known, run.id, self.model), lease))

    @traced("recompute")
    def _recompute(self, sink: DatabaseSink) -> None:
        if not self._is_mixed:
            return
        outdated = OutdatedResults(sink.database, sink.products.source, self.model, self._options.run.top_k)
        for predictions in outdated.pages():
            if self._context.hooks.stop.is_set():
                self._report.run.interrupted = True
                return
            sink.write(predictions)
            self._report.recomputed += len(predictions)
        sink.database.write(note_recomputed, sink.products.source.id)
        self._is_mixed = False

    @traced("tag images")
    def _go_through(self, parts: Parts) -> None:
        """Run the pipeline over the source. Raises SourceError when there was nothing in it."""
        before = self._seen()
        hooks, report = self._context.hooks, self._report.run
        run_pipeline(self._scan, parts, self._options.run, hooks=hooks, report=report)
        found_nothing = self._seen() == before and not self._others
        if not self._settles:
            self._report_scan_problems()
        if found_nothing and not self._interrupted:
            raise SourceError(self.source.nothing_found())

    def _scan(self) -> Iterator[Item | Failure]:
        """Yield the items of the source; those of other shards are counted only."""
        shard = self._shard
        for subject in self.source.scan():
            item = item_of(subject)
            if shard is None or shard.has(key_hash(item.product_key or item.key)):
                yield subject
            else:
                self._others += 1

    @traced("presence")
    def _note_presence(self, presence: Presence, ref: SourceRef, run_id: int) -> None:
        """Record which items are restored and, after a complete scan, which are missing."""
        self._report.restored += presence.restore_met(run_id)
        if self._saw_all:
            self._report.missing += presence.remove_missing(run_id, self._staying(presence, ref))
            if ref.no_query_run_id is not None:
                self._open().write(note_queries_known, ref.id)
            if self._options.run.forget:
                self._report.purged += presence.purge_missing()

    def _staying(self, presence: Presence, ref: SourceRef) -> Callable[[str], bool]:
        """Return what tells whether a known item that the scan did not meet is not certain to have left.

        Folders that are out are reported.
        """

        def place(key: str) -> Place:
            return "folder", f"{ref.root}/{key}".rpartition("/")[0]

        is_excluded = self.source.is_excluded
        losses = Losses()
        if self.source.kind in ("folder", "bucket") and not self._options.run.accept_missing:
            for key, is_missing in presence.survey(losses.fewest_missing):
                if is_excluded(key):
                    continue
                losses.know(place(key))
                if is_missing and self.source.can_be_missing(key):
                    losses.miss(place(key))
        losses.conclude()
        self._report.run.outages += losses.found()
        return lambda key: not is_excluded(key) and (losses.covers(place(key)) or not self.source.can_be_missing(key))

    def _pin(self, ref: SourceRef, run: Run, device: str) -> None:
        bundle = self.bundle
        name = f"{bundle.title} in {bundle.precision} on {device}"
        if name not in self._report.models:
            self._report.models.append(name)
        is_trial = self._options.run.limit is not None
        if is_trial and ref.weights_id not in (None, self.model.weights_id):
            self._warn(
                f"--limit makes this a trial: the views of {ref.root} go on with the model that they show; "
                f"without --limit, {bundle.title} tags every image again and takes its place"
            )
        self._is_mixed = pin_model(self._open(), ref, self.model, run.id, is_trial=is_trial)
        if self._is_behind:
            self._warn(
                f"{bundle.title} has another calibration now than {ref.root}, which keeps its own: "
                f"`cataloger recalibrate` recomputes its results with the current one"
            )

    def _ledger(self, ref: SourceRef, presence: Presence, run_id: int | None) -> Ledger:
        run, weights_id = self._options.run, self.bundle.weights_id
        force, retry = run.force and not self._settles, run.retry_failed and not self._settles
        ledger = Ledger(self._open(), ref, run_id, weights_id=weights_id, force=force, retry=retry)
        ledger.on_known = presence.see
        return ledger

    @property
    def _interrupted(self) -> bool:
        return self._report.run.interrupted

    @property
    def _is_partial(self) -> bool:
        return self._interrupted or self._options.run.limit is not None

    @property
    def _saw_all(self) -> bool:
        """True when what was not met is really missing."""
        return self._shard is None and not self._is_partial and (self.source.is_complete or self._goes_on_as_before)

    def note_other_query(self) -> None:
        """Warn that a query is another one than in the last run: by that alone nothing leaves the views."""
        query, last = self._part.get("query"), self._last_part
        if query is None or last is None or last.get("query") in (None, query):
            return
        named = (
            ""
            if self._part.get("name")
            else "; for other images than those, give it a name of its own: --source-name"
        )
        self._warn(
            f"--image-query is another one than in the last run over {self.source.root}: what it does not give "
            f"leaves the views only from its second run on{named}"
        )

    @cached_property
    def _goes_on_as_before(self) -> bool:
        """True for a part of a table that is the one of the last run: what has left it, has left the source."""
        last = self._last_part
        return last is not None and all(last.get(name) == self._part.get(name) for name in ("where", "query"))

    @property
    def _part(self) -> dict[str, Any]:
        """How this run describes the shop's table; nothing for other sources."""
        return self._options.record.get("table") or {}

    @cached_property
    def _last_part(self) -> dict[str, Any] | None:
        """How the last run described it; None where there was none."""
        if not self._part or self._database is None or self.known is None:
            return None
        last = last_options(self._database, self.known.id)
        return None if last is None else last.get("table") or {}

    def note_missing_tables(self, url: DatabaseURL, schema: str | None) -> None:
        """Warn, in a dry run, of what will keep the run from its work. A new SQLite file gets its tables itself."""
        if self._database is None and not url.is_new_sqlite_file():
            self._warn(f"{without_tables(url, schema)} before the run that this plan is of")

    def _written(self, counts: WriteCounts) -> None:
        if self._report.writes:
            self._report.writes.add(counts)

    def _settle(self, counts: WriteCounts) -> None:
        """Replace the counts at the end of a run by those of all rows, not only of some batches."""
        before = self._report.writes or WriteCounts()
        self._report.writes = counts
        counts.add(WriteCounts(before.written, replaced=before.replaced))

    def _seen(self) -> int:
        return self._report.run.attempted + sum(self._report.run.skipped.values())

    def _count_plan(self, plan: Iterable[Planned]) -> None:
        for planned in plan:
            counter = self._report.run.planned if planned.do else self._report.run.skipped
            counter[planned.reason] += 1

    def _report_scan_problems(self) -> None:
        self._report.uncertain_queries += self.source.uncertain_queries
        self._report.run.left_out += self.source.left_out
        if self.source.without_image:
            self._report.run.skipped["no_image"] += self.source.without_image
        for problem in self.source.problems:
            self._warn(problem)


def _planner(ledger: Ledger, remote: Remote | None, outages: Outages) -> Planner:
    if remote is None or not remote.is_far or not remote.revalidate:
        return ledger
    return RevalidatingPlanner(ledger, remote, outages)
