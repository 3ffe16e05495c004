"""`cataloger train` and `cataloger evaluate`."""

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cataloger.bundle import default_bundle_path, read_bundle, resolve_bundle_path
from cataloger.cli import dataset, render
from cataloger.cli import options as flags
from cataloger.errors import MissingExtraError, TrainingError

if TYPE_CHECKING:
    from rich.progress import Progress

    from cataloger.training.metrics import Report

TRAIN_EXAMPLES = f"""\b
Examples:
  cataloger train photos --output models/shop
  cataloger train labels.csv --images photos --output models/shop
  cataloger tag photos --model models/shop

Run the same command again to go on after an interruption.

\b
{dataset.SOURCES}
"""

EVALUATE_EXAMPLES = """\b
Examples:
  cataloger evaluate --labels labels.csv --images photos
  cataloger evaluate --labels labels.csv --images photos --model models/shop --report-by source --json
"""

LabelsOption = Annotated[
    Path,
    typer.Option("--labels", envvar="CATALOGER_LABELS", metavar="CSV", help="Labels: columns file, labels, split."),
]
ImagesOption = Annotated[
    Path,
    typer.Option("--images", envvar="CATALOGER_IMAGES", metavar="DIR", help="Folder that `file` is relative to."),
]


def train(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Directory of the new bundle.")],
    data: dataset.DataArgument = None,
    images: dataset.ImagesOption = None,
    db: dataset.DatabaseOption = None,
    query: dataset.QueryOption = None,
    image_column: dataset.ImageColumnOption = None,
    label_column: dataset.LabelColumnOption = None,
    split_column: dataset.SplitColumnOption = None,
    product_column: dataset.ProductColumnOption = None,
    report_by: dataset.ReportByOption = None,
    shares: dataset.SharesOption = "80,10,10",
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
            help="Feature cache and checkpoints. Default: OUTPUT.work; may be deleted afterwards.",
        ),
    ] = None,
    name: Annotated[str, typer.Option("--name", help="Name of the model.")] = "catalog",
    version: Annotated[str, typer.Option("--version", help="Version of the model.")] = "1",
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Passes over the training images.")] = 6,
    views: Annotated[
        int, typer.Option("--views", min=1, help="Cached copies of an image, all but one augmented.")
    ] = 2,
    seed: Annotated[int, typer.Option("--seed", help="Same seed, data and machine: same weights.")] = 0,
    notes: Annotated[
        Path | None, typer.Option("--notes", metavar="FILE", help="Markdown to put into the model card.")
    ] = None,
    json_output: flags.JsonOption = False,
    no_progress: flags.NoProgressOption = False,
) -> None:
    """Fine-tune the network on your own categories and export a model bundle.

    The early layers stay as they are and their output is cached, so that minutes are enough on a small machine.
    """
    _require_train_extra()
    from cataloger.training.config import DataOptions, TrainOptions
    from cataloger.training.recipe import train as run_training

    options = TrainOptions(
        data=DataOptions(
            data=data,
            images=images,
            db=db,
            query=query,
            image_column=image_column,
            label_column=label_column,
            split_column=split_column,
            product_column=product_column,
            report_by=tuple(report_by or ()),
            shares=dataset.parse_shares(shares),
            seed=seed,
        ),
        output=output,
        work=work or output.with_name(output.name + ".work"),
        start=_start_path(start),
        name=name,
        version=version,
        epochs=epochs,
        views=views,
        seed=seed,
        notes=notes,
    )
    with render.progress_bar(enabled=not no_progress) as bar:
        trained = run_training(options, _ProgressListener(bar))
    _warn_unreadable(trained.failures)
    _print_reports(trained.reports, json_output=json_output)
    render.stderr_console().print(f"wrote {output}: use it with `cataloger tag PATH --model {output}`")


def evaluate(
    labels: LabelsOption,
    images: ImagesOption,
    model: Annotated[
        str, typer.Option("--model", envvar="CATALOGER_MODEL", metavar="DIR|default", help="Model bundle.")
    ] = "default",
    split: Annotated[str, typer.Option("--split", help="Which rows to measure on.")] = "test",
    report_by: dataset.ReportByOption = None,
    json_output: flags.JsonOption = False,
    no_progress: flags.NoProgressOption = False,
) -> None:
    """Measure a model on labelled images: top-1, top-5, macro F1, calibration error, recall, with 95% intervals."""
    from cataloger.training import evaluate as evaluation
    from cataloger.training.labels import read_labels

    bundle = read_bundle(resolve_bundle_path(model))
    examples = read_labels(labels, images, report_by=report_by or ()).split(split)
    if not examples:
        raise TrainingError(f"{labels} has no row with split {split!r}")
    with render.progress_bar(enabled=not no_progress) as bar:
        listener = _ProgressListener(bar)
        listener.stage("classifying", len(examples))
        scored = evaluation.score(bundle, examples, progress=listener.advance)
    _warn_unreadable(scored.failures)
    _print_reports(evaluation.report(bundle, scored), json_output=json_output)


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


def _require_train_extra() -> None:
    for module in ("torch", "torchvision", "safetensors", "onnx", "onnxscript", "imagehash", "scipy"):
        if importlib.util.find_spec(module) is None:
            raise MissingExtraError("train", "`cataloger train`")


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


def _print_reports(reports: "dict[str, Report]", *, json_output: bool) -> None:
    from cataloger.training.evaluate import markdown_tables, reports_json

    if json_output:
        render.print_json(reports_json(reports))
    elif reports:
        typer.echo(markdown_tables(reports))
