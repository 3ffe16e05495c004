"""Images that people have corrected, as labelled images: current corrections, joined with the files of the ledger."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import select

from cataloger.db import AnyRow, Database, row_pages
from cataloger.schema import SEEN, CorrectionRow, ItemRow, open_results, with_corrections, with_seen
from cataloger.sources import name_of
from cataloger.training.data.examples import DataProblem, Example
from cataloger.training.options import DataOptions
from cataloger.utils import clean_label

ROWS_PER_READ = 1000


@dataclass(frozen=True, slots=True)
class CorrectedExamples:
    """Corrections of images in files. examples: labelled images. no_product: those that show no product, by place."""

    examples: list[Example]
    no_product: dict[str, Example]
    problems: list[DataProblem]

    @property
    def all(self) -> list[Example]:
        """The labelled images and those that show no product."""
        return [*self.examples, *self.no_product.values()]


def read_corrections(options: DataOptions) -> CorrectedExamples:
    """Read the current corrections of images in files; a file that has changed since its correction is a problem.

    Of several corrections of one file, from several sources, the latest counts. Raises DatabaseError.
    """
    problems: list[DataProblem] = []
    assert options.db is not None
    with closing(open_results(options.db, schema=options.schema)) as database:
        latest = _latest(database, problems)
    groups = ("",) * len(options.report_by)
    traits = ("",) * len(options.traits)
    said = {
        place: Example(row.uri, path, _labels(row), "", groups, row.product_key or "", traits)
        for place, (row, path) in latest.items()
    }
    no_product = {place: example for place, example in said.items() if not example.labels}
    return CorrectedExamples([example for example in said.values() if example.labels], no_product, problems)


def mix(
    corrected: CorrectedExamples, others: Sequence[Example], *, takes_no_product: bool = False
) -> tuple[list[Example], list[DataProblem]]:
    """Return both, for training that must not forget the others, and which of the others are left out.

    For a file in both, the correction counts, and the file stays in its split. Where the others have splits, new
    files go to train. takes_no_product: keep what shows no product, without a label.
    """
    by_place = {_place(example.path): example for example in corrected.examples}
    if takes_no_product:
        by_place |= corrected.no_product
    mixed, problems, known = [], [], set()
    for example in others:
        known.add(place := _place(example.path))
        if place in corrected.no_product and place not in by_place:
            message = f"a correction says that it shows no product, the data says {' | '.join(example.labels)}"
            problems.append(DataProblem("no_product", example.file, message))
        else:
            mixed.append(replace(example, labels=by_place[place].labels) if place in by_place else example)
    split = "train" if any(example.split for example in others) else ""
    new = (replace(example, split=split) for place, example in by_place.items() if place not in known)
    return [*mixed, *new], problems


def _labels(row: AnyRow) -> tuple[str, ...]:
    return (clean_label(row.label),) if row.verdict == "label" else ()


def _latest(database: Database, problems: list[DataProblem]) -> dict[str, tuple[AnyRow, Path]]:
    """Return the latest correction of each file, by its place; note those that cannot be used."""
    latest: dict[str, tuple[AnyRow, Path]] = {}
    for row in _rows(database):
        path = Path(os.fsdecode(name_of(row.uri)))
        if problem := _problem(row, path):
            problems.append(problem)
            continue
        other, _ = latest.get(_place(path), (row, path))
        if (row.verdict, row.label) != (other.verdict, other.label):
            problems.append(
                DataProblem("older_word", row.uri, "two sources have different corrections for it; the latest counts")
            )
        if row.correction_id >= other.correction_id:
            latest[_place(path)] = row, path
    return latest


def _rows(database: Database) -> Iterator[AnyRow]:
    """Yield the current corrections of images that are not missing, with the hash of the bytes that people saw."""
    correction = (CorrectionRow.id.label("correction_id"), CorrectionRow.verdict, CorrectionRow.label)
    columns: tuple[Any, ...] = (ItemRow.uri, ItemRow.product_key, *correction, SEEN.content_hash)
    query = with_seen(with_corrections(select(*columns).select_from(ItemRow), only=True)).where(
        ItemRow.gone_run_id.is_(None), (CorrectionRow.verdict == "label") | ItemRow.uri.startswith("/")
    )
    for page in row_pages(database, query, ItemRow.id, ROWS_PER_READ):
        yield from page


def _problem(row: AnyRow, path: Path) -> DataProblem | None:
    """Return why a correction cannot be trained on. The inventory of all files reports those that cannot be read."""
    if not row.uri.startswith("/"):
        message = (
            "training reads files, and this image is not in a file: save it, and give a manifest with the labels of "
            "`cataloger corrections export` as DATA"
        )
        return DataProblem("no_image", row.uri, message)
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
    if row.content_hash not in (None, found):
        answer = row.label or row.verdict
        return DataProblem("changed_image", row.uri, f"the file has changed since it was corrected to {answer!r}")
    return None


def _place(path: Path) -> str:
    return os.path.realpath(path)
