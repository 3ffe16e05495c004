"""Images that people have corrected, as labelled images: their words, joined with the files that the ledger knows."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import select

from cataloger.db.database import Database
from cataloger.db.held import SEEN, with_seen, with_words
from cataloger.db.models import Correction, Item
from cataloger.db.paging import row_pages
from cataloger.db.types import AnyRow
from cataloger.schema import open_results
from cataloger.sources.names import name_of
from cataloger.training.config import DataOptions
from cataloger.training.labels import Example, Problem
from cataloger.training.rows import normal_label

ROWS_PER_READ = 1000


@dataclass(frozen=True, slots=True)
class Spoken:
    """What people have said. examples: labelled images. no_product: places of files that show no product."""

    examples: list[Example]
    no_product: frozenset[str]
    problems: list[Problem]


def read_corrections(options: DataOptions) -> Spoken:
    """Read the words that hold of images in files, as the files were when people spoke of them; others are named.

    Of words on one file, which several sources may have, the latest counts. Raises DatabaseError.
    """
    problems: list[Problem] = []
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
    return Spoken(examples, no_product, problems)


def mix(spoken: Spoken, others: Sequence[Example]) -> tuple[list[Example], list[Problem]]:
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
            problems.append(Problem("no_product", example.file, message))
        else:
            mixed.append(replace(example, labels=words[place].labels) if place in words else example)
    split = "train" if any(example.split for example in others) else ""
    new = (replace(word, split=split) for place, word in words.items() if place not in known)
    return [*mixed, *new], problems


def _latest(database: Database, problems: list[Problem]) -> dict[str, tuple[AnyRow, Path]]:
    """Return the latest word on each file, by its place; note what cannot be used."""
    latest: dict[str, tuple[AnyRow, Path]] = {}
    for row in _words(database):
        path = Path(os.fsdecode(name_of(row.uri)))
        if problem := _problem(row, path):
            problems.append(problem)
            continue
        other, _ = latest.get(_place(path), (row, path))
        if (row.verdict, row.label) != (other.verdict, other.label):
            problems.append(Problem("older_word", row.uri, "two sources have words on it; the latest counts"))
        if row.correction_id >= other.correction_id:
            latest[_place(path)] = row, path
    return latest


def _words(database: Database) -> Iterator[AnyRow]:
    """Yield the words that hold of images that are there, with the hash of the bytes that the person saw."""
    word = (Correction.id.label("correction_id"), Correction.verdict, Correction.label)
    columns: tuple[Any, ...] = (Item.uri, Item.product_key, *word, SEEN.content_hash)
    query = with_seen(with_words(select(*columns).select_from(Item), only=True)).where(
        Item.gone_run_id.is_(None), (Correction.verdict == "label") | Item.uri.startswith("/")
    )
    for page in row_pages(database, query, Item.id, ROWS_PER_READ):
        yield from page


def _problem(row: AnyRow, path: Path) -> Problem | None:
    """Say why a word cannot be trained on. A file that cannot be read is told when all files are looked at."""
    if not row.uri.startswith("/"):
        message = (
            "training reads files, and this image is in none: save it, and give a manifest with the labels of "
            "`cataloger corrections export` as DATA"
        )
        return Problem("no_image", row.uri, message)
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
    if row.content_hash not in (None, found):
        said = row.label or row.verdict
        return Problem("changed_image", row.uri, f"the file is another one than the one called {said!r}")
    return None


def _place(path: Path) -> str:
    return os.path.realpath(path)
