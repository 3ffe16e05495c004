"""Composition root of `cataloger sync`: the images of a product table into the ledger beside it."""

import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from cataloger.db import Database, DatabaseURL, TableName
from cataloger.engine.job import Job, JobHooks, downloading
from cataloger.engine.job_report import JobOptions, SyncReport
from cataloger.engine.session import SourceSession
from cataloger.errors import UsageError
from cataloger.fetch import Remote
from cataloger.hooks import Hooks
from cataloger.ledger import (
    LabelCode,
    load_label_map,
    mapped_labels,
    read_label_map,
    require_labels,
    require_same_root,
    spelled_like,
    store_label_map,
    warn_of_gaps,
)
from cataloger.objects import checked_roots
from cataloger.options import Limits, PresetUse, RunOptions, SelectionOptions, WebOptions, WriteOptions
from cataloger.presets import require_categories
from cataloger.queries import ShopSource, open_shop_source
from cataloger.records import Item
from cataloger.schema import open_database, open_for_planning, open_source
from cataloger.sinks import files
from cataloger.sources import check_folder
from cataloger.table_options import QUERY_COLUMNS, TableOptions
from cataloger.taxonomy import merged_codes, read_taxonomy, taxonomy_codes
from cataloger.writeback import (
    LinkCheck,
    PossibleAnswers,
    RowCheck,
    WriteCheck,
    WritePlan,
    check_database,
    qualified,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SyncOptions:
    """Options of `cataloger sync`; see `JobOptions` for those that are not explained here.

    db: of the products. ledger_db: of cataloger's own tables, if that is another. label_map: CSV file of the
    shop's codes; without it, the one that is recorded for the source. taxonomy: whose ids are the codes of the labels
    that the label map says nothing of. write: columns of the table to write back to.
    selection: labels that the source sells. preset: that options were filled in from, if any.
    """

    db: DatabaseURL
    table: TableOptions
    ledger_db: DatabaseURL | None = None
    schema: str | None = None
    model: str | None = None
    output: Path | str | None = None
    label_map: Path | None = None
    taxonomy: str | None = None
    write: WriteOptions = field(default_factory=WriteOptions)
    web: WebOptions = field(default_factory=WebOptions)
    run: RunOptions = field(default_factory=RunOptions)
    limits: Limits = field(default_factory=Limits)
    selection: SelectionOptions = field(default_factory=SelectionOptions)
    preset: PresetUse | None = None

    def job(self) -> JobOptions:
        """Return what the job needs to know; URLs with their passwords are not recorded."""
        record = asdict(self)
        del record["db"], record["ledger_db"]
        record["preset"] = None if self.preset is None else self.preset.name
        record["web"] = self.web.as_json()
        return JobOptions(
            command="sync",
            record=_plain(record),
            db=self.ledger_db or self.db,
            schema=self.schema,
            model=self.model,
            output=self.output,
            run=self.run,
            limits=self.limits,
            selection=self.chosen_selection,
            preset=None if self.preset is None else self.preset.name,
        )

    @property
    def chosen_selection(self) -> SelectionOptions:
        """What changes of the labels; the departments of a query are in its column of that name, if none is given."""
        given, column = self.selection, QUERY_COLUMNS[-1]
        if self.table.query is None or given.departments in (None, Path("none")) or given.department_column:
            return given
        return replace(given, department_column=column)


def sync_table(options: SyncOptions, hooks: JobHooks | None = None) -> SyncReport:
    """Tag what is new or changed in a table. Raises CatalogerError if it cannot run."""
    checked_roots(options.table.object_roots)
    job = Job(options.job(), hooks or Hooks(), SyncReport)
    categories = read_label_map(options.label_map) if options.label_map else []
    if options.taxonomy:
        read_taxonomy(options.taxonomy)
    if options.write.is_wanted:
        if options.write.columns and options.table.query is not None:
            raise UsageError("--write needs the product table, --table; it does not go with --image-query")
        check_database(options.db, options.ledger_db)
    if options.output:
        files.check_output(options.output)
    with closing(open_source(options.db)) as shop:
        if options.run.dry_run:
            _plan(job, shop, options, categories)
        else:
            with closing(open_database(job.options.db, schema=options.schema)) as database:
                _run(job, database, shop, options, categories)
    return job.finished()


def _plan(job: Job[SyncReport], shop: Database, options: SyncOptions, categories: list[LabelCode]) -> None:
    database = open_for_planning(job.options.db, schema=options.schema)
    _check_folder(options)
    source, session = _session(job, database, shop, options)
    session.note_missing_tables(job.options.db, options.schema)
    _check_root(database, session, options)
    in_effect = _codes(session, options, categories, _known_labels(database, session))
    _check_codes(shop, options, in_effect, _origin(session, options, categories))
    if options.write.require_measured:
        session.require_measured()
    with _remote(job, source, options) as remote:
        _log_costs(source)
        session.plan(remote)
    session.plan_recomputing()
    if options.write.is_wanted:
        _plan_writes(database or shop, session, source, options, in_effect)
    session.measure()
    if database:
        database.close()


def _run(
    job: Job[SyncReport], database: Database, shop: Database, options: SyncOptions, categories: list[LabelCode]
) -> None:
    _check_folder(options)
    source, session = _session(job, database, shop, options)
    _check_root(database, session, options)
    in_effect = _map_labels(database, shop, session, options, categories)
    write = _prepare_writes(database, session, source, options, in_effect) if options.write.is_wanted else ()
    with job.running(database) as run:
        job.count([source])
        with _remote(job, source, options) as remote:
            ref = session.process(run, remote, write)
            session.recompute(run)
            session.measure()
        job.count_catalog(database, [ref.id])
    if options.output:
        files.export(database, [files.Selection(ref.root, ref.prefix, None)], options.output)


def _session(
    job: Job[SyncReport], database: Database | None, shop: Database, options: SyncOptions
) -> tuple[ShopSource, SourceSession]:
    """Look the source up; it reads the column of the departments that it has, if none is named."""
    table = replace(options.table, department_column=options.chosen_selection.department_column)
    source = open_shop_source(shop, table)
    session = job.session(database, source)
    if session.department_column != table.department_column:
        source = open_shop_source(shop, replace(table, department_column=session.department_column))
        session = job.session(database, source)
    session.note_other_query()
    return source, session


def _log_costs(source: ShopSource) -> None:
    """Say what reading the rows costs, to those who want more than warnings; the database is asked only then."""
    if logger.isEnabledFor(logging.INFO):
        logger.info("how the database reads the rows:")
        for line in source.costs():
            logger.info("  %s", line)


def _check_folder(options: SyncOptions) -> None:
    root = options.table.image_root
    if root is not None:
        if root.exists() and not root.is_dir():
            raise UsageError(f"--image-root {root} is not a folder")
        check_folder(os.fsencode(root), may_be_empty=False)


def _check_root(database: Database | None, session: SourceSession, options: SyncOptions) -> None:
    root = options.table.image_root
    if root is not None and database and session.known and not options.run.accept_move:
        require_same_root(database, session.known, session.source, str(root))


def _map_labels(
    database: Database, shop: Database, session: SourceSession, options: SyncOptions, categories: list[LabelCode]
) -> list[LabelCode]:
    """Check and store the codes of the source before any work; return those that it has now."""
    known = _known_labels(database, session)
    in_effect = _codes(session, options, categories, known)
    _check_codes(shop, options, in_effect, _origin(session, options, categories))
    if options.write.require_measured:
        session.require_measured()
    ref = session.register()
    if (categories or options.taxonomy) and set(in_effect) != set(known):
        store_label_map(database, ref.id, in_effect)
    return in_effect


def _codes(
    session: SourceSession, options: SyncOptions, given: list[LabelCode], known: list[LabelCode]
) -> list[LabelCode]:
    """Return the codes of the source, given or known; labels that they leave out can be no answer.

    Raises UsageError where too few are left, and where a new model has labels that the codes say nothing of.
    """
    labels, path = session.labels, options.label_map if given else None
    origin = _origin(session, options, given)
    codes = spelled_like(given or ([] if options.taxonomy else known), labels, origin)
    if options.taxonomy:
        codes = merged_codes(codes, taxonomy_codes(options.taxonomy, labels))
    if codes and session.has_new_model:
        former = session.former_labels
        require_labels(codes, [label for label in labels if label not in former], origin, path)
    if given or options.taxonomy:
        warn_of_gaps(codes, labels, origin)
    session.mapped = mapped_labels(codes, labels) if codes else None
    session.check_selection()
    return [each for each in codes if not each.is_ignored]


def _check_codes(shop: Database, options: SyncOptions, codes: list[LabelCode], origin: str) -> None:
    """Raise UsageError where codes are to be written that the shop of a preset does not know."""
    if options.preset is not None:
        require_categories(shop, options.preset, codes, origin, is_written=options.write.is_wanted)


def _origin(session: SourceSession, options: SyncOptions, given: list[LabelCode]) -> str:
    """Return where the codes come from, for people."""
    map_given = f"--label-map {options.label_map}" if given else ""
    if options.taxonomy:
        return f"{map_given} with --taxonomy {options.taxonomy}" if given else f"--taxonomy {options.taxonomy}"
    return map_given or f"the label map of {session.source.root} (replace it with --label-map)"


def _known_labels(database: Database | None, session: SourceSession) -> list[LabelCode]:
    return load_label_map(database, session.known.id) if database and session.known else []


@dataclass(frozen=True, slots=True)
class _Writes:
    """The checks of the tables to write to. product: None where no column of the product table is written."""

    product: WriteCheck | None
    others: list[RowCheck | LinkCheck]
    answers: PossibleAnswers

    def plans(self) -> list[WritePlan]:
        """Return what to write, tried out on the tables themselves."""
        checks = [*([] if self.product is None else [self.product]), *self.others]
        return [check.plan(self.answers) for check in checks]


def _check_writes(
    database: Database, session: SourceSession, source: ShopSource, options: SyncOptions, categories: list[LabelCode]
) -> _Writes:
    answers = PossibleAnswers(session.sold, {each.label: each for each in categories}, options.run.top_k)
    product = None
    if options.write.columns:
        name = qualified(source.database, TableName.parse(options.table.table), options.schema)
        product = WriteCheck(database, name, options.table, options.write)
        product.check_table(answers)
    return _Writes(product, _check_others(database, source, options), answers)


def _check_others(database: Database, source: ShopSource, options: SyncOptions) -> list[RowCheck | LinkCheck]:
    write = options.write
    if not (write.tables or write.links):
        return []
    some = _some_product(source, options)

    def name(text: str) -> TableName:
        return qualified(source.database, TableName.parse(text), options.schema)

    checks: list[RowCheck | LinkCheck] = []
    checks += [RowCheck(database, name(each.table), each, write, some) for each in write.tables]
    checks += [LinkCheck(database, name(each.table), each, write, some) for each in write.links]
    for check in checks:
        check.check(len(options.table.ids) or 1)  # a query has one
    return checks


def _some_product(source: ShopSource, options: SyncOptions) -> str | None:
    """Return the key of some product, to try the writing with; a scan of its own leaves the counts as they are."""
    items = open_shop_source(source.database, options.table).scan()
    return next((item.product_key for item in items if isinstance(item, Item)), None)


def _prepare_writes(
    database: Database, session: SourceSession, source: ShopSource, options: SyncOptions, categories: list[LabelCode]
) -> list[WritePlan]:
    """Check what is to be written, and add missing columns, if wanted, before any work."""
    checks = _check_writes(database, session, source, options, categories)
    if checks.product:
        session.note_columns(checks.product.create_columns())
    return checks.plans()


def _plan_writes(
    database: Database, session: SourceSession, source: ShopSource, options: SyncOptions, categories: list[LabelCode]
) -> None:
    """Check what is to be written; count what the current answers would change in the tables."""
    checks = _check_writes(database, session, source, options, categories)
    if checks.product:
        session.note_columns(checks.product.missing)
    if not (checks.product and checks.product.missing):
        session.preview(checks.plans())


@contextmanager
def _remote(job: Job[SyncReport], source: ShopSource, options: SyncOptions) -> Iterator[Remote]:
    """Give what reads the bytes that are in no file; at its end the source is closed."""
    with ExitStack() as stack:
        stack.callback(source.close)
        if source.layout.is_blob:
            yield Remote(blobs=source.read_blobs)
        else:
            yield stack.enter_context(downloading(job, options.web, objects=bool(options.table.object_roots)))


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, Path) else _deep(value) for name, value in values.items()}


def _deep(value: Any) -> Any:
    return _plain(value) if isinstance(value, dict) else value
