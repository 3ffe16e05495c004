"""Images that people have corrected, as labelled images: their words, joined with the files that the ledger knows."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import Row, select

from cataloger.db.database import Database
from cataloger.db.models import Corrected, Correction, Item, Result
from cataloger.sources.names import name_of
from cataloger.training.config import DataOptions
from cataloger.training.labels import Example, Problem
from cataloger.training.rows import normal_label
from cataloger.training.stored_results import open_results

PAGE = 1000


def read_corrections(options: DataOptions) -> tuple[list[Example], list[Problem]]:
    """Read the labels that hold of images in files, as the files were when people spoke of them; others are named.

    Images that show no product are left out. Raises DatabaseError.
    """
    examples: list[Example] = []
    problems: list[Problem] = []
    groups = ("",) * len(options.report_by)
    with closing(open_results(str(options.db), schema=options.schema)) as database:
        for row in _words(database):
            path = Path(os.fsdecode(name_of(row.uri)))
            if problem := _problem(row, path):
                problems.append(problem)
            else:
                label = normal_label(row.label)
                examples.append(Example(row.uri, path, (label,), "", groups, row.product_key or ""))
    return examples, problems


def mix(corrected: Sequence[Example], others: Sequence[Example]) -> list[Example]:
    """Return both, for training that shall not forget the others.

    Of a file that is in both the word counts, and it stays in the split that it was in. Where the others have splits,
    what is new goes to train.
    """
    words = {_place(example.path): example for example in corrected}
    mixed = []
    for example in others:
        word = words.pop(_place(example.path), None)
        mixed.append(example if word is None else replace(example, labels=word.labels))
    split = "train" if any(example.split for example in others) else ""
    return [*mixed, *(replace(word, split=split) for word in words.values())]


def _words(database: Database) -> Iterator[Row[*tuple[Any, ...]]]:
    """Yield the labels that hold of images that are there, with the hash of the bytes that the person saw."""
    query = (
        select(Item.id, Item.uri, Item.product_key, Correction.label, Result.content_hash)
        .join(Corrected, Corrected.item_id == Item.id)
        .join(Correction, Correction.id == Corrected.correction_id)
        .join(Result, Result.id == Correction.result_id, isouter=True)
        .where(Correction.verdict == "label", Item.gone_run_id.is_(None))
        .order_by(Item.id)
        .limit(PAGE)
    )
    last = 0
    while rows := database.run(
        lambda connection: connection.execute(query.where(Item.id > last)).all(),  # noqa: B023 (run at once)
        read_only=True,
    ):
        yield from rows
        last = rows[-1].id


def _problem(row: Row[*tuple[Any, ...]], path: Path) -> Problem | None:
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
        return Problem("changed_image", row.uri, f"the file is another one than the one called {row.label!r}")
    return None


def _place(path: Path) -> str:
    return os.path.realpath(path)
