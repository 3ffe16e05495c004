"""Composition root of `cataloger sync`: the images of a product table into the ledger beside it."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cataloger import ledger as ledgers
from cataloger.db.database import Database, open_database, open_for_planning, open_source
from cataloger.decode import DEFAULT_LOADER
from cataloger.download import Downloader
from cataloger.fetch import Remote
from cataloger.job import Hooks, Job, JobOptions, JobReport
from cataloger.label_map import Category, load_label_map, read_label_map, require_labels, store_label_map
from cataloger.options import Limits, RunOptions, TableOptions, WebOptions
from cataloger.sinks import files
from cataloger.sources.table import TableSource

# Downloads wait for the network most of the time; more of them than processors keep the model busy.
DOWNLOADS = 16


@dataclass(frozen=True, slots=True)
class SyncOptions:
    """Options of `cataloger sync`; see `JobOptions` for those that are not explained here.

    db: of the product table. ledger_db: of cataloger's own tables, if that is another. label_map: CSV file of the
    shop's codes; without it, the one that the source has already.
    """

    db: str
    table: TableOptions
    ledger_db: str | None = None
    schema: str | None = None
    model: str | None = None
    output: Path | None = None
    label_map: Path | None = None
    web: WebOptions = field(default_factory=WebOptions)
    run: RunOptions = field(default_factory=RunOptions)
    limits: Limits = field(default_factory=Limits)
    loader: str = DEFAULT_LOADER

    def job(self) -> JobOptions:
        """Return what the job needs to know; URLs with their passwords stay out of the record."""
        record = asdict(self)
        del record["db"], record["ledger_db"]
        return JobOptions(
            command="sync",
            record=_plain(record),
            db=self.ledger_db or self.db,
            schema=self.schema,
            model=self.model,
            output=self.output,
            run=self.run,
            limits=self.limits,
            loader=self.loader,
        )


def sync(options: SyncOptions, hooks: Hooks | None = None) -> JobReport:
    """Tag what is new or changed in a table. Raises CatalogerError for anything that keeps it from working."""
    job = Job(options.job(), hooks or Hooks())
    categories = read_label_map(options.label_map) if options.label_map else []
    if options.output:
        files.check_output(options.output)
    with closing(open_source(options.db)) as shop:
        if options.run.dry_run:
            _plan(job, shop, options, categories)
        else:
            with closing(open_database(job.options.db, schema=options.schema)) as database:
                _run(job, database, TableSource(shop, options.table), options, categories)
    return job.finished()


def _plan(job: Job, shop: Database, options: SyncOptions, categories: list[Category]) -> None:
    database = open_for_planning(job.options.db, schema=options.schema)
    source = TableSource(shop, options.table)
    if categories:
        require_labels(categories, job.labels(database, source), f"--label-map {options.label_map}")
    with _remote(job, source, options) as remote:
        job.plan(database, source, remote)
    if database:
        database.close()


def _run(job: Job, database: Database, source: TableSource, options: SyncOptions, categories: list[Category]) -> None:
    _map_labels(job, database, source, categories)
    with job.running(database) as run:
        job.count([source])
        with _remote(job, source, options) as remote:
            ref = job.process(database, run, source, remote)
        if options.output:
            files.export(database, [files.Selection(ref.root, ref.prefix, None)], options.output)


def _map_labels(job: Job, database: Database, source: TableSource, categories: list[Category]) -> None:
    """Make sure, before any work, that the source has a code for every label of its model, if it has codes."""
    labels = job.labels(database, source)
    if categories:
        require_labels(categories, labels, "--label-map")
    ref = ledgers.register_source(database, kind=source.kind, root=source.root)
    known = load_label_map(database, ref.id)
    if categories:
        if set(categories) != set(known):
            store_label_map(database, ref.id, categories)
    elif known:
        require_labels(known, labels, f"the label map of {ref.root}; give a new one with --label-map: it")


@contextmanager
def _remote(job: Job, source: TableSource, options: SyncOptions) -> Iterator[Remote]:
    """Give what reads the bytes that are in no file."""
    with ExitStack() as stack:
        if source.layout.is_blob:
            yield Remote(blobs=source.read_blobs)
        else:
            web = stack.enter_context(Downloader(options.web, options.limits))
            stop = job.hooks.stop
            yield Remote(web=web, threads=DOWNLOADS, revalidate=options.web.revalidate, stop=stop)


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, Path) else _deep(value) for name, value in values.items()}


def _deep(value: Any) -> Any:
    return _plain(value) if isinstance(value, dict) else value
