"""Results that `cataloger tag` or `sync` has put into a database, joined with labels; nothing is classified.

A labelled image and a result belong together when the result's `uri` is the image's path, or is `file` as the labels
have it (a URL without its query), or its `key` is `file`: the path below the root of its source, or what identifies
the image in a table. Where several results fit, the one by `uri` is taken.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from sqlalchemy import Connection, select

from cataloger.contracts import TOP_K
from cataloger.db import AnyRow, Database
from cataloger.errors import TrainingError, UsageError
from cataloger.ledger import source_model
from cataloger.schema import ANSWER, ItemRow, ModelRow, ResultRow, SourceRow, select_current
from cataloger.sources import key_of
from cataloger.training.data import Example
from cataloger.training.metrics import NOT_RANKED, Predictions
from cataloger.utils import without_query

ROWS_PER_FETCH = 5000
NAMED = 20
BY_PATH, BY_KEY = 0, 1


@dataclass(frozen=True, slots=True)
class StoredResults:
    """Results of labelled images, row by row as `examples`. model: name and version. sources: their names.
    calibration_id: that the sources have; None where they differ in it.

    failures: labelled images whose result is a failure, one line each. without_result: files of the labels that the
    database does not contain. unlabelled: results without a label; unlabelled_keys: some of these.
    """

    model: str
    weights_id: str
    calibration_id: str | None
    sources: tuple[str, ...]
    examples: tuple[Example, ...]
    predictions: Predictions
    failures: tuple[str, ...]
    without_result: tuple[str, ...]
    unlabelled: int
    unlabelled_keys: tuple[str, ...]


@dataclass(slots=True)
class _Matches:
    """What has been found so far. found: example -> (how, result)."""

    found: dict[int, tuple[int, AnyRow]] = field(default_factory=dict)
    unlabelled: int = 0
    unlabelled_keys: list[str] = field(default_factory=list)


def read_results(database: Database, examples: Sequence[Example], *, source: str | None = None) -> StoredResults:
    """Join the results of the pinned model with examples.

    source: name or root; without it all are taken, which must then be pinned to one model. Raises UsageError when a
    source is missing or it is not clear which one is meant, TrainingError when no result has a label.
    """
    with database.read() as connection:
        model, sources = pinned_sources(connection, source, database.name)
        names = list(sources.values())
        matches = _join(_results(connection, names), examples)
    missing = tuple(example.file for index, example in enumerate(examples) if index not in matches.found)
    if not matches.found:
        raise _nothing_fits(database.name, missing, matches)
    rows = [(examples[index], row) for index, (_, row) in sorted(matches.found.items())]
    good = [(example, row) for example, row in rows if row.status == "ok"]
    failures = tuple(
        f"{example.file}: tagging it failed ({row.error_code})" for example, row in rows if row.error_code
    )
    if not good:
        raise TrainingError(f"{database.name}: all {len(rows)} labelled images have failed; first {failures[0]}")
    return StoredResults(
        model=f"{model.name} {model.version}",
        weights_id=model.weights_id,
        calibration_id=_calibration_of(database, sources, model.weights_id),
        sources=tuple(names),
        examples=tuple(example for example, _ in good),
        predictions=_predictions([row for _, row in good], tuple(model.labels)),
        failures=failures,
        without_result=missing,
        unlabelled=matches.unlabelled,
        unlabelled_keys=tuple(matches.unlabelled_keys),
    )


def _calibration_of(database: Database, sources: Iterable[int], weights_id: str) -> str | None:
    """Return the calibration that all sources have; None where they differ."""
    found = {source_model(database, source_id, weights_id).source_calibration_id for source_id in sources}
    return found.pop() if len(found) == 1 else None


def pinned_sources(connection: Connection, wanted: str | None, where: str) -> tuple[AnyRow, dict[int, str]]:
    """Return the model that the sources are pinned to, and their names by id.

    Raises TrainingError when there is none, UsageError when it is not clear which one is meant.
    """
    query = select(SourceRow.name, SourceRow.root, SourceRow.id, ModelRow.__table__).join(
        ModelRow, ModelRow.weights_id == SourceRow.weights_id
    )
    rows = connection.execute(query.order_by(SourceRow.id)).all()
    # The first two columns are the source's; `name` alone would be ambiguous.
    chosen = [row for row in rows if wanted is None or wanted in (row[0], row[1])]
    known = ", ".join(str(row[0]) for row in rows)
    if not rows:
        raise TrainingError(f"{where} has no tagged source; run `cataloger tag` or `cataloger sync` first")
    if not chosen:
        raise UsageError(f"--source {wanted}: {where} has no such source; it has {known}")
    if len({row.weights_id for row in chosen}) > 1:
        raise UsageError(f"the sources in {where} are pinned to different models; name one with --source: {known}")
    model_query = select(ModelRow.__table__).where(ModelRow.weights_id == chosen[0].weights_id)
    return connection.execute(model_query).one(), {int(row[2]): str(row[0]) for row in chosen}


def _results(connection: Connection, names: Sequence[str]) -> Iterator[AnyRow]:
    """Yield the answers of the model, not of the views, where corrections come before them."""
    columns = (getattr(ResultRow, name) for name in ("status", "error_code", "decision", *ANSWER))
    answers = select_current(SourceRow.name.label("source"), ItemRow.key, ItemRow.uri, *columns)
    for name in names:
        query = answers.where(SourceRow.name == name)
        for row in connection.execution_options(yield_per=ROWS_PER_FETCH).execute(query):
            if row.source == name:  # MySQL would also find a name with spaces at its end
                yield row


def _join(results: Iterator[AnyRow], examples: Sequence[Example]) -> _Matches:
    by_uri, by_key = _places(examples)
    matches = _Matches()
    for row in results:
        how, index = (BY_PATH, by_uri[row.uri]) if row.uri in by_uri else (BY_KEY, by_key.get(row.key))
        if index is None:
            matches.unlabelled += 1
            if len(matches.unlabelled_keys) < NAMED:
                matches.unlabelled_keys.append(row.key)
            continue
        known = matches.found.get(index)
        if known is not None and known[0] == how and known[1].source != row.source:
            raise UsageError(
                f"{examples[index].file} is an image of {known[1].source} and of {row.source}; "
                "say which one is meant with --source"
            )
        if known is None or how < known[0]:
            matches.found[index] = (how, row)
    return matches


def _places(examples: Sequence[Example]) -> tuple[dict[str, int], dict[str, int]]:
    """Return where the examples may be found: by uri and by key."""
    by_uri: dict[str, int] = {}
    by_key: dict[str, int] = {}
    folders: dict[Path, Path] = {}
    for index, example in enumerate(examples):
        for key in (_key(example.file), example.file):
            by_key.setdefault(key, index)
        if "://" in example.file:
            by_uri.setdefault(without_query(example.file), index)
        if example.path is None:
            by_uri.setdefault(example.place, index)
            continue
        folder, name = example.path.parent, example.path.name
        if folder not in folders:
            folders[folder] = folder.resolve()
        # A source resolves its root, but no links below it.
        for place in (folder.absolute() / name, folders[folder] / name, example.file):
            by_uri.setdefault(_key(str(place)), index)
    return by_uri, by_key


def _key(name: str) -> str:
    return key_of(os.fsencode(name))


def _predictions(rows: Sequence[AnyRow], labels: tuple[str, ...]) -> Predictions:
    index = {label: position for position, label in enumerate(labels)}
    ranked = np.full((len(rows), TOP_K), NOT_RANKED, dtype=np.int64)
    confidence = np.full((len(rows), TOP_K), np.nan)
    for number, row in enumerate(rows):
        for rank in range(TOP_K):
            label = row._mapping[f"label_{rank + 1}"]
            if label is not None:
                ranked[number, rank] = index[label]
                confidence[number, rank] = row._mapping[f"confidence_{rank + 1}"]
    return Predictions(labels, ranked, confidence, tuple(row.decision for row in rows))


def _nothing_fits(where: str, missing: Sequence[str], matches: _Matches) -> TrainingError:
    has = f"its first image is {matches.unlabelled_keys[0]!r}" if matches.unlabelled_keys else "it has no results"
    return TrainingError(
        f"no result in {where} belongs to a labelled image: {has}, the first label is of {missing[0]!r}. "
        "`file` must be the path below the source's root, or with --images the path of the image"
    )
