"""Composition root of `cataloger tag`: folders, images and manifests into a database."""

import os
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cataloger.db import Database, DatabaseURL
from cataloger.engine.job import Job, JobHooks
from cataloger.engine.job_report import JobOptions, TagReport
from cataloger.hooks import Hooks
from cataloger.ledger import require_not_moved
from cataloger.options import DEFAULT_DB, Limits, RunOptions
from cataloger.schema import open_database, open_for_planning
from cataloger.sinks import files
from cataloger.sources import FolderSource, ManifestSource, Target, key_of, resolve_targets


@dataclass(frozen=True, slots=True)
class TagOptions:
    """Options of `cataloger tag`; see `JobOptions` for those that are not explained here.

    paths: folders, images and manifests. output: file of the current results, too. path_column, product_column: of
    the manifests.
    """

    paths: tuple[str, ...]
    db: DatabaseURL = field(default_factory=lambda: DatabaseURL.parse(DEFAULT_DB))
    schema: str | None = None
    model: str | None = None
    output: Path | None = None
    path_column: str | None = None
    product_column: str | None = None
    run: RunOptions = field(default_factory=RunOptions)
    limits: Limits = field(default_factory=Limits)

    def as_json(self) -> dict[str, Any]:
        """Return the options as they are recorded; the database's URL with its password is left out."""
        values = asdict(self)
        del values["db"]
        return {**values, "output": str(self.output) if self.output else None}

    def job(self) -> JobOptions:
        """Return what the job needs to know."""
        return JobOptions(
            command="tag",
            record=self.as_json(),
            db=self.db,
            schema=self.schema,
            model=self.model,
            output=self.output,
            run=self.run,
            limits=self.limits,
        )


def tag_images(options: TagOptions, hooks: JobHooks | None = None) -> TagReport:
    """Tag what the paths name. Raises CatalogerError if the whole run is impossible."""
    targets = resolve_targets(options.paths)
    sources = [_source(target, options) for target in targets]
    if options.output:
        files.check_output(options.output)
    job = Job(options.job(), hooks or Hooks(), TagReport)
    if options.run.dry_run:
        _plan(job, sources, options)
        return job.finished()
    with closing(open_database(options.db, schema=options.schema)) as database:
        _check_places(database, sources, options)
        _run(job, database, list(zip(targets, sources, strict=True)), options)
    return job.finished()


def _run(
    job: Job[TagReport],
    database: Database,
    pairs: list[tuple[Target, FolderSource | ManifestSource]],
    options: TagOptions,
) -> None:
    with job.running(database) as run:
        job.count([source for _, source in pairs])
        selections = []
        for target, source in pairs:
            ref = job.session(database, source).process(run)
            names = None if target.files is None else frozenset(ref.prefix + key_of(n) for n in target.files)
            selections.append(files.Selection(ref.root, ref.prefix, names))
        if options.output:
            files.export(database, selections, options.output)


def _check_places(
    database: Database | None, sources: list[FolderSource | ManifestSource], options: TagOptions
) -> None:
    if not options.run.accept_move:
        for source in sources:
            require_not_moved(database, source)


def _plan(job: Job[TagReport], sources: list[FolderSource | ManifestSource], options: TagOptions) -> None:
    database = open_for_planning(options.db, schema=options.schema)
    _check_places(database, sources, options)
    for source in sources:
        job.session(database, source).plan()
    if database:
        database.close()


def _source(target: Target, options: TagOptions) -> FolderSource | ManifestSource:
    if target.kind == "manifest":
        source = ManifestSource(Path(os.fsdecode(target.root)), options.path_column, options.product_column)
        source.check()
        return source
    return FolderSource(target.root, files=target.files)
