"""`cataloger models`: list, show, verify, keep, compare and quantize models."""

from pathlib import Path
from typing import Annotated, Any

import typer

from cataloger.cli import data_flags, flags, render
from cataloger.cli.extras import require_train_extra
from cataloger.cli.groups import make_group
from cataloger.cli.labelled_data import counter, read_labelled
from cataloger.cli.print_evaluation import print_model_diff
from cataloger.model import (
    MANIFEST,
    Bundle,
    BundlePlace,
    default_bundle_path,
    kept_bundle_paths,
    location_of,
    read_bundle,
    resolve_bundle_path,
)

app = make_group("Models: list, show, verify, labels, keep, diff, quantize.")

KEEP_EXAMPLES = """\b
Examples:
  cataloger models keep default models/before-upgrade
  cataloger sync --db sqlite:///shop.db --table products --id sku --image file --model models/before-upgrade

An upgrade replaces the default model. With a copy, a source can stay with it for as long as you like.
"""

LABELS_EXAMPLES = """\b
Examples:
  cataloger models labels > codes.csv
  cataloger models labels default --label-map codes.csv > new-codes.csv
  cataloger models labels --taxonomy google > codes.csv

Write your own codes into the column code, or `ignore` where the shop does not sell a label; then give the file to
`cataloger sync --label-map`.
"""

DIFF_EXAMPLES = """\b
Examples:
  cataloger models diff default models/shop labels.csv --images photos
  cataloger models diff models/may models/june labels.csv --images photos --split all --json

  cataloger models diff fashion-39@0.3 default labels.csv --fold fold.csv --report-by source --precision int8

Models with different categories are compared on the images that both can answer. --fold lets a newer category count
as the older one that its images had before, for labels that were made then.
"""

QUANTIZE_EXAMPLES = """\b
Examples:
  cataloger models quantize models/shop labels.csv --images photos --output models/shop
  cataloger models quantize models/shop labels.csv --images photos --output models/shop --train
  cataloger evaluate labels.csv --images photos --model models/shop --precision int8

Use the labels that the model was trained with: int8 is calibrated on the train images and checked on the val images.
"""

ModelArgument = Annotated[str, typer.Argument(metavar="[DIR|NAME@VERSION|default]", help="Directory of a bundle.")]


@app.command("list")
def list_models(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(metavar="DIR", help="Folders that hold bundles; default: models."),
    ] = None,
    json_output: flags.JsonOption = False,
) -> None:
    """List the models of cataloger, and those in the given folders."""
    bundles = [read_bundle(path, check=()) for path in (default_bundle_path(), *kept_bundle_paths())]
    for folder in folders or [Path("models")]:
        bundles += [read_bundle(path.parent, check=()) for path in sorted(folder.glob(f"*/{MANIFEST}"))]
    if json_output:
        render.print_json([_summary(bundle) for bundle in bundles])
        return
    rows = [(b.title, len(b.labels), b.weights_id[:12], _place(b)) for b in bundles]
    render.stdout_console().print(render.table(("model", "labels", "weights", "where"), rows))


@app.command()
def show(model: ModelArgument = "default", json_output: flags.JsonOption = False) -> None:
    """Show a model: labels, preprocessing, calibration, results."""
    bundle = read_bundle(resolve_bundle_path(model), check=())
    if json_output:
        render.print_json(bundle.to_json())
        return
    rows = [(name.replace("_", " "), _text(value)) for name, value in _summary(bundle).items()]
    rows += [
        ("precisions", ", ".join(bundle.precisions)),
        ("preprocess", _text(bundle.to_json()["preprocess"])),
        ("network", _text(bundle.to_json()["network"])),
    ]
    render.stdout_console().print(render.table(("", ""), rows))


@app.command()
def verify(model: ModelArgument = "default", json_output: flags.JsonOption = False) -> None:
    """Check the files of a model, and what it computes here.

    Every file is compared with its hash, the models with the weights, and the golden images are classified on this
    machine. A copy that leaves these out classifies one image of noise: whether its answers are finite is all that
    can be told.
    """
    from cataloger.inference import answers_noise, verify_model
    from cataloger.model import check_files, check_side_files

    bundle = read_bundle(resolve_bundle_path(model))
    check_files(bundle, bundle.files)
    check_side_files(bundle)
    of_precisions = list(map(bundle.at, bundle.precisions))
    for each in of_precisions if bundle.left_out else ():
        answers_noise(each)
    checked = [] if bundle.left_out else [(each, verify_model(each)) for each in of_precisions]
    if json_output:
        differences = {each.precision: result.difference for each, result in checked}
        unchecked = {each.precision: list(result.unchecked) for each, result in checked}
        found = {"model": bundle.title, "verified": True, "largest_difference": differences, "unchecked": unchecked}
        render.print_json({**found, "left_out": sorted(bundle.left_out)})
        return
    if bundle.left_out:
        typer.echo(
            f"{bundle.title}: {len(bundle.files)} files as they were exported, and each model answers; this copy "
            f"leaves out {', '.join(sorted(bundle.left_out))}, so that its answers cannot be compared"
        )
    for each, result in checked:
        typer.echo(
            f"{bundle.title}: {len(bundle.files)} files as they were exported; the golden images give the same "
            f"logits in {each.precision}: largest difference {result.difference:.1e}, allowed {each.tolerance:.0e}"
        )
        for line in result.unchecked:
            typer.echo(f"{bundle.title} in {each.precision}: {line}")


@app.command("labels", epilog=LABELS_EXAMPLES)
def list_labels(
    model: ModelArgument = "default",
    label_map: Annotated[
        Path | None,
        typer.Option("--label-map", metavar="FILE", help="Take the codes over that this map has already."),
    ] = None,
    taxonomy: Annotated[
        str | None,
        typer.Option("--taxonomy", metavar="google|shopify", help="Fill in the ids and paths of this taxonomy."),
    ] = None,
    json_output: flags.JsonOption = False,
) -> None:
    """Print a label map for a model, to be filled in.

    It is CSV with a line for each label of the model.
    """
    from cataloger.ledger import label_map_lines, read_label_map
    from cataloger.taxonomy import merged_codes, taxonomy_codes

    bundle = read_bundle(resolve_bundle_path(model), check=())
    if json_output:
        render.print_json(list(bundle.labels))
        return
    known = read_label_map(label_map) if label_map else []
    if taxonomy:
        known = merged_codes(known, taxonomy_codes(taxonomy, bundle.labels))
    for line in label_map_lines(bundle.labels, known):
        typer.echo(line)


@app.command(epilog=KEEP_EXAMPLES)
def keep(
    model: Annotated[str, typer.Argument(metavar="DIR|NAME@VERSION|default", help="Bundle to copy.")],
    target: Annotated[
        str,
        typer.Argument(metavar="TARGET", help="Directory of the copy, also in an object store (s3://BUCKET/PREFIX)."),
    ],
    slim: Annotated[
        bool,
        typer.Option(
            "--slim",
            help="Leave out training weights and golden images; of models that came with cataloger.",
        ),
    ] = False,
    json_output: flags.JsonOption = False,
) -> None:
    """Copy a model, each file checked.

    Sources can go on with a copy when an upgrade replaces the default model.
    """
    from cataloger.model import keep_bundle

    place, bundle = BundlePlace(target, "TARGET"), read_bundle(resolve_bundle_path(model))
    place.require_none_but(bundle)
    with place.folder() as folder:
        kept = keep_bundle(bundle, folder, slim=slim)
        place.store(folder)
    if json_output:
        found = {"model": kept.title, "path": str(place), "weights_id": kept.weights_id}
        render.print_json({**found, "left_out": sorted(kept.left_out)})
    else:
        typer.echo(f"{kept.title} is kept in {place}: use it with --model {place}")


@app.command(epilog=DIFF_EXAMPLES)
def diff(
    before: Annotated[str, typer.Argument(metavar="A", help="Bundle: a directory, or 'default'.")],
    after: Annotated[str, typer.Argument(metavar="B", help="The bundle to compare with it.")],
    labels: flags.LabelsArgument,
    images: data_flags.ImagesOption = None,
    object_root: data_flags.ObjectRootOption = None,
    allow_private: data_flags.AllowPrivateOption = False,
    split: flags.SplitOption = None,
    report_by: data_flags.ReportByOption = None,
    group_column: data_flags.GroupColumnOption = None,
    fold: data_flags.FoldOption = None,
    precision: flags.PrecisionOption = "fp32",
    examples: Annotated[int, typer.Option("--examples", min=0, help="Number of images to list, of each kind.")] = 20,
    json_output: flags.JsonOption = False,
    no_progress: flags.NoProgressOption = False,
) -> None:
    """Compare two models on labelled images.

    Shows what got better or worse, and whether it may be chance, on the images that both can answer; those that only
    one can are counted apart.
    """
    from cataloger.training.evaluation import EvaluateOptions, choose_split, compare_bundles, read_fold_map

    folds = read_fold_map(fold) if fold is not None else None
    options = EvaluateOptions(labels=labels, split=split)
    a, b = (read_bundle(resolve_bundle_path(model), check=()).at(precision) for model in (before, after))
    data = read_labelled(
        labels,
        images,
        report_by or (),
        group_column=group_column,
        bundle=b,
        object_root=object_root,
        allow_private=allow_private,
    )
    _, chosen = choose_split(data, options)
    with render.progress_bar(enabled=not no_progress) as bar:
        begin = counter(bar, "classifying")
        difference = compare_bundles(a, b, chosen, begin=begin, number=examples, fold=folds)
    if json_output:
        render.print_json(difference.as_json())
    else:
        print_model_diff(difference)


@app.command(epilog=QUANTIZE_EXAMPLES)
def quantize(
    model: Annotated[str, typer.Argument(metavar="DIR|NAME@VERSION|default", help="Directory of a bundle.")],
    labels: flags.LabelsArgument,
    output: Annotated[str, flags.bundle_output("; may be that of MODEL")],
    images: data_flags.ImagesOption = None,
    object_root: data_flags.ObjectRootOption = None,
    allow_private: data_flags.AllowPrivateOption = False,
    train: Annotated[
        bool,
        typer.Option(
            "--train",
            help="Train the network with simulated integers first, so that more layers can be in int8, often all.",
        ),
    ] = False,
    report_by: data_flags.ReportByOption = None,
    json_output: flags.JsonOption = False,
    no_progress: flags.NoProgressOption = False,
) -> None:
    """Add an int8 model to a bundle, about twice as fast on a CPU.

    It is refused unless its results match fp32. At least 98% of the val images must keep their best label, top-1
    may fall by at most 0.005, and the calibration error may change by at most 0.005. The most sensitive layers stay
    in floating point, as many as that needs; --train makes them fewer. Without it the model in fp32 stays as it is;
    with it the weights become integers in fp32, too, and the model is calibrated and measured anew.
    """
    require_train_extra("`cataloger models quantize`")
    place = BundlePlace(output)
    from cataloger.training.export import quantize_bundle as add_int8

    bundle = read_bundle(resolve_bundle_path(model))
    data = read_labelled(
        labels, images, report_by or (), bundle=bundle, object_root=object_root, allow_private=allow_private
    )
    with place.folder() as folder, render.progress_bar(enabled=not no_progress) as bar:
        found = add_int8(bundle, data, folder, train=train, note=lambda text: bar.console.print(text, markup=False))
        place.store(folder)
    if json_output:
        render.print_json({"model": found.bundle.title, **found.facts()})
        return
    rows = [(layer, f"{value:.3f}", "fp32" if layer in found.kept else "int8") for layer, value in found.ranked()]
    console = render.stdout_console()
    console.print(render.table(("layer, most sensitive first", "changes a logit by", "computed in"), rows))
    console.print(found.gate.line(), markup=False)
    fp32, int8 = found.milliseconds
    console.print(f"{int8:.1f} ms of processor time per image, fp32 {fp32:.1f}")
    render.stderr_console().print(f"wrote {place}", markup=False)


def _place(bundle: Bundle) -> str:
    """Return what --model calls a bundle."""
    where = location_of(bundle)
    return where if where in ("default", bundle.reference) else str(bundle.path)


def _summary(bundle: Bundle) -> dict[str, Any]:
    return {
        "name": bundle.name,
        "version": bundle.version,
        "path": str(bundle.path),
        "weights_id": bundle.weights_id,
        "calibration_id": bundle.calibration_id,
        "temperature": bundle.temperature,
        "labels": list(bundle.labels),
    }


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(part)}" for name, part in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
