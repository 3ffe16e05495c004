"""Images that people have corrected, as labelled images: current corrections, joined with the ledger's images."""

import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Select, or_, select

from cataloger.db import AnyRow, Database, row_pages
from cataloger.ledger import last_table
from cataloger.objects import OBJECT_SCHEMES, ObjectRoots, is_object_address, read_address
from cataloger.records import StoredObject
from cataloger.schema import SEEN, CorrectionRow, ItemRow, SourceRow, open_results, with_corrections, with_seen
from cataloger.sources import name_of
from cataloger.training.data.examples import DataProblem, Example, WebImage
from cataloger.training.data.objects import hashes_of
from cataloger.training.options import DataOptions
from cataloger.utils import clean_label

ROWS_PER_READ = 1000
WEB_SCHEMES = ("http", "https")
ELSEWHERE = (
    "training reads no images in a column of a database: save it, and give a manifest with the labels of `cataloger "
    "corrections export` as DATA"
)


@dataclass(frozen=True, slots=True)
class CorrectedExamples:
    """Corrections of images in files, object stores and on the web. examples: labelled images.

    no_product: those that show no product, by place.
    """

    examples: list[Example]
    no_product: dict[str, Example]
    problems: list[DataProblem]

    @property
    def all(self) -> list[Example]:
        """The labelled images and those that show no product."""
        return [*self.examples, *self.no_product.values()]


def read_corrections(options: DataOptions) -> CorrectedExamples:
    """Read the current corrections of images; one that has changed since its correction is a problem.

    Of several corrections of one image, from several sources, the latest counts. Raises DatabaseError, and
    MissingExtraError where images lie in object stores.
    """
    problems: list[DataProblem] = []
    assert options.db is not None
    with closing(open_results(options.db, schema=options.schema)) as database:
        latest = _latest(database, options, problems)
    said = {place: example for place, (_, example) in latest.items()}
    no_product = {place: example for place, example in said.items() if not example.labels}
    return CorrectedExamples([example for example in said.values() if example.labels], no_product, problems)


def mix(
    corrected: CorrectedExamples, others: Sequence[Example], *, takes_no_product: bool = False
) -> tuple[list[Example], list[DataProblem]]:
    """Return both, for training that must not forget the others, and which of the others are left out.

    For a file in both, the correction counts, and the file stays in its split. Where the others have splits, new
    files go to train. takes_no_product: keep what shows no product, without a label.
    """
    by_place = {_place(example): example for example in corrected.examples}
    if takes_no_product:
        by_place |= corrected.no_product
    mixed, problems, known = [], [], set()
    for example in others:
        known.add(place := _place(example))
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


def _latest(
    database: Database, options: DataOptions, problems: list[DataProblem]
) -> dict[str, tuple[AnyRow, Example]]:
    """Return the latest correction of each image, by its place; note those that cannot be used."""
    latest: dict[str, tuple[AnyRow, Example]] = {}
    for row, example in _unchanged(_placed(database, options, problems), problems):
        place = _place(example)
        other, _ = latest.get(place, (row, example))
        if (row.verdict, row.label) != (other.verdict, other.label):
            problems.append(
                DataProblem("older_word", row.uri, "two sources have different corrections for it; the latest counts")
            )
        if row.correction_id >= other.correction_id:
            latest[place] = row, example
    return latest


def _placed(
    database: Database, options: DataOptions, problems: list[DataProblem]
) -> Iterator[tuple[AnyRow, Example]]:
    """Yield the corrections of images in files, object stores and on the web; note the others."""
    groups, traits = ("",) * len(options.report_by), ("",) * len(options.traits)
    roots: dict[int, ObjectRoots] = {}
    for row in _rows(database):
        example = Example(row.uri, None, _labels(row), "", groups, row.product_key or "", traits)
        if row.uri.startswith("/"):
            yield row, replace(example, path=Path(os.fsdecode(name_of(row.uri))))
            continue
        if row.uri.partition("://")[0].lower() in WEB_SCHEMES:
            yield row, replace(example, web=WebImage(row.uri, options.allow_private))
            continue
        found = _object(database, row, roots) if is_object_address(row.uri) else ELSEWHERE
        if isinstance(found, str):
            problems.append(DataProblem("no_image", row.uri, found))
        else:
            yield row, replace(example, stored=found)


def _object(database: Database, row: AnyRow, roots: dict[int, ObjectRoots]) -> StoredObject | str:
    """Return the object of an image; as a text, why it is not read.

    One of a table must lie below a root of its newest run.
    """
    try:
        address = read_address(row.uri)
    except ValueError as error:
        return str(error)
    if row.kind == "table" and row.source_id not in roots:
        recorded = database.fetch(last_table, row.source_id) or {}
        roots[row.source_id] = ObjectRoots(recorded.get("object_roots") or ())
    if row.kind == "table" and not roots[row.source_id].contain(address):
        return "the object lies below no --object-root of the last run over its table"
    return StoredObject(address.store, address.key)


def _rows(database: Database) -> Iterator[AnyRow]:
    """Yield the current corrections of images that are not missing, with the hash of the bytes that people saw."""
    correction = (CorrectionRow.id.label("correction_id"), CorrectionRow.verdict, CorrectionRow.label)
    place: tuple[Any, ...] = (ItemRow.uri, ItemRow.product_key, ItemRow.source_id, SourceRow.kind)
    query: Select[Any] = select(*place, *correction, SEEN.content_hash).join_from(ItemRow, SourceRow)
    schemes = (*OBJECT_SCHEMES, *WEB_SCHEMES)
    is_read = (ItemRow.uri.startswith(start) for start in ("/", *(f"{scheme}://" for scheme in schemes)))
    query = with_seen(with_corrections(query, only=True)).where(
        ItemRow.gone_run_id.is_(None), or_(CorrectionRow.verdict == "label", *is_read)
    )
    for page in row_pages(database, query, ItemRow.id, ROWS_PER_READ):
        yield from page


def _unchanged(
    placed: Iterator[tuple[AnyRow, Example]], problems: list[DataProblem]
) -> Iterator[tuple[AnyRow, Example]]:
    """Yield those whose bytes are the ones that people saw; note the others.

    Those that cannot be read are yielded: the inventory of all images reports them.
    """
    rows = list(placed)
    hashes = hashes_of([example for _, example in rows])
    for (row, example), found in zip(rows, hashes, strict=True):
        if found is None or row.content_hash in (None, found):
            yield row, example
            continue
        what, answer = "image" if example.path is None else "file", row.label or row.verdict
        problems.append(
            DataProblem("changed_image", row.uri, f"the {what} has changed since it was corrected to {answer!r}")
        )


def _place(example: Example) -> str:
    return example.place if example.path is None else os.path.realpath(example.path)
