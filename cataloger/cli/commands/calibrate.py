"""`cataloger calibrate`: recompute a model's calibration, without training."""

from typing import TYPE_CHECKING, Annotated

import typer

from cataloger.cli import data_flags, flags, render
from cataloger.cli.labelled_data import counter, read_labelled
from cataloger.errors import TrainingError
from cataloger.model import BundlePlace, read_bundle, resolve_bundle_path

if TYPE_CHECKING:
    from cataloger.model import Bundle
    from cataloger.training.calibration import Coverage

EXAMPLES = """\b
Examples:
  cataloger calibrate labels.csv --images photos --model models/shop --output models/shop-98 --target-precision 0.98
  cataloger recalibrate --db sqlite:///catalog.db --model models/shop-98

Use at least a hundred labelled images that the model was not trained on, similar to those it will tag.
"""

FEW = 100


def calibrate(
    labels: flags.LabelsArgument,
    output: Annotated[str, flags.bundle_output("; may be that of --model")],
    images: data_flags.ImagesOption = None,
    object_root: data_flags.ObjectRootOption = None,
    allow_private: data_flags.AllowPrivateOption = False,
    model: Annotated[
        str,
        typer.Option("--model", envvar="CATALOGER_MODEL", metavar="DIR|NAME@VERSION|default", help="Model bundle."),
    ] = "default",
    target_precision: flags.TargetPrecisionOption = 0.95,
    split: Annotated[
        str | None, typer.Option("--split", help="Rows to calibrate on. Default: val, or all rows if there are none.")
    ] = None,
    json_output: flags.JsonOption = False,
    no_progress: flags.NoProgressOption = False,
) -> None:
    """Fit a model's confidences to your own labelled images.

    Computes its temperature, its thresholds and its limit for unknown images, without training. The decision for a
    result is then accept, review or abstain; of the accepted ones, the share --target-precision is right. The
    network stays the same: `cataloger recalibrate` updates a database without reading an image.
    """
    place = BundlePlace(output)
    from cataloger.training.calibration import write_recalibrated

    bundle = read_bundle(resolve_bundle_path(model))
    data = read_labelled(labels, images, bundle=bundle, object_root=object_root, allow_private=allow_private)
    present = {example.split for example in data.examples}
    chosen = split or ("val" if "val" in present else "all")
    examples = data.products if chosen == "all" else data.split(chosen)
    if not examples:
        raise TrainingError(f"{labels} has no row with split {chosen!r}; choose another with --split")
    with place.folder() as folder, render.progress_bar(enabled=not no_progress) as bar:
        progress = counter(bar, "classifying")(len(examples))
        calibrated, coverage = write_recalibrated(
            bundle, examples, folder, target=target_precision, progress=progress
        )
        place.store(folder)
    _print(calibrated, coverage, chosen, json_output=json_output)
    if not json_output:
        render.stderr_console().print(
            f"wrote {place}: `cataloger recalibrate --db URL --model {place}` updates a database", markup=False
        )


def _print(bundle: "Bundle", coverage: "Coverage", split: str, *, json_output: bool) -> None:
    if json_output:
        calibration = {"calibration_id": bundle.calibration_id, **bundle.calibration.to_json()}
        render.print_json({"model": bundle.title, "split": split, **calibration, "measured": coverage.as_json()})
        return
    thresholds = bundle.calibration.thresholds
    rows = [
        (label, f"{thresholds[label]:.3f}" if label in thresholds else "never accepted") for label in bundle.labels
    ]
    console = render.stdout_console()
    console.print(render.table(("category", "accepted from"), rows))
    where = f"on {coverage.images:,} images, in {bundle.precision}"
    console.print(f"temperature {bundle.temperature:.3f}; {where}: {coverage.line()}")
    if coverage.images < FEW:
        render.stderr_console().print(f"{coverage.images} images are few for a calibration: use {FEW} or more")
