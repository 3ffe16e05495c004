"""The options and the report of a job."""

from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from cataloger.contracts import DECISIONS
from cataloger.corrections import CatalogFigures, MeasuredAccept
from cataloger.db import DatabaseURL
from cataloger.engine.run_report import RunReport
from cataloger.options import Limits, RunOptions, SelectionOptions
from cataloger.writeback import WriteCounts


@dataclass(frozen=True, slots=True)
class JobOptions:
    """What every job needs to know.

    command, record: the name of the command and its options as the run's row records them, without secrets. db: where
    the results go. model: a bundle's directory, "default", or None for the one that each source is pinned to.
    selection: what changes of the labels that the sources sell. preset: that options of `sync` come from.
    """

    command: str
    record: dict[str, Any]
    db: DatabaseURL
    schema: str | None = None
    model: str | None = None
    output: Path | str | None = None
    run: RunOptions = field(default_factory=RunOptions)
    limits: Limits = field(default_factory=Limits)
    selection: SelectionOptions = field(default_factory=SelectionOptions)
    preset: str | None = None


@dataclass(slots=True, repr=False)
class JobReport:
    """What a command did, or would do. seconds: from its start. run_id: None for a dry run.

    missing: items removed from the views, since their source does not contain them any more; in a dry run, that would
    be removed. restored: items restored to the views. purged: items that were deleted, with all that was recorded of
    them. writes: what was written back, or in a dry run, would be as far as answers are known; None if nothing is to
    be. created_columns: of the product table, which were missing. models: that classified, each formatted with its
    precision and device.
    uncertain_queries: web addresses whose query may be a part of the image or of a signature. recomputed: results of
    images that were not read, but had the scores of another calibration than the source has now. measured: what is
    known of accept in each source that has thresholds. catalog: the images of each source, if they are to be counted.
    timed_out: interrupted since the time of the whole run was over. settled: the run had the last of the shards, and
    has settled the whole source.
    """

    run: RunReport
    options: JobOptions
    run_id: int | None = None
    seconds: float = 0.0
    missing: int = 0
    restored: int = 0
    purged: int = 0
    writes: WriteCounts | None = None
    created_columns: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    uncertain_queries: int = 0
    recomputed: int = 0
    measured: list[MeasuredAccept] = field(default_factory=list)
    catalog: list[CatalogFigures] = field(default_factory=list)
    timed_out: bool = False
    settled: bool = False

    @property
    def exit_status(self) -> int:
        """130 when interrupted, 3 when more failed than allowed, a place was out or a value was refused, else 0.

        Also 3 when the time was over.
        """
        if self.run.interrupted:
            return 3 if self.timed_out else 130
        return 3 if self.shortfalls() else 0

    def shortfalls(self) -> list[str]:
        """Return what makes the exit status 3, one line each, unless the run was interrupted."""
        lines, run, writes = [], self.run, self.writes
        if self.timed_out:
            lines.append("the time of --timeout was over before all was done; the same command goes on from there")
        allowed = self.options.run.max_failure_rate
        if run.failure_rate > allowed:
            codes = ", ".join(f"{code} {count:,}" for code, count in run.failures.most_common())
            share = f"{run.failed:,} of {run.attempted:,} images failed"
            lines.append(f"{share}, more than --max-failure-rate {allowed:g} allows: {codes}")
        lines += [f"{outage}; run again when it is available" for outage in run.outages]
        if writes is not None and writes.refused:
            lines.append(f"the product table refused {writes.refused:,} values: {'; '.join(writes.reasons)}")
        return lines

    def plan(self) -> dict[str, int]:
        """Return how many items a dry run would do, skip, remove from the views or recompute, by reason."""
        further = {"gone": self.missing, "recompute": self.recomputed}
        return {**self.run.plan(), **{name: count for name, count in further.items() if count}}

    def presence_json(self) -> dict[str, int]:
        """Return how many items were removed from the views, restored to them and purged, by their JSON keys."""
        return {"gone": self.missing, "returned": self.restored, "forgotten": self.purged}

    def __repr__(self) -> str:
        figures = ", ".join(f"{name}={value}" for name, value in self._figures())
        return f"{type(self).__name__}({figures})"

    def _repr_html_(self) -> str:
        """Return a small table for a notebook: the figures, the decisions, and the number of each kind of failure."""
        run = self.run
        decisions = [(name, run.decisions[name]) for name in DECISIONS if run.decisions]
        warnings = (("warning", text) for text in self.warnings)
        rows = [*self._figures(), *decisions, *run.failures.most_common(), *warnings]
        cells = (f"<tr><th>{escape(str(name))}</th><td>{escape(str(value))}</td></tr>" for name, value in rows)
        return f"<table><caption>{type(self).__name__}</caption>{''.join(cells)}</table>"

    def _figures(self) -> list[tuple[str, object]]:
        """Return what matters most, by name."""
        run, options = self.run, self.options
        if options.run.dry_run:
            return [("dry_run", True), *self.plan().items(), ("db", options.db.redacted)]
        skipped = sum(run.skipped.values())
        figures: list[tuple[str, object]] = [("run_id", self.run_id), ("done", run.done), ("failed", run.failed)]
        figures += [("skipped", skipped), ("seconds", round(self.seconds, 1)), ("db", options.db.redacted)]
        return [*figures, *([("interrupted", True)] if run.interrupted else [])]

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        return {
            "run_id": self.run_id,
            "db": self.options.db.redacted,
            "output": str(self.options.output) if self.options.output else None,
            "dry_run": self.options.run.dry_run,
            **self.run.as_json(),
            **self.presence_json(),
            "write_back": self.writes.as_json() if self.writes else None,
            "created_columns": self.created_columns,
            "models": self.models,
            "images_per_second": round(self.run.attempted / self.seconds, 2) if self.seconds else None,
            "total_seconds": round(self.seconds, 3),
            "warnings": self.warnings,
            "uncertain_queries": self.uncertain_queries,
            "recomputed": self.recomputed,
            "measured": [each.as_json() for each in self.measured],
            "catalog": [each.as_json() for each in self.catalog],
            "timed_out": self.timed_out,
            "settled": self.settled,
            "exit_status": self.exit_status,
        }


class TagReport(JobReport):
    """What `tag` did."""

    __slots__ = ()


class SyncReport(JobReport):
    """What `sync` did."""

    __slots__ = ()

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain JSON values, with the preset that options came from."""
        return {**JobReport.as_json(self), "preset": self.options.preset}
