"""From a source to labelled images that can be trained on: read, looked at, split, reported."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from cataloger.errors import TrainingError
from cataloger.options import PreprocessSpec
from cataloger.tabular import write_csv
from cataloger.training.curation.data_page import write_page
from cataloger.training.curation.data_report import DataReport, data_report, write_problems
from cataloger.training.curation.inventory import Inventory, take_inventory
from cataloger.training.curation.splitting import make_splits
from cataloger.training.data import SEPARATOR, DataProblem, LabelledImages, labels_of, read_dataset
from cataloger.training.options import DataOptions
from cataloger.utils import replacing

SPLITS_FILE = "splits.csv"


class Watcher(Protocol):
    """Receives the progress of the preparation."""

    def stage(self, name: str, total: int) -> None:
        """A stage begins; `total` steps are expected."""
        ...

    def advance(self, done: int) -> None:
        """`done` steps of the stage are behind us."""
        ...


@dataclass(frozen=True, slots=True)
class PreparedData:
    """dataset: readable images, each with a split. problems_file: all problems, None if there are none.

    page: the report for a browser.
    """

    dataset: LabelledImages
    report: DataReport
    splits_file: Path | None
    problems_file: Path | None
    page: Path

    def lines(self) -> Iterable[str]:
        """Yield the report in lines, and where the rest is."""
        yield from self.report.lines()
        if self.splits_file:
            yield f"data: the images were divided into splits; see {self.splits_file}"
        if self.problems_file:
            yield f"data: every problem is listed in {self.problems_file}"
        yield f"data: all of this is in {self.page}, for a browser"


def prepare_data(
    options: DataOptions, spec: PreprocessSpec, folder: Path, watcher: Watcher, *, examples: int = 0
) -> PreparedData:
    """Read a source, look at every file, make the splits that are missing, report.

    folder: keeps the inventory, the report as data.html, problems.csv and, where splits were made, splits.csv, a
    manifest with these splits. examples: images of each category in data.html.
    Raises TrainingError, OutputError, UsageError, DatabaseError or MissingExtraError.
    """
    dataset = read_dataset(options)
    if len(dataset.labels) < 2:
        raise TrainingError(f"{options.name} has {len(dataset.labels)} labels; a classifier needs at least two")
    if options.no_product is not None and len(dataset.products) == len(dataset.examples):
        asked = f"the label {options.no_product!r}" if options.no_product else "an empty label"
        raise TrainingError(f"--no-product: no image of {options.name} has {asked}")
    watcher.stage("looking at the images", len(dataset.examples))
    inventory = take_inventory(dataset.examples, spec, folder, watcher.advance)
    dataset, inventory = readable_only(dataset, inventory)
    split = make_splits(dataset, inventory, options.shares, options.seed)
    report = data_report(split, inventory)
    splits_file = None if split is dataset else _write(folder / SPLITS_FILE, split)
    page = write_page(split, report, options.name, folder, examples=examples)
    return PreparedData(split, report, splits_file, write_problems(report, folder), page)


def readable_only(dataset: LabelledImages, inventory: Inventory) -> tuple[LabelledImages, Inventory]:
    """Leave out the images that cannot be read, and name each. Raises TrainingError when none can be."""
    rows = inventory.readable()
    failed = [
        DataProblem("unreadable", dataset.examples[index].file, text) for index, text in inventory.failures.items()
    ]
    if not rows:
        raise TrainingError(
            f"none of {len(failed)} images could be read; the first: {failed[0].place}: {failed[0].message}"
        )
    examples = tuple(dataset.examples[index] for index in rows)
    return replace(dataset, examples=examples, problems=(*dataset.problems, *failed)), inventory.take(rows)


def _write(path: Path, dataset: LabelledImages) -> Path:
    """Write a manifest that gives these splits to `cataloger evaluate`, and to people."""
    rows = ((each.place, _cell(each.labels), each.split, each.product) for each in dataset.examples)
    with (
        replacing(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        write_csv(file, ("file", "labels", "split", "product"), rows)
    return path


def _cell(labels: Sequence[str]) -> str:
    """Return labels as a manifest has them: joined by "|", or as a JSON list if that would be read another way."""
    joined = SEPARATOR.join(labels)
    return joined if labels_of(joined) == tuple(labels) else json.dumps(labels, ensure_ascii=False)
