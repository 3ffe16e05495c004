"""`cataloger tag`."""

from typing import Annotated

import typer

from cataloger.cli import flags, render, source_flags
from cataloger.cli.run_command import is_catalog_wanted, signalled, watched
from cataloger.cli.source_flags import ObjectRootOption
from cataloger.options import DEFAULT_DB, ClusterOptions, RunOptions, SelectionOptions, Shard, WebOptions
from cataloger.signals import Reporter, SignalOptions

EXAMPLES = """\b
Examples:
  cataloger tag photos
  cataloger tag photos new/dress.jpg --db sqlite:///catalog.db --output catalog.csv
  cataloger tag products.csv --path-column photo --db postgresql://shop@db/catalog
  cataloger tag feed.csv --path-column "Image Src" --product-column Handle
  cataloger tag s3://shop-photos/2026
  cataloger tag products_export.csv --preset shopify
  cataloger tag photos --labels Shirt,Jeans,Skirt,Dress
  cataloger tag photos --dry-run

Run the same command again to continue after an interruption, or to tag only new and changed images.
"""


def tag(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH",
            help="Folders, images, manifests (.csv, .jsonl), addresses of images, or s3://, gs://, az://.",
        ),
    ],
    db: flags.DbOption = DEFAULT_DB,
    schema: flags.SchemaOption = None,
    model: flags.ModelOption = None,
    output: flags.OutputOption = None,
    path_column: flags.ColumnOption = None,
    product_column: flags.ProductColumnOption = None,
    object_root: ObjectRootOption = None,
    preset: flags.ManifestPresetOption = None,
    labels: flags.SoldLabelsOption = None,
    exclude_labels: flags.ExcludeLabelsOption = None,
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
    exclude: flags.ExcludeOption = None,
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
    """Tag images: folders, files, manifests, web and object stores.

    The five best categories per image, with calibrated confidences, go to a database. Folders are searched
    recursively. Unchanged images are skipped, so that a run can be repeated every night.
    """
    render.set_up_logging(verbose=verbose, quiet=quiet, form=log_format)
    from cataloger import api
    from cataloger.db import DatabaseURL
    from cataloger.engine import TagOptions
    from cataloger.presets import file_format

    reporter = Reporter("tag", SignalOptions(metrics, on_failure, notify, notify_secret))
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
        options = TagOptions(
            paths=tuple(paths),
            db=DatabaseURL.parse(db),
            schema=schema,
            model=model,
            output=output,
            path_column=path_column,
            product_column=product_column,
            object_roots=tuple(object_root or ()),
            preset=None if preset is None else file_format(preset),
            selection=SelectionOptions(labels, exclude_labels),
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
                exclude=tuple(exclude or ()),
                engine=engine,
                cluster=ClusterOptions(ray_address, ray_workers, cpus_per_worker, gpus_per_worker),
                shard=None if shard is None else Shard.parse(shard),
                count_catalog=is_catalog_wanted(reporter),
            ),
        )
        show = not (quiet or no_progress)
        watched(
            lambda tell, stop: api.tag(options, on_progress=tell, stop=stop),
            progress=show,
            quiet=quiet,
            json=json_output,
            profile=profile,
            timeout=timeout,
        )
