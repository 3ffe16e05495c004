"""`cataloger inspect`, and the flags by which commands are told where labelled images are."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cataloger.cli import options as flags
from cataloger.cli import render
from cataloger.errors import UsageError

if TYPE_CHECKING:
    from rich.progress import Progress

    from cataloger.training.data_report import DataReport
    from cataloger.training.preparation import Prepared

SOURCES = """DATA is one of
  photos/                  class folders: photos/<category>/..., or photos/train/<category>/..., val, test
  labels.csv               a manifest, also .tsv, .jsonl, .parquet: columns image, label and, if there are, split
                           and product_id; several labels that would be right are joined by "|"
  DeepFashion/             the Category and Attribute Prediction benchmark, as it is published
or, in its place, --db URL --query "select image, category, product_id from ..."."""

EXAMPLES = (
    """\b
Examples:
  cataloger inspect photos
  cataloger inspect labels.csv --images photos --json
  cataloger inspect --db postgresql://shop@db/shop --images photos \\
      --query "select image, category, product_id from products"

\b
"""  # noqa: S608
    f"{SOURCES}\n"
)

DataArgument = Annotated[
    Path | None,
    typer.Argument(metavar="DATA", help="Class folders, a manifest, or DeepFashion's lists.", show_default=False),
]
ImagesOption = Annotated[
    Path | None,
    typer.Option(
        "--images",
        envvar="CATALOGER_IMAGES",
        metavar="DIR",
        help="Folder that relative paths start at. Default: that of the manifest.",
    ),
]
DatabaseOption = Annotated[
    str | None,
    typer.Option("--db", envvar="CATALOGER_DB", metavar="URL", help="Database of --query, as a SQLAlchemy URL."),
]
QueryOption = Annotated[
    str | None,
    typer.Option(
        "--query",
        envvar="CATALOGER_QUERY",
        metavar="SQL",
        help="A SELECT of image, category and, if there is one, product_id.",
    ),
]
ImageColumnOption = Annotated[
    str | None,
    typer.Option(
        "--image-column",
        envvar="CATALOGER_IMAGE_COLUMN",
        metavar="NAME",
        help="Column of the paths. Default: image, file, path, filename or image_path.",
    ),
]
LabelColumnOption = Annotated[
    str | None,
    typer.Option(
        "--label-column",
        envvar="CATALOGER_LABEL_COLUMN",
        metavar="NAME",
        help="Column of the labels. Default: labels, label, category or class.",
    ),
]
SplitColumnOption = Annotated[
    str | None,
    typer.Option(
        "--split-column",
        envvar="CATALOGER_SPLIT_COLUMN",
        metavar="NAME",
        help="Column that says train, val or test. Default: split. If there is none, or with '', splits are made.",
    ),
]
ProductColumnOption = Annotated[
    str | None,
    typer.Option(
        "--product-column",
        envvar="CATALOGER_PRODUCT_COLUMN",
        metavar="NAME",
        help="Column of the product; its images stay together. Default: product_id, product, sku or group; '': none",
    ),
]
ReportByOption = Annotated[
    list[str] | None,
    typer.Option(
        "--report-by",
        envvar="CATALOGER_REPORT_BY",
        metavar="COLUMN",
        help="Also measure by this column of the labels.",
    ),
]
SharesOption = Annotated[
    str,
    typer.Option(
        "--shares",
        envvar="CATALOGER_SHARES",
        metavar="T,V,T",
        help="Shares of train, val, test, if splits are made.",
    ),
]
SeedOption = Annotated[int, typer.Option("--seed", envvar="CATALOGER_SEED", help="Same seed and data: same splits.")]


def inspect(
    data: DataArgument = None,
    images: ImagesOption = None,
    db: DatabaseOption = None,
    query: QueryOption = None,
    image_column: ImageColumnOption = None,
    label_column: LabelColumnOption = None,
    split_column: SplitColumnOption = None,
    product_column: ProductColumnOption = None,
    shares: SharesOption = "80,10,10",
    seed: SeedOption = 0,
    work: Annotated[
        Path,
        typer.Option(
            "--work",
            envvar="CATALOGER_WORK",
            metavar="DIR",
            help="Where to keep what was seen, problems.csv and, if splits were made, splits.csv.",
        ),
    ] = Path("inspect.work"),
    json_output: flags.JsonOption = False,
    no_progress: flags.NoProgressOption = False,
) -> None:
    """Look at labelled images before training: counts, splits, and whatever is wrong, by file name."""
    from cataloger.db.urls import DatabaseURL
    from cataloger.options import PreprocessSpec
    from cataloger.training.config import DataOptions
    from cataloger.training.preparation import prepare

    options = DataOptions(
        data=data,
        images=images,
        db=None if db is None else DatabaseURL.parse(db),
        query=query,
        image_column=image_column,
        label_column=label_column,
        split_column=split_column,
        product_column=product_column,
        shares=parse_shares(shares),
        seed=seed,
    )
    with render.progress_bar(enabled=not no_progress) as bar:
        prepared = prepare(options, PreprocessSpec(), work, _Watcher(bar))
    if json_output:
        render.print_json(prepared.report.as_json())
    else:
        _print_report(prepared)


def parse_shares(text: str) -> tuple[float, float, float]:
    """Read the shares of train, val and test, e.g. 80,10,10. Raises UsageError."""
    try:
        train, val, test = (float(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(f"--shares {text}: write three numbers for train, val and test, e.g. 80,10,10") from error
    return train, val, test


class _Watcher:
    """Shows a stage as a progress bar."""

    def __init__(self, bar: "Progress") -> None:
        self._bar = bar
        self._task = None if bar.disable else bar.add_task("reading the source", total=None, extra="")

    def stage(self, name: str, total: int) -> None:
        if self._task is not None:
            self._bar.reset(self._task, description=name, total=total)

    def advance(self, done: int) -> None:
        if self._task is not None:
            self._bar.update(self._task, completed=done)


def _print_report(prepared: "Prepared") -> None:
    console = render.stdout_console()
    console.print(_label_table(prepared.report))
    for line in prepared.lines():
        console.print(line, markup=False)


def _label_table(report: "DataReport") -> object:
    rows = [(label, *counts.values()) for label, counts in sorted(report.labels.items())]
    splits = tuple(report.splits)
    return render.table(("category", *splits), rows)
