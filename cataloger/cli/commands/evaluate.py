"""`cataloger evaluate`: how good a model is, or the results in a database, by labels."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cataloger.cli import data_flags, flags, render
from cataloger.cli.labelled_data import counter, read_labelled
from cataloger.cli.print_evaluation import print_evaluation
from cataloger.cli.run_command import open_results, require_folder
from cataloger.errors import UsageError
from cataloger.model import read_bundle, resolve_bundle_path
from cataloger.options import DEFAULT_DB

if TYPE_CHECKING:
    from cataloger.training.data import LabelledImages
    from cataloger.training.evaluation import EvaluateOptions, Evaluation

EXAMPLES = """\b
Examples:
  cataloger evaluate labels.csv --images photos
  cataloger evaluate labels.csv --images photos --model models/shop --output report
  cataloger evaluate labels.csv --images photos --split all --report-by season --json
  cataloger evaluate labels.csv --results sqlite:///catalog.db
  cataloger evaluate --corrections --db sqlite:///catalog.db

labels.csv has the columns file (relative to --images) and labels, and optionally split. Several accepted labels of
one image are joined by "|". With --results nothing is classified: a result is found by the path of its image, by its
address on the web, or by its key, which is the path below the tagged folder.
"""


def evaluate(
    labels: Annotated[
        Path | None,
        typer.Argument(metavar="LABELS", help="Labelled images: a manifest, class folders or DeepFashion's lists."),
    ] = None,
    images: data_flags.ImagesOption = None,
    object_root: data_flags.ObjectRootOption = None,
    allow_private: data_flags.AllowPrivateOption = False,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            envvar="CATALOGER_MODEL",
            metavar="DIR|NAME@VERSION|default",
            help="Model bundle; default: the shipped one. With --results it must be the one that gave them.",
        ),
    ] = None,
    precision: flags.PrecisionOption = flags.DEFAULTS.precision,
    results: Annotated[
        str | None,
        typer.Option("--results", metavar="URL", help="Measure the results in this database; classify nothing."),
    ] = None,
    corrections: Annotated[
        bool,
        typer.Option("--corrections", help="Measure the results in --db by the corrections of people."),
    ] = False,
    db: flags.DbOption = DEFAULT_DB,
    source: Annotated[
        str | None,
        typer.Option(
            "--source",
            metavar="NAME",
            help="Only this source of --results or --corrections, as `cataloger sources list` names it.",
        ),
    ] = None,
    schema: flags.SchemaOption = None,
    split: flags.SplitOption = None,
    report_by: data_flags.ReportByOption = None,
    group_column: data_flags.GroupColumnOption = None,
    fold: data_flags.FoldOption = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="Also write report.html, report.json and charts (PNG) to this folder.",
        ),
    ] = None,
    mistakes: Annotated[
        int, typer.Option("--mistakes", min=0, help="Number of most confident mistakes to list.")
    ] = 50,
    json_output: flags.JsonOption = False,
    no_progress: flags.NoProgressOption = False,
) -> None:
    """Measure a model, or results in a database, by labels.

    Shows where it is wrong: top-1, top-3, top-5, F1, precision and recall of each class, confusions, calibration,
    accuracy without the uncertain images, and the most confident mistakes, which may be wrong labels. Intervals are
    over images and, where the labels say what belongs together, over groups, e.g. shops.
    """
    if corrections:
        if report_by or any(each is not None for each in (labels, results, output, split)):
            raise UsageError(
                "--corrections measures the results in --db: leave out LABELS, --results, --output, --split and "
                "--report-by"
            )
        _print_reviewed(db, schema, source, json_output=json_output)
        return
    if labels is None:
        raise UsageError(
            "give the labelled images as LABELS, or --corrections to measure by the corrections of people"
        )
    require_folder(output, "--output")
    from cataloger.training.evaluation import EvaluateOptions, evaluate_bundle, read_fold_map

    folds = read_fold_map(fold) if fold is not None else None
    options = EvaluateOptions(labels=labels, split=split, mistakes=mistakes, fold=folds)
    if output is not None:
        from cataloger.training.evaluation import require_page_extra

        require_page_extra()
    bundle = None
    if results is None:
        bundle = read_bundle(resolve_bundle_path(model or "default"), check=()).at(precision)
    data = read_labelled(
        labels,
        images,
        report_by or (),
        group_column=group_column,
        bundle=bundle,
        object_root=object_root,
        allow_private=allow_private,
    )
    with render.progress_bar(enabled=not no_progress) as bar:
        if results is None:
            assert bundle is not None
            if source is not None or schema is not None:
                raise UsageError("--source and --schema need --results, the database to measure")
            evaluation = evaluate_bundle(bundle, data, options, begin=counter(bar, "classifying"))
        elif precision != "auto":
            raise UsageError("--precision is for classifying images; --results measures stored results")
        else:
            evaluation = _of_results(results, schema, source, model, data, options)
    if json_output:
        render.print_json(evaluation.as_json())
    else:
        print_evaluation(evaluation)
    if output is not None:
        from cataloger.training.evaluation import write_report

        write_report(evaluation, output)
        render.stderr_console().print(f"wrote {output}: open {output / 'report.html'} in a browser", markup=False)


def _print_reviewed(url: str, schema: str | None, source: str | None, *, json_output: bool) -> None:
    from cataloger.cli.print_reviewed import print_reviewed
    from cataloger.training.evaluation import read_reviewed

    with open_results(url, schema) as database:
        reviewed = read_reviewed(database, source=source)
    if json_output:
        render.print_json(reviewed.as_json())
    else:
        print_reviewed(reviewed)


def _of_results(
    url: str,
    schema: str | None,
    source: str | None,
    model: str | None,
    data: "LabelledImages",
    options: "EvaluateOptions",
) -> "Evaluation":
    from cataloger.training.evaluation import evaluate_results

    with open_results(url, schema) as database:
        evaluation = evaluate_results(database, data, options, source=source)
    if model is not None and model != "pinned":
        wanted = read_bundle(resolve_bundle_path(model), check=())
        subject = evaluation.subject
        if wanted.weights_id != subject.weights_id:
            raise UsageError(
                f"the results in {subject.results} are of {subject.model}, not of {wanted.title}: "
                "leave --model out, or leave --results out to classify the images"
            )
    return evaluation
