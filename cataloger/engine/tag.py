"""Composition root of `cataloger tag`: folders, images, manifests, addresses and buckets into a database."""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cataloger.db import Database, DatabaseURL
from cataloger.engine.job import Job, JobHooks, downloading, reading_objects
from cataloger.engine.job_report import JobOptions, TagReport
from cataloger.engine.session import SourceSession
from cataloger.errors import OutageError, UsageError
from cataloger.fetch import Remote
from cataloger.hooks import Hooks
from cataloger.ledger import require_not_moved
from cataloger.objects import ObjectStores, checked_roots, read_address
from cataloger.options import DEFAULT_DB, Limits, RunOptions, SelectionOptions, WebOptions
from cataloger.schema import open_database, open_for_planning
from cataloger.sinks import files
from cataloger.sources import (
    MANIFEST_PRESETS,
    BucketSource,
    FolderSource,
    ManifestSource,
    Target,
    WebSource,
    find_address,
    key_of,
    resolve_targets,
)
from cataloger.utils import without_query

AnySource = FolderSource | ManifestSource | WebSource | BucketSource


@dataclass(frozen=True, slots=True)
class TagOptions:
    """Options of `cataloger tag`; see `JobOptions` for those that are not explained here.

    paths: folders, images, manifests, web addresses and object stores. output: file of the current results, too.
    path_column, product_column: of the manifests. preset: whose columns they have. web: how images are downloaded.
    selection: labels that the sources sell. object_roots: addresses below which manifests may name objects.
    """

    paths: tuple[str, ...]
    db: DatabaseURL = field(default_factory=lambda: DatabaseURL.parse(DEFAULT_DB))
    schema: str | None = None
    model: str | None = None
    output: Path | str | None = None
    path_column: str | None = None
    product_column: str | None = None
    object_roots: tuple[str, ...] = ()
    preset: str | None = None
    web: WebOptions = field(default_factory=WebOptions)
    run: RunOptions = field(default_factory=RunOptions)
    limits: Limits = field(default_factory=Limits)
    selection: SelectionOptions = field(default_factory=SelectionOptions)

    def __post_init__(self) -> None:
        if self.preset is None:
            return
        if self.preset not in MANIFEST_PRESETS:
            raise UsageError(f"--preset {self.preset}: the presets of tag are {', '.join(MANIFEST_PRESETS)}")
        if self.path_column or self.product_column:
            raise UsageError(
                f"--preset {self.preset} knows the columns: leave out --path-column and --product-column"
            )

    def as_json(self) -> dict[str, Any]:
        """Return the options as they are recorded: without the database's URL and the secrets of others."""
        values = asdict(self)
        del values["db"]
        addresses = map(find_address, self.paths)
        paths = [without_query(found) if found else path for found, path in zip(addresses, self.paths, strict=True)]
        selection = {name: value for name, value in values.pop("selection").items() if value is not None}
        values["web"] = self.web.as_json()
        return {**values, "paths": paths, "output": str(self.output) if self.output else None, **selection}

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
            selection=self.selection,
        )


def tag_images(options: TagOptions, hooks: JobHooks | None = None) -> TagReport:
    """Tag what the paths name. Raises CatalogerError if the whole run is impossible."""
    checked_roots(options.object_roots)
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
        if options.selection != SelectionOptions():
            for source in sources:
                job.session(database, source).check_selection()
        _run(job, database, list(zip(targets, sources, strict=True)), options)
    return job.finished()


def _run(
    job: Job[TagReport],
    database: Database,
    pairs: list[tuple[Target, AnySource]],
    options: TagOptions,
) -> None:
    with job.running(database) as run:
        job.count([source for _, source in pairs])
        selections: list[files.Selection] = []
        sessions: dict[int, SourceSession] = {}
        outages = []
        for target, source in pairs:
            session = job.session(database, source)
            with _remote(job, source, options) as remote:
                try:
                    session.process(run, remote)
                except OutageError as error:  # the other sources may lie elsewhere
                    outages.append(error)
            ref = session.register()
            sessions[ref.id] = session
            selection = files.Selection(ref.root, ref.prefix, _keys(target, source, ref.prefix))
            if not any(other.contains(selection) for other in selections):
                selections.append(selection)
        for session in sessions.values():
            session.recompute(run)
            session.measure()
        job.count_catalog(database, list(sessions))
        if outages:
            raise outages[0]
    if options.output:  # of a run that has ended: it is complete whether or not there is space for a file
        files.export(database, selections, options.output)


def _keys(target: Target, source: AnySource, prefix: str) -> frozenset[str] | None:
    """Return the keys of the images that were named one by one; None where a whole source was."""
    if isinstance(source, WebSource):
        return source.keys
    if isinstance(source, BucketSource):
        return None if source.names is None else frozenset(prefix + name for name in source.names)
    return None if target.files is None else frozenset(prefix + key_of(name) for name in target.files)


@contextmanager
def _remote(job: Job[TagReport], source: AnySource, options: TagOptions) -> Iterator[Remote | None]:
    """Give what downloads the images of a source, if it has addresses."""
    if isinstance(source, BucketSource):
        with reading_objects(job, source.stores) as remote:
            yield remote
    elif isinstance(source, WebSource) or (isinstance(source, ManifestSource) and source.has_addresses()):
        with downloading(job, options.web, objects=bool(options.object_roots)) as remote:
            yield remote
    else:
        yield None


def _check_places(database: Database | None, sources: list[AnySource], options: TagOptions) -> None:
    if not options.run.accept_move:
        for source in sources:
            if isinstance(source, FolderSource | ManifestSource):
                require_not_moved(database, source)


def _plan(job: Job[TagReport], sources: list[AnySource], options: TagOptions) -> None:
    database = open_for_planning(options.db, schema=options.schema)
    _check_places(database, sources, options)
    sessions: dict[int, SourceSession] = {}
    for source in sources:
        session = job.session(database, source)
        if source is sources[0]:
            session.note_missing_tables(options.db, options.schema)
        with _remote(job, source, options) as remote:
            session.plan(remote)
        session.measure()
        if session.known is not None:
            sessions[session.known.id] = session
    for session in sessions.values():
        session.plan_recomputing()
    if database:
        database.close()


def _source(target: Target, options: TagOptions) -> AnySource:
    if target.kind == "web":
        return WebSource(target.root.decode(), target.addresses)
    if target.kind == "bucket":
        names = None if target.files is None else tuple(name.decode() for name in target.files)
        folder, stores = read_address(target.root.decode()), ObjectStores(options.web)
        return BucketSource(folder, stores, names=names, exclude=options.run.exclude)
    if target.kind == "manifest":
        source = ManifestSource(
            Path(os.fsdecode(target.root)),
            options.path_column,
            options.product_column,
            objects=checked_roots(options.object_roots),
            preset=options.preset,
        )
        source.check()
        return source
    return FolderSource(
        target.root, files=target.files, follow_links=options.run.follow_links, exclude=options.run.exclude
    )
