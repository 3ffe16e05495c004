"""Images that people have corrected, as labelled images: their words, joined with the files that the ledger knows."""

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
from cataloger.training.data.columns import normal_label
from cataloger.training.data.examples import DataProblem, Example
from cataloger.training.options import DataOptions

ROWS_PER_READ = 1000


@dataclass(frozen=True, slots=True)
class CorrectedExamples:
    """What people have said. examples: labelled images. no_product: places of files that show no product."""

    examples: list[Example]
    no_product: frozenset[str]
    problems: list[DataProblem]


def read_corrections(options: DataOptions) -> CorrectedExamples:
    """Read the words that hold of images in files, as the files were when people spoke of them; others are named.

    Of words on one file, which several sources may have, the latest counts. Raises DatabaseError.
    """
    problems: list[DataProblem] = []
    assert options.db is not None
    with closing(open_results(options.db, schema=options.schema)) as database:
        latest = _latest(database, problems)
    groups = ("",) * len(options.report_by)
    examples = [
        Example(row.uri, path, (normal_label(row.label),), "", groups, row.product_key or "")
        for row, path in latest.values()
        if row.verdict == "label"
    ]
    no_product = frozenset(place for place, (row, _) in latest.items() if row.verdict != "label")
    return CorrectedExamples(examples, no_product, problems)


def mix(spoken: CorrectedExamples, others: Sequence[Example]) -> tuple[list[Example], list[DataProblem]]:
    """Return both, for training that shall not forget the others, and what of the others is left out.

    Of a file that is in both the word counts, and it stays in the split that it was in. Where the others have splits,
    what is new goes to train.
    """
    words = {_place(example.path): example for example in spoken.examples}
    mixed, problems, known = [], [], set()
    for example in others:
        known.add(place := _place(example.path))
        if place in spoken.no_product:
            message = f"a person says that it shows no product, the data {' | '.join(example.labels)}"
            problems.append(DataProblem("no_product", example.file, message))
        else:
            mixed.append(replace(example, labels=words[place].labels) if place in words else example)
    split = "train" if any(example.split for example in others) else ""
    new = (replace(word, split=split) for place, word in words.items() if place not in known)
    return [*mixed, *new], problems


def _latest(database: Database, problems: list[DataProblem]) -> dict[str, tuple[AnyRow, Path]]:
    """Return the latest word on each file, by its place; note what cannot be used."""
    latest: dict[str, tuple[AnyRow, Path]] = {}
    for row in _words(database):
        path = Path(os.fsdecode(name_of(row.uri)))
        if problem := _problem(row, path):
            problems.append(problem)
            continue
        other, _ = latest.get(_place(path), (row, path))
        if (row.verdict, row.label) != (other.verdict, other.label):
            problems.append(DataProblem("older_word", row.uri, "two sources have words on it; the latest counts"))
        if row.correction_id >= other.correction_id:
            latest[_place(path)] = row, path
    return latest


def _words(database: Database) -> Iterator[AnyRow]:
    """Yield the words that hold of images that are there, with the hash of the bytes that the person saw."""
    word = (CorrectionRow.id.label("correction_id"), CorrectionRow.verdict, CorrectionRow.label)
    columns: tuple[Any, ...] = (ItemRow.uri, ItemRow.product_key, *word, SEEN.content_hash)
    query = with_seen(with_corrections(select(*columns).select_from(ItemRow), only=True)).where(
        ItemRow.gone_run_id.is_(None), (CorrectionRow.verdict == "label") | ItemRow.uri.startswith("/")
    )
    for page in row_pages(database, query, ItemRow.id, ROWS_PER_READ):
        yield from page


def _problem(row: AnyRow, path: Path) -> DataProblem | None:
    """Say why a word cannot be trained on. A file that cannot be read is told when all files are looked at."""
    if not row.uri.startswith("/"):
        message = (
            "training reads files, and this image is in none: save it, and give a manifest with the labels of "
            "`cataloger corrections export` as DATA"
        )
        return DataProblem("no_image", row.uri, message)
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
    if row.content_hash not in (None, found):
        said = row.label or row.verdict
        return DataProblem("changed_image", row.uri, f"the file is another one than the one called {said!r}")
    return None


def _place(path: Path) -> str:
    return os.path.realpath(path)
