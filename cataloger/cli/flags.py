"""The flags that several commands share."""

from pathlib import Path
from typing import Annotated, Any

import typer

from cataloger.contracts import TOP_K
from cataloger.options import ClusterOptions, Device, EngineChoice, PrecisionChoice, RunOptions, WebOptions
from cataloger.signals import LogFormat

DEFAULTS = RunOptions()
WEB = WebOptions()
CLUSTER = ClusterOptions()

DbOption = Annotated[
    str,
    typer.Option(
        "--db",
        envvar="CATALOGER_DB",
        metavar="URL",
        help="Database, e.g. sqlite:///catalog.db or postgresql://user@host/name.",
        show_default=True,
    ),
]
SchemaOption = Annotated[
    str | None,
    typer.Option(
        "--schema",
        envvar="CATALOGER_SCHEMA",
        metavar="NAME",
        help="Database schema of cataloger's own tables (PostgreSQL).",
    ),
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        envvar="CATALOGER_MODEL",
        metavar="DIR|NAME@VERSION|default",
        help="Model bundle: a folder, also of an object store (s3://BUCKET/PREFIX), or one that comes with cataloger "
        "(`models list`). Default: the one that the source was first tagged with, else 'default'.",
    ),
]
BundleOption = Annotated[
    str | None,
    typer.Option(
        "--model", envvar="CATALOGER_MODEL", metavar="DIR|default", help="Model bundle. Default: the shipped one."
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", envvar="CATALOGER_JSON", help="Print the result as JSON on stdout.")
]
VerboseOption = Annotated[
    int,
    typer.Option(
        "--verbose",
        "-v",
        count=True,
        help="Name each image that fails, on stderr; -vv: say of each image what is done with it, step by step.",
    ),
]
LogFormatOption = Annotated[
    LogFormat,
    typer.Option(
        "--log-format",
        envvar="CATALOGER_LOG_FORMAT",
        help="What goes to stderr: text for people, or one JSON object a line, without exception.",
    ),
]
MetricsOption = Annotated[
    Path | None,
    typer.Option(
        "--metrics",
        envvar="CATALOGER_METRICS",
        metavar="FILE",
        help="Write the figures of the run to this file when it has ended, in the text format of Prometheus.",
    ),
]
OnFailureOption = Annotated[
    str | None,
    typer.Option(
        "--on-failure",
        envvar="CATALOGER_ON_FAILURE",
        metavar="CMD",
        help="Command of the shell to run when the exit status is neither 0 nor 130; its stdin is a summary in JSON.",
    ),
]
NotifyOption = Annotated[
    str | None,
    typer.Option(
        "--notify",
        envvar="CATALOGER_NOTIFY",
        metavar="URL",
        help="Send a summary in JSON to this web address when the run has ended; needs --notify-secret.",
    ),
]
NotifySecretOption = Annotated[
    str | None,
    typer.Option(
        "--notify-secret",
        envvar="CATALOGER_NOTIFY_SECRET",
        metavar="env:NAME|file:PATH",
        help="Where the secret is that signs what --notify sends.",
    ),
]
TimeoutOption = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        envvar="CATALOGER_TIMEOUT",
        metavar="SECONDS",
        help="Stop after this time, as after Ctrl-C, with exit status 3; the same command goes on from there.",
    ),
]
QuietOption = Annotated[
    bool,
    typer.Option(
        "--quiet",
        "-q",
        envvar="CATALOGER_QUIET",
        help="No summary, no progress bar; only problems, on stderr.",
    ),
]
NoProgressOption = Annotated[
    bool, typer.Option("--no-progress", envvar="CATALOGER_NO_PROGRESS", help="No progress bar.")
]
PrecisionOption = Annotated[
    PrecisionChoice,
    typer.Option(
        "--precision",
        envvar="CATALOGER_PRECISION",
        help="Arithmetic of the model. auto: int8 on a CPU, if the model has it, which is faster; else fp32.",
    ),
]
DeviceOption = Annotated[
    Device,
    typer.Option("--device", envvar="CATALOGER_DEVICE", help="Where the model runs."),
]
ProfileOption = Annotated[
    Path | None,
    typer.Option(
        "--profile",
        envvar="CATALOGER_PROFILE",
        metavar="FILE",
        help="JSON file for a profile: what the run waited for, and where the processor time went.",
    ),
]
ColumnOption = Annotated[
    str | None,
    typer.Option(
        "--path-column",
        envvar="CATALOGER_PATH_COLUMN",
        metavar="NAME",
        help="Column of a manifest that holds the paths. Default: path, file, image, filename or image_path.",
    ),
]
ProductColumnOption = Annotated[
    str | None,
    typer.Option(
        "--product-column",
        envvar="CATALOGER_PRODUCT_COLUMN",
        metavar="NAME",
        help="Column of a manifest that names the product of an image.",
    ),
]
ManifestPresetOption = Annotated[
    str | None,
    typer.Option(
        "--preset",
        metavar="shopify|FILE.toml",
        help="Whose files the manifests are. It knows their columns: shopify reads an export of its products "
        "(`cataloger presets show shopify`).",
    ),
]
OutputOption = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        envvar="CATALOGER_OUTPUT",
        metavar="FILE",
        help="Also write the current result of every image to this file: .jsonl, .csv or .parquet; "
        "also s3://BUCKET/KEY.csv and the like.",
    ),
]
TopKOption = Annotated[
    int,
    typer.Option("--top-k", envvar="CATALOGER_TOP_K", min=1, max=TOP_K, help="Categories per image."),
]
BatchSizeOption = Annotated[
    int,
    typer.Option(
        "--batch-size",
        envvar="CATALOGER_BATCH_SIZE",
        min=0,
        help="Images classified together; 0: 4 on a CPU, 128 on a GPU.",
    ),
]
WorkersOption = Annotated[
    int,
    typer.Option("--workers", envvar="CATALOGER_WORKERS", min=0, help="Decoding processes; 0: one per processor."),
]
EngineOption = Annotated[
    EngineChoice,
    typer.Option(
        "--engine", envvar="CATALOGER_ENGINE", help="local: this machine alone; ray: the workers of a Ray cluster."
    ),
]
RayAddressOption = Annotated[
    str,
    typer.Option(
        "--ray-address",
        envvar="CATALOGER_RAY_ADDRESS",
        metavar="local|auto|HOST:PORT",
        help="Cluster of --engine ray. local: a private one on this machine; auto: the one that it belongs to.",
    ),
]
RayWorkersOption = Annotated[
    int,
    typer.Option(
        "--ray-workers", envvar="CATALOGER_RAY_WORKERS", min=0, help="Workers of --engine ray; 0: as many as fit."
    ),
]
CpusPerWorkerOption = Annotated[
    int,
    typer.Option("--cpus-per-worker", envvar="CATALOGER_CPUS_PER_WORKER", min=1, help="Processors of each worker."),
]
GpusPerWorkerOption = Annotated[
    float,
    typer.Option(
        "--gpus-per-worker", envvar="CATALOGER_GPUS_PER_WORKER", min=0.0, help="GPUs of each worker, e.g. 1 or 0.25."
    ),
]
ShardOption = Annotated[
    str | None,
    typer.Option(
        "--shard",
        envvar="CATALOGER_SHARD",
        metavar="NUMBER/COUNT",
        help="Work on one of COUNT parts of each source, beside runs that have the others, e.g. 2/8.",
    ),
]
LimitOption = Annotated[
    int | None, typer.Option("--limit", envvar="CATALOGER_LIMIT", min=1, help="Tag at most this number of images.")
]
ForAdaptingOption = Annotated[
    int | None,
    typer.Option(
        "--for-adapting",
        metavar="COUNT",
        min=1,
        help="So many images of one source whose labels teach `cataloger adapt` most, best first.",
    ),
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show what would be done; write nothing.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Also tag unchanged images again.")]
RetryFailedOption = Annotated[
    bool, typer.Option("--retry-failed", help="Try permanent failures again, e.g. damaged files.")
]
MaxFailureRateOption = Annotated[
    float,
    typer.Option(
        "--max-failure-rate",
        envvar="CATALOGER_MAX_FAILURE_RATE",
        min=0.0,
        max=1.0,
        help="Exit status 3 if a larger share of the attempted images fails.",
    ),
]
ForgetOption = Annotated[
    bool,
    typer.Option(
        "--forget",
        envvar="CATALOGER_FORGET",
        help="Delete, for good, what is missing from the source, with its results and corrections.",
    ),
]
AcceptMoveOption = Annotated[
    bool,
    typer.Option(
        "--accept-move",
        envvar="CATALOGER_ACCEPT_MOVE",
        help="Continue although this looks like a known source, or image root, that was moved.",
    ),
]
AcceptMissingOption = Annotated[
    bool,
    typer.Option(
        "--accept-missing",
        envvar="CATALOGER_ACCEPT_MISSING",
        help="Take missing images as deleted, even when most of a folder or host are missing.",
    ),
]
FollowLinksOption = Annotated[
    bool,
    typer.Option(
        "--follow-links",
        envvar="CATALOGER_FOLLOW_LINKS",
        help="Also read symbolic links that lead out of the folder or image root.",
    ),
]
ExcludeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude",
        envvar="CATALOGER_EXCLUDE",
        metavar="GLOB",
        help="Leave out files and folders of this name, or with a / of this path, e.g. @eaDir; may be repeated.",
    ),
]
SoldLabelsOption = Annotated[
    str | None,
    typer.Option(
        "--labels",
        envvar="CATALOGER_LABELS",
        metavar="FILE|A,B,C",
        help="The categories that the shop sells; all others can be no answer. Kept with the source; 'all' ends it.",
    ),
]
ExcludeLabelsOption = Annotated[
    str | None,
    typer.Option(
        "--exclude-labels",
        envvar="CATALOGER_EXCLUDE_LABELS",
        metavar="FILE|A,B,C",
        help="Categories that the shop does not sell. Kept with the source; 'none' ends it.",
    ),
]


def bundle_output(also: str = "") -> Any:
    """Return the option that says where a new bundle goes. also: what its help says besides."""
    text = f"Directory of the new bundle, also in an object store (s3://BUCKET/PREFIX){also}."
    return typer.Option("--output", "-o", metavar="DIR", help=text)


LabelsArgument = Annotated[
    Path, typer.Argument(metavar="LABELS", help="Labelled images: a manifest, class folders or DeepFashion's lists.")
]
TargetPrecisionOption = Annotated[
    float,
    typer.Option(
        "--target-precision",
        envvar="CATALOGER_TARGET_PRECISION",
        help="Share of the accepted results that must be right.",
    ),
]
SplitOption = Annotated[
    str | None,
    typer.Option("--split", help="train, val, test or all. Default: test, or all if the labels name no split."),
]
