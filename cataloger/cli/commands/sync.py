"""`cataloger sync`."""

from pathlib import Path
from typing import Annotated

import typer

from cataloger.cli import flags, render, source_flags
from cataloger.cli.run_command import is_catalog_wanted, signalled, watched
from cataloger.cli.source_flags import (
    DepartmentColumnOption,
    DepartmentsOption,
    IdOption,
    ImageFkOption,
    ImageIdOption,
    ImageListOption,
    ImageOption,
    ImageQueryFileOption,
    ImageQueryOption,
    ImageRootOption,
    ImageTableOption,
    LabelMapOption,
    LedgerOption,
    ObjectRootOption,
    PrefixOption,
    PresetCommand,
    PresetOption,
    SetOption,
    ShopOption,
    SourceNameOption,
    TableOption,
    TaxonomyOption,
    VersionColumnOption,
    WhereOption,
    preset_in_use,
)
from cataloger.errors import UsageError
from cataloger.options import ClusterOptions, RunOptions, SelectionOptions, Shard, WebOptions
from cataloger.signals import Reporter, SignalOptions
from cataloger.table_options import TableOptions
from cataloger.writeback import OtherWrites

COMMAND = PresetCommand
EXAMPLES = """\b
Examples:
  cataloger sync --db postgresql://shop@db/shop --table products --id sku --image image_url
  cataloger sync --db sqlite:///shop.db --table products --id sku --image photo --image-root /srv/photos
  cataloger sync --db mysql://shop@db/shop --table products --id id --image url \\
                 --image-table product_image --image-fk product_id --label-map codes.csv
  cataloger sync --db postgresql://reader@db/shop --ledger-db postgresql://shop@db/tags \\
                 --table catalog.products --id sku --image photos --image-list json --where "active = 1"

\b
  cataloger sync --db mysql://shop@db/shop --image-root /srv/shop/image --source-name shop \\
                 --image-query "select product_id, id as image_id, path as image from product_image"

\b
  cataloger sync --db postgresql://shop@db/shop --table products --id sku --image photo --label-map codes.csv \\
                 --write category=label_1 --write category_confidence=confidence_1 --min-confidence 0.8
  cataloger sync --db postgresql://shop@db/shop --table products --id sku --image photo --taxonomy google \\
                 --write google_category=label_1 --write google_path=name_1

\b
  cataloger sync --preset woocommerce --db mysql://shop@db/shop --prefix wp_ --set folder=/var/www/shop \\
                 --label-map codes.csv

Run the same command every night: unchanged images are skipped.
The texts of --where and --image-query become part of SQL statements as they are: let them come from people you trust.
"""


WriteOption = Annotated[
    list[str] | None,
    typer.Option(
        "--write",
        envvar="CATALOGER_WRITE",
        metavar="COLUMN=FIELD",
        help="Write a result into a column of the product table: label_1 .. label_5 (the shop's codes, with a label "
        "map), confidence_1 .. confidence_5, name_1 .., parent_1 .., top5_json or decision. May be repeated.",
    ),
]
WriteTableOption = Annotated[
    list[str] | None,
    typer.Option(
        "--write-table",
        envvar="CATALOGER_WRITE_TABLE",
        metavar="TABLE[:COLUMN=FIELD,...]",
        help="Write into a row a product of another table: into the columns named here, or with TABLE alone, into "
        "those of --write. May be repeated.",
    ),
]
WriteKeyOption = Annotated[
    list[str] | None,
    typer.Option(
        "--write-key",
        envvar="CATALOGER_WRITE_KEY",
        metavar="COLUMN[,COLUMN]",
        help="Column of --write-table with the product's id; for all tables, or for each in turn.",
    ),
]
WriteWhereOption = Annotated[
    list[str] | None,
    typer.Option(
        "--write-where",
        envvar="CATALOGER_WRITE_WHERE",
        metavar="CONDITION",
        help='What rows of --write-table have, e.g. "attribute_id = 87 and store_id = 0"; for all or each in turn.',
    ),
]
WriteExistingOption = Annotated[
    list[str] | None,
    typer.Option(
        "--write-existing",
        envvar="CATALOGER_WRITE_EXISTING",
        metavar="TABLE",
        help="Add no row to this --write-table; only rows that exist are written. May be repeated.",
    ),
]
WriteLinkOption = Annotated[
    list[str] | None,
    typer.Option(
        "--write-link",
        envvar="CATALOGER_WRITE_LINK",
        metavar="TABLE:PRODUCT,CATEGORY[=FIELDS][,COLUMN=VALUE]",
        help="Add rows to a table that links products with categories, and remove rows of its own: the two columns "
        "(CATEGORY=label_1+parent_1 links more than the best category), then what other columns get (== where other "
        "values mean other links). May be repeated.",
    ),
]
OnlyNullOption = Annotated[
    bool,
    typer.Option("--only-null", envvar="CATALOGER_ONLY_NULL", help="Write only into empty (NULL) cells."),
]
OnlyIfOption = Annotated[
    list[str] | None,
    typer.Option(
        "--only-if",
        envvar="CATALOGER_ONLY_IF",
        metavar="VALUE,...",
        help="Also replace these values of the shop, e.g. 2,uncategorised; may be repeated.",
    ),
]
OverwriteOption = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        envvar="CATALOGER_OVERWRITE",
        help="Replace every value of the shop. Default: only in empty cells and those with the column's default.",
    ),
]
MinConfidenceOption = Annotated[
    float | None,
    typer.Option(
        "--min-confidence",
        envvar="CATALOGER_MIN_CONFIDENCE",
        help="Write only results whose best category has at least this confidence.",
    ),
]
OnlyDecisionOption = Annotated[
    list[str] | None,
    typer.Option(
        "--only-decision",
        envvar="CATALOGER_ONLY_DECISION",
        metavar="accept|review|abstain",
        help="Write only results with this decision; may be repeated. Default: all but review and abstain.",
    ),
]
CreateColumnsOption = Annotated[
    bool,
    typer.Option(
        "--create-columns",
        envvar="CATALOGER_CREATE_COLUMNS",
        help="Add columns of --write that the product table does not have.",
    ),
]
RequireMeasuredOption = Annotated[
    bool,
    typer.Option(
        "--require-measured",
        envvar="CATALOGER_REQUIRE_MEASURED",
        help="Write nothing until enough accepted images of this source are labelled to measure how many are right.",
    ),
]


def sync(
    context: typer.Context,
    db: ShopOption,
    preset: PresetOption = None,
    settings: SetOption = None,
    prefix: PrefixOption = None,
    table: TableOption = None,
    ids: IdOption = None,
    image: ImageOption = None,
    image_query: ImageQueryOption = None,
    image_query_file: ImageQueryFileOption = None,
    image_root: ImageRootOption = None,
    object_root: ObjectRootOption = None,
    image_list: ImageListOption = None,
    image_table: ImageTableOption = None,
    image_fk: ImageFkOption = None,
    image_id: ImageIdOption = None,
    version_column: VersionColumnOption = None,
    where: WhereOption = None,
    label_map: LabelMapOption = None,
    taxonomy: TaxonomyOption = None,
    labels: flags.SoldLabelsOption = None,
    exclude_labels: flags.ExcludeLabelsOption = None,
    department_column: DepartmentColumnOption = None,
    departments: DepartmentsOption = None,
    write: WriteOption = None,
    write_table: WriteTableOption = None,
    write_key: WriteKeyOption = None,
    write_where: WriteWhereOption = None,
    write_existing: WriteExistingOption = None,
    write_link: WriteLinkOption = None,
    only_null: OnlyNullOption = False,
    only_if: OnlyIfOption = None,
    overwrite: OverwriteOption = False,
    min_confidence: MinConfidenceOption = None,
    only_decision: OnlyDecisionOption = None,
    create_columns: CreateColumnsOption = False,
    require_measured: RequireMeasuredOption = False,
    ledger_db: LedgerOption = None,
    source_name: SourceNameOption = None,
    schema: flags.SchemaOption = None,
    model: flags.ModelOption = None,
    output: flags.OutputOption = None,
    allow_private: source_flags.AllowPrivateOption = False,
    per_host: source_flags.PerHostOption = flags.WEB.per_host,
    download_timeout: source_flags.DownloadTimeoutOption = flags.WEB.timeout,
    revalidate: source_flags.RevalidateOption = False,
    rate_per_host: source_flags.RatePerHostOption = None,
    user_agent: source_flags.UserAgentOption = None,
    header: source_flags.HeaderOption = None,
    proxy: source_flags.ProxyOption = None,
    ca_file: source_flags.CaFileOption = None,
    top_k: flags.TopKOption = flags.DEFAULTS.top_k,
    batch_size: flags.BatchSizeOption = flags.DEFAULTS.batch_size,
    workers: flags.WorkersOption = flags.DEFAULTS.workers,
    device: flags.DeviceOption = flags.DEFAULTS.device,
    precision: flags.PrecisionOption = flags.DEFAULTS.precision,
    engine: flags.EngineOption = flags.DEFAULTS.engine,
    ray_address: flags.RayAddressOption = flags.CLUSTER.address,
    ray_workers: flags.RayWorkersOption = flags.CLUSTER.workers,
    cpus_per_worker: flags.CpusPerWorkerOption = flags.CLUSTER.cpus_per_worker,
    gpus_per_worker: flags.GpusPerWorkerOption = flags.CLUSTER.gpus_per_worker,
    shard: flags.ShardOption = None,
    limit: flags.LimitOption = None,
    dry_run: flags.DryRunOption = False,
    force: flags.ForceOption = False,
    retry_failed: flags.RetryFailedOption = False,
    forget: flags.ForgetOption = False,
    accept_move: flags.AcceptMoveOption = False,
    accept_missing: flags.AcceptMissingOption = False,
    follow_links: flags.FollowLinksOption = False,
    max_failure_rate: flags.MaxFailureRateOption = flags.DEFAULTS.max_failure_rate,
    profile: flags.ProfileOption = None,
    json_output: flags.JsonOption = False,
    timeout: flags.TimeoutOption = None,
    metrics: flags.MetricsOption = None,
    on_failure: flags.OnFailureOption = None,
    notify: flags.NotifyOption = None,
    notify_secret: flags.NotifySecretOption = None,
    log_format: flags.LogFormatOption = "text",
    verbose: flags.VerboseOption = 0,
    quiet: flags.QuietOption = False,
    no_progress: flags.NoProgressOption = False,
) -> None:
    """Tag the images of a product table or a query, in a database.

    The results go to cataloger's own tables; the product table itself is only read, unless --write names columns.
    Its images are paths, http(s) URLs or bytes.
    """
    del preset, settings, prefix  # the other flags have been filled in from them
    render.set_up_logging(verbose=verbose, quiet=quiet, form=log_format)
    from cataloger import api
    from cataloger.db import DatabaseURL
    from cataloger.engine import SyncOptions

    reporter = Reporter("sync", SignalOptions(metrics, on_failure, notify, notify_secret))
    with signalled(reporter, is_dry=dry_run):
        reporter.web = WebOptions(
            allow_private=allow_private,
            per_host=per_host,
            timeout=download_timeout,
            revalidate=revalidate,
            rate_per_host=rate_per_host,
            user_agent=user_agent,
            headers=tuple(header or ()),
            proxy=proxy,
            ca_file=ca_file,
        )
        options = SyncOptions(
            db=DatabaseURL.parse(db),
            ledger_db=None if ledger_db is None else DatabaseURL.parse(ledger_db),
            schema=schema,
            model=model,
            output=output,
            label_map=label_map,
            taxonomy=taxonomy,
            selection=SelectionOptions(labels, exclude_labels, department_column, departments),
            write=OtherWrites(
                tuple(write_table or ()),
                tuple(write_key or ()),
                tuple(write_where or ()),
                tuple(write_link or ()),
                tuple(write_existing or ()),
            ).options(
                write or (),
                only_null=only_null,
                only_if=tuple(value.strip() for text in only_if or () for value in text.split(",")),
                overwrite=overwrite,
                min_confidence=min_confidence,
                only_decision=tuple(only_decision or ()),
                create_columns=create_columns,
                require_measured=require_measured,
            ),
            table=TableOptions(
                table=table or "",
                ids=tuple(ids or ()),
                image=image or "",
                query=_query(image_query, image_query_file),
                image_root=image_root,
                image_list=image_list,
                object_roots=tuple(object_root or ()),
                image_table=image_table,
                image_fk=tuple(image_fk or ()),
                image_ids=tuple(image_id or ()),
                version_column=version_column,
                where=where,
                name=source_name,
            ),
            web=reporter.web,
            run=RunOptions(
                top_k=top_k,
                batch_size=batch_size,
                workers=workers,
                device=device,
                precision=precision,
                limit=limit,
                dry_run=dry_run,
                force=force,
                retry_failed=retry_failed,
                max_failure_rate=max_failure_rate,
                forget=forget,
                accept_move=accept_move,
                accept_missing=accept_missing,
                follow_links=follow_links,
                count_catalog=is_catalog_wanted(reporter),
                engine=engine,
                cluster=ClusterOptions(ray_address, ray_workers, cpus_per_worker, gpus_per_worker),
                shard=None if shard is None else Shard.parse(shard),
            ),
            preset=preset_in_use(context),
        )
        show = not (quiet or no_progress)
        watched(
            lambda tell, stop: api.sync(options, on_progress=tell, stop=stop),
            progress=show,
            quiet=quiet,
            json=json_output,
            profile=profile,
            timeout=timeout,
        )


def _query(text: str | None, path: Path | None) -> str | None:
    """Return the text of a query, given or in a file. Raises UsageError."""
    if path is None:
        return text
    if text is not None:
        raise UsageError("--image-query and --image-query-file exclude each other; give one of them")
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"--image-query-file {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"--image-query-file {path} is not UTF-8") from error
