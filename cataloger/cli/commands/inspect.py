"""`cataloger inspect`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cataloger.cli import data_flags, flags, render
from cataloger.cli.run_command import require_folder

if TYPE_CHECKING:
    from rich.progress import Progress

    from cataloger.training.curation import DataReport, PreparedData

EXAMPLES = (
    """\b
Examples:
  cataloger inspect photos
  cataloger inspect labels.csv --images photos --json
  cataloger inspect --db postgresql://shop@db/shop --images photos \\
      --query "select image, category, product_id from products"

\b
"""  # noqa: S608
    f"{data_flags.SOURCES}\n"
)

EXAMPLE_IMAGES = 6
"""Of each category on the page."""


def inspect(
    data: data_flags.DataArgument = None,
    images: data_flags.ImagesOption = None,
    object_root: data_flags.ObjectRootOption = None,
    allow_private: data_flags.AllowPrivateOption = False,
    db: data_flags.DatabaseOption = None,
    query: data_flags.QueryOption = None,
    image_column: data_flags.ImageColumnOption = None,
    label_column: data_flags.LabelColumnOption = None,
    split_column: data_flags.SplitColumnOption = None,
    product_column: data_flags.ProductColumnOption = None,
    no_product: data_flags.NoProductOption = None,
    shares: data_flags.SharesOption = "80,10,10",
    seed: data_flags.SeedOption = 0,
    work: Annotated[
        Path,
        typer.Option(
            "--work",
            envvar="CATALOGER_WORK",
            metavar="DIR",
            help="Folder for the cache, data.html, problems.csv and, if splits were made, splits.csv.",
        ),
    ] = Path("inspect.work"),
    json_output: flags.JsonOption = False,
    no_progress: flags.NoProgressOption = False,
) -> None:
    """Check labelled images before training.

    Shows how many there are, their splits, and problems by file name. data.html shows the same in a browser, with
    some images of each category.
    """
    require_folder(work, "--work")
    from cataloger.db import DatabaseURL
    from cataloger.options import PreprocessSpec
    from cataloger.training.curation import prepare_data
    from cataloger.training.options import DataOptions

    options = DataOptions(
        data=data,
        images=images,
        db=None if db is None else DatabaseURL.parse(db),
        query=query,
        image_column=image_column,
        label_column=label_column,
        split_column=split_column,
        product_column=product_column,
        shares=data_flags.parse_shares(shares),
        seed=seed,
        no_product=no_product,
        object_roots=tuple(object_root or ()),
        allow_private=allow_private,
    )
    with render.progress_bar(enabled=not no_progress) as bar:
        prepared = prepare_data(options, PreprocessSpec(), work, _Watcher(bar), examples=EXAMPLE_IMAGES)
    if json_output:
        render.print_json(prepared.report.as_json())
    else:
        _print_report(prepared)


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


def _print_report(prepared: "PreparedData") -> None:
    console = render.stdout_console()
    console.print(_label_table(prepared.report))
    for line in prepared.lines():
        console.print(line, markup=False)


def _label_table(report: "DataReport") -> object:
    rows = [(label, *counts.values()) for label, counts in sorted(report.labels.items())]
    splits = tuple(report.splits)
    return render.table(("category", *splits), rows)
