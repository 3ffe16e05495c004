"""`cataloger train`."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cataloger.cli import data_flags, flags, render
from cataloger.cli.extras import require_train_extra
from cataloger.cli.run_command import require_folder
from cataloger.model import BundlePlace, default_bundle_path, resolve_bundle_path
from cataloger.options import Attention

if TYPE_CHECKING:
    from rich.progress import Progress

    from cataloger.training.metrics import MetricsReport

EXAMPLES = f"""\b
Examples:
  cataloger train photos --output models/shop
  cataloger train labels.csv --images photos --output models/shop
  cataloger train photos --from-corrections --db sqlite:///catalog.db --start models/shop --output models/next
  cataloger tag photos --model models/shop

Run the same command again to continue after an interruption.

\b
{data_flags.SOURCES}
"""


def train(
    output: Annotated[str, flags.bundle_output()],
    data: data_flags.DataArgument = None,
    images: data_flags.ImagesOption = None,
    object_root: data_flags.ObjectRootOption = None,
    allow_private: data_flags.AllowPrivateOption = False,
    db: data_flags.DatabaseOption = None,
    query: data_flags.QueryOption = None,
    from_corrections: Annotated[
        bool,
        typer.Option(
            "--from-corrections",
            help="Train on the corrections in --db; with DATA on both, which keeps more of the old knowledge.",
        ),
    ] = False,
    schema: flags.SchemaOption = None,
    image_column: data_flags.ImageColumnOption = None,
    label_column: data_flags.LabelColumnOption = None,
    split_column: data_flags.SplitColumnOption = None,
    product_column: data_flags.ProductColumnOption = None,
    no_product: data_flags.NoProductOption = None,
    report_by: data_flags.ReportByOption = None,
    shares: data_flags.SharesOption = "80,10,10",
    start: Annotated[
        str,
        typer.Option(
            "--start",
            envvar="CATALOGER_START",
            metavar="DIR|FILE",
            help="Bundle, or safetensors of the backbone, to start from.",
        ),
    ] = "default",
    work: Annotated[
        Path | None,
        typer.Option(
            "--work",
            envvar="CATALOGER_WORK",
            metavar="DIR",
            help="Feature cache and checkpoints. Default: OUTPUT.work, of an output in a store here; may be deleted "
            "afterwards.",
        ),
    ] = None,
    name: Annotated[str, typer.Option("--name", help="Name of the model.")] = "catalog",
    version: Annotated[str, typer.Option("--version", help="Version of the model.")] = "1",
    recipe: Annotated[
        str,
        typer.Option(
            "--recipe",
            envvar="CATALOGER_RECIPE",
            metavar="auto|quick|full|paper",
            help="quick trains the last layers on cached features, full all layers; paper repeats the paper.",
        ),
    ] = "auto",
    epochs: Annotated[
        int | None,
        typer.Option("--epochs", min=1, help="Largest number of passes over the images. Default: the recipe's."),
    ] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", min=2, help="Images per step.")] = None,
    learning_rate: Annotated[float | None, typer.Option("--learning-rate", help="Highest learning rate.")] = None,
    patience: Annotated[
        int | None,
        typer.Option("--patience", min=1, help="Stop after this number of epochs without a better result."),
    ] = None,
    balance: Annotated[
        float | None,
        typer.Option(
            "--balance",
            min=0.0,
            max=1.0,
            help="0: images as they are; 1: all categories equally often.",
        ),
    ] = None,
    balance_by: Annotated[
        list[str] | None,
        typer.Option(
            "--balance-by",
            metavar="COLUMN[=VALUE:SHARE,..]",
            help="Draw training images by a column: each value by the square root of its images, or by the shares"
            " given. May be repeated.",
        ),
    ] = None,
    select_by: Annotated[
        str | None,
        typer.Option(
            "--select-by",
            metavar="COLUMN=VALUE[,..]",
            help="Choose the best epoch by the validation images with this value, e.g. source=shops.",
        ),
    ] = None,
    views: Annotated[
        int | None,
        typer.Option("--views", min=1, help="quick, paper: cached copies per image, all but one augmented."),
    ] = None,
    augmentation: Annotated[
        str | None,
        typer.Option(
            "--augmentation",
            metavar="light|strong",
            help="strong also changes backgrounds, margins and sharpness, for photos of unknown shops.",
        ),
    ] = None,
    progressive: Annotated[
        float | None,
        typer.Option(
            "--progressive",
            min=0.0,
            help="full: share of the steps, from the start, on smaller images, which take half the time.",
        ),
    ] = None,
    plain_epochs: Annotated[
        int | None,
        typer.Option(
            "--plain-epochs",
            min=0,
            help="full: number of the last epochs with light augmentation and without --mixup.",
        ),
    ] = None,
    mixup: Annotated[
        float | None,
        typer.Option(
            "--mixup", min=0.0, help="Mix pairs of images and their labels; 0.2 is usual, 0 mixes none. Default: 0."
        ),
    ] = None,
    average_last: Annotated[
        float | None,
        typer.Option(
            "--average-last",
            min=0.0,
            max=1.0,
            help="Average the weights of this share of the steps, the last ones, in place of a moving average.",
        ),
    ] = None,
    soft_labels: Annotated[
        Path | None,
        typer.Option(
            "--soft-labels",
            metavar="CSV",
            help="file,label,probability: what another model, a teacher, says of training images.",
        ),
    ] = None,
    soft_share: Annotated[
        float | None,
        typer.Option(
            "--soft-share",
            min=0.0,
            max=1.0,
            help="Share of --soft-labels in the loss of an image that has them. Default: 0.5.",
        ),
    ] = None,
    attention: Annotated[
        Attention | None,
        typer.Option(
            "--attention",
            help="Attention behind the last convolutions, in front of them, or none. Default: as in --start.",
        ),
    ] = None,
    blend: Annotated[
        float,
        typer.Option(
            "--blend",
            min=0.0,
            help="Interpolate the weights towards the start's by this share, which keeps accuracy on other photos.",
        ),
    ] = 0.0,
    target_precision: flags.TargetPrecisionOption = 0.95,
    device: flags.DeviceOption = "auto",
    seed: Annotated[int, typer.Option("--seed", help="Same seed, data and machine: same weights.")] = 0,
    notes: Annotated[
        Path | None, typer.Option("--notes", metavar="FILE", help="Markdown to put into the model card.")
    ] = None,
    json_output: flags.JsonOption = False,
    no_progress: flags.NoProgressOption = False,
) -> None:
    """Train a model on your own categories.

    Fine-tunes the network and exports a model bundle. With --recipe quick the early layers are not changed and their
    output is cached, so that a small machine needs only minutes.
    """
    require_train_extra("`cataloger train`")
    place = BundlePlace(output)
    require_folder(work, "--work")
    from cataloger.db import DatabaseURL
    from cataloger.training.fit import train_model as run_training
    from cataloger.training.options import ColumnShares, ColumnValues, DataOptions, TrainOptions

    balanced = tuple(ColumnShares.parse(text) for text in balance_by or ())
    selected = None if select_by is None else ColumnValues.parse(select_by)
    traits = [each.column for each in balanced] + ([selected.column] if selected else [])
    options = TrainOptions(
        data=DataOptions(
            data=data,
            images=images,
            db=None if db is None else DatabaseURL.parse(db),
            query=query,
            image_column=image_column,
            label_column=label_column,
            split_column=split_column,
            product_column=product_column,
            report_by=tuple(report_by or ()),
            shares=data_flags.parse_shares(shares),
            seed=seed,
            corrections=from_corrections,
            schema=schema,
            traits=tuple(dict.fromkeys(traits)),
            no_product=no_product,
            object_roots=tuple(object_root or ()),
            allow_private=allow_private,
        ),
        output=Path(),
        work=work or place.beside(".work"),
        start=_start_path(start),
        name=name,
        version=version,
        recipe=recipe,
        changes={
            name: value
            for name, value in {
                "epochs": epochs,
                "batch_size": batch_size,
                "learning_rate": learning_rate,
                "patience": patience,
                "balance": balance,
                "views": views,
                "augmentation": augmentation,
                "progressive": progressive,
                "plain_epochs": plain_epochs,
                "mixup": mixup,
                "average_last": average_last,
                "soft_share": soft_share,
            }.items()
            if value is not None
        },
        device=device,
        seed=seed,
        blend=blend,
        notes=notes,
        target_precision=target_precision,
        balance_by=balanced,
        select_by=selected,
        attention=attention,
        soft_labels=soft_labels,
    )
    with place.folder(options.work) as folder, render.progress_bar(enabled=not no_progress) as bar:
        trained = run_training(replace(options, output=folder), _ProgressListener(bar))
        if trained is None:
            return  # another process of a distributed run writes the results
        place.store(folder)
    _warn_unreadable(trained.failures)
    _print_reports(trained.reports, json_output=json_output)
    if trained.page is not None:
        render.stderr_console().print(f"wrote {trained.page}: the evaluation, for a browser", markup=False)
    render.stderr_console().print(f"wrote {place}: use it with `cataloger tag PATH --model {place}`", markup=False)


class _ProgressListener:
    """Shows the stages of training as one progress bar each."""

    def __init__(self, bar: "Progress") -> None:
        self._bar = bar
        self._task = None if bar.disable else bar.add_task("starting", total=None, extra="")

    def stage(self, name: str, total: int) -> None:
        if self._task is not None:
            self._bar.reset(self._task, description=name, total=total)

    def advance(self, done: int) -> None:
        if self._task is not None:
            self._bar.update(self._task, completed=done)

    def note(self, text: str) -> None:
        self._bar.console.print(text, markup=False)


def _start_path(start: str) -> Path:
    if start == "default":
        return default_bundle_path()
    path = Path(start)
    return path if path.is_file() else resolve_bundle_path(start)


def _warn_unreadable(failures: tuple[str, ...]) -> None:
    console = render.stderr_console()
    for failure in failures[:10]:
        console.print(f"left out: {failure}", markup=False)
    if len(failures) > 10:
        console.print(f"left out: {len(failures) - 10} more images")


def _print_reports(reports: "dict[str, MetricsReport]", *, json_output: bool) -> None:
    from cataloger.training.evaluation import FIGURES, figures_row, reports_json

    if json_output:
        render.print_json(reports_json(reports))
    elif reports:
        rows = [figures_row(name, report) for name, report in reports.items()]
        render.stdout_console().print(render.table(FIGURES, rows))
