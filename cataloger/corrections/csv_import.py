"""Corrections from a CSV file that people have filled in: a bad row is named and costs no other.

A row is about an image, by `source` and `key`, or by `uri`. Its word is `label`; or `not_product` or `withdrawn` in
the column `verdict`. Rows that say nothing, or what holds already, change nothing.
"""

import csv
import difflib
import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection, select

from cataloger.contracts import VERDICTS, Verdict
from cataloger.corrections.csv_rows import CorrectionFileRow, read_rows
from cataloger.corrections.item_lookup import Lookup
from cataloger.corrections.store import CorrectionInput, correct, labels_in_use
from cataloger.db import Database, utc_now
from cataloger.errors import SourceError, UsageError
from cataloger.ledger import find_source_id
from cataloger.schema import CorrectionRow, CurrentCorrectionRow, CurrentRow, ItemRow, SourceRow

ROWS_PER_READ = 500
NAMED = 1000

Kind = Literal["conflict", "problem"]


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """How to import. source: name of the one that the rows are of, if they do not say. author: who says all this.

    new_labels: take labels that no model has and nobody has said. overwrite: also words that came in between.
    """

    author: str
    source: str | None = None
    new_labels: bool = False
    overwrite: bool = False
    dry_run: bool = False

    def __post_init__(self) -> None:
        if not self.author.strip():
            raise UsageError("--author must not be empty: it says who has said this")


@dataclass(slots=True)
class ImportReport:
    """What became of rows. same: say what holds. empty: say nothing. notes: (line, kind, text), the first ones."""

    saved: int = 0
    same: int = 0
    empty: int = 0
    conflicts: int = 0
    problems: int = 0
    notes: list[tuple[int, Kind, str]] = field(default_factory=list)

    def note(self, line: int, kind: Kind, text: str) -> None:
        """Count what was not taken, and say why."""
        if kind == "conflict":
            self.conflicts += 1
        else:
            self.problems += 1
        if len(self.notes) < NAMED:
            self.notes.append((line, kind, text))

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        notes = [{"line": line, "kind": kind, "text": text} for line, kind, text in self.notes]
        numbers = {"saved": self.saved, "same": self.same, "empty": self.empty}
        return {**numbers, "conflicts": self.conflicts, "problems": self.problems, "rows": notes}


def import_corrections(database: Database, path: Path, options: ImportOptions) -> ImportReport:
    """Take over what people have said in a file. Raises SourceError or UsageError for a file that is none."""
    report = ImportReport()
    work = _Import(database, options, report)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            said = _noted(read_rows(file, path), report)
            while page := list(itertools.islice(said, ROWS_PER_READ)):
                work.take(page)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{path} is not in UTF-8 ({_already(report)}): save it as `CSV UTF-8` and import it again"
        ) from error
    except csv.Error as error:
        raise SourceError(f"{path} is not a CSV file: {error}") from error
    return report


def _already(report: ImportReport) -> str:
    return f"{report.saved} rows before that were taken" if report.saved else "nothing was taken"


def _noted(
    rows: Iterable[tuple[int, CorrectionFileRow | str | None]], report: ImportReport
) -> Iterator[CorrectionFileRow]:
    """Yield the rows that say something; count the others."""
    for line, found in rows:
        if isinstance(found, CorrectionFileRow):
            yield found
        elif found is None:
            report.empty += 1
        else:
            report.note(line, "problem", found)


class _Import:
    """Takes rows over, page by page."""

    def __init__(self, database: Database, options: ImportOptions, report: ImportReport) -> None:
        self._database = database
        self._options = options
        self._report = report
        self._source = find_source_id(database, options.source)
        rows = database.rows(select(SourceRow.id, SourceRow.name, SourceRow.root))
        self._sources = {name: row.id for row in rows for name in (row.name, row.root)}
        self._lookup = Lookup(database, set(self._sources.values()) if self._source is None else {self._source})
        self._labels = set(labels_in_use(database, self._source))
        self._started = self._database.fetch(utc_now)
        self._spoken_of = _Ids()
        self._nearest = cache(self._find_nearest)

    def take(self, page: Sequence[CorrectionFileRow]) -> None:
        """Record what a page of rows says."""
        known = [(said, item_id) for said, item_id in self._identified(page) if self._is_known_label(said)]
        holding = self._database.fetch(_holding, [item_id for _, item_id in known])
        words: dict[int, CorrectionInput] = {}
        lines: dict[int, CorrectionFileRow] = {}
        for said, item_id in known:
            word = self._word(said, item_id, holding[item_id], lines.get(item_id))
            if word is not None:
                words[item_id], lines[item_id] = word, said
        if self._options.dry_run:
            self._report.saved += len(words)
            return
        outcomes = correct(self._database, list(words.values()), self._options.author)
        for said, outcome in zip(lines.values(), outcomes, strict=True):
            if outcome.status == "saved":
                self._report.saved += 1
            else:
                text = (
                    f"{outcome.by} has just said {outcome.label or outcome.verdict}" if outcome.by else "it has gone"
                )
                self._report.note(said.line, "conflict", f"{said.place}: {text}")

    def _identified(self, page: Sequence[CorrectionFileRow]) -> Iterator[tuple[CorrectionFileRow, int]]:
        """Yield the rows that are about one image, and its id."""
        names: dict[str, set[str]] = {"key": set(), "uri": set()}
        for column, name in (said.image for said in page):
            names[column] |= {name, name.strip()} - {""}
        found = {"key": self._lookup.by_key(names["key"]), "uri": self._lookup.by_uri(names["uri"])}
        for said in page:
            column, name = said.image
            images = found[column].get(name) or found[column].get(name.strip(), [])
            cell = said.cells.get("source", "")
            source = self._sources.get(cell, self._sources.get(cell.strip()))
            if source is not None or (cell.strip() and self._source is None):
                images = [image for image in images if image[0] == source]
            if len(images) == 1:
                yield said, images[0][1]
                continue
            wanted = self._options.source or cell.strip() or "this database"
            reason = (
                "is in several sources: fill in the column source, or name one with --source"
                if images
                else f"is no image of {wanted}"
            )
            self._report.note(said.line, "problem", f"{said.place or 'a row without key and uri'} {reason}")

    def _is_known_label(self, said: CorrectionFileRow) -> bool:
        if said.label is None or self._options.new_labels or said.label in self._labels:
            return True
        near = self._nearest(said.label)
        text = f"did you mean {near!r}?" if near else "--new-labels takes it all the same"
        if said.label.casefold() in VERDICTS:
            text = "write that into the column verdict, and leave the label empty"
        self._report.note(said.line, "problem", f"{said.place}: nobody knows the label {said.label!r}; {text}")
        return False

    def _find_nearest(self, label: str) -> str | None:
        folded = {each.casefold(): each for each in self._labels}
        near = difflib.get_close_matches(label.casefold(), folded, n=1)
        return folded[near[0]] if near else None

    def _word(
        self, said: CorrectionFileRow, item_id: int, state: "_State", earlier: CorrectionFileRow | None
    ) -> CorrectionInput | None:
        """Return what to record; None if it is known already, was not changed in the file, or is a conflict.

        earlier: row about the same image whose word is to be recorded as well.
        """
        seen = _moment(said.cells.get("corrected_at", ""))
        # A row that nobody has changed in the file takes back nobody's newer word.
        if state.was_said(said, seen):
            self._report.same += 1
            return None
        is_repeated = item_id in self._spoken_of
        self._spoken_of.add(item_id)
        if said.word == (earlier.word if earlier else state.word):
            self._report.same += 1
            return None
        if is_repeated:
            text = "an earlier row is about the same image, and says something else"
        elif not self._options.overwrite and not self._is_next(said, state, seen):
            who = f"{state.author} says {state.label or state.verdict}" if state.holds else "its word was withdrawn"
            text = f"{who} since; --overwrite takes the file's word"
        else:
            return CorrectionInput(item_id, *said.word, state.holds, state.result_id, said.cells.get("note") or None)
        self._report.note(said.line, "conflict", f"{said.place}: {text}")
        return None

    def _is_next(self, said: CorrectionFileRow, state: "_State", seen: datetime | None) -> bool:
        """True when the file shows what holds. One without times renews what its author said before, and no other."""
        if "corrected_at" not in said.cells:
            is_mine = state.author == self._options.author and state.at is not None and state.at < self._started
            return state.holds is None or is_mine
        return (state.holds is None and seen is None) or (seen is not None and seen == state.at)


class _Ids:
    """A set of ids; those that lie close together take a bit each, so that a million are no burden."""

    def __init__(self) -> None:
        self._blocks: dict[int, int] = defaultdict(int)

    def add(self, number: int) -> None:
        self._blocks[number >> 10] |= 1 << (number & 1023)

    def __contains__(self, number: int) -> bool:
        return bool(self._blocks.get(number >> 10, 0) >> (number & 1023) & 1)


@dataclass(slots=True)
class _State:
    """What is known of an image. holds: id of the word that does. history: (author, time, verdict, label)."""

    result_id: int | None = None
    holds: int | None = None
    author: str | None = None
    at: datetime | None = None
    verdict: Verdict = "withdrawn"
    label: str | None = None
    history: set[tuple[str | None, datetime | None, str, str | None]] = field(default_factory=set)

    @property
    def word(self) -> tuple[Verdict, str | None]:
        """Verdict and label that hold."""
        return self.verdict, self.label

    def was_said(self, row: CorrectionFileRow, at: datetime | None) -> bool:
        """True for a row as it was exported."""
        return (row.cells.get("author"), at, row.verdict, row.label) in self.history


def _holding(connection: Connection, item_ids: Sequence[int]) -> dict[int, _State]:
    states = {item_id: _State() for item_id in item_ids}
    current = (
        select(CurrentRow.item_id, CurrentRow.result_id)
        .join(ItemRow, ItemRow.id == CurrentRow.item_id)
        .join(SourceRow, (SourceRow.id == ItemRow.source_id) & (SourceRow.weights_id == CurrentRow.weights_id))
    )
    for row in connection.execute(current.where(CurrentRow.item_id.in_(item_ids))):
        states[row.item_id].result_id = row.result_id
    columns = (CorrectionRow.author, CorrectionRow.corrected_at, CorrectionRow.verdict, CorrectionRow.label)
    words = select(CorrectionRow.item_id, CorrectionRow.id, CurrentCorrectionRow.correction_id, *columns).join(
        CurrentCorrectionRow, CurrentCorrectionRow.correction_id == CorrectionRow.id, isouter=True
    )
    for word in connection.execute(words.where(CorrectionRow.item_id.in_(item_ids))):
        state = states[word.item_id]
        state.history.add((word.author, word.corrected_at, word.verdict, word.label))
        if word.correction_id is not None:
            state.holds, state.author, state.at = word.id, word.author, word.corrected_at
            state.verdict, state.label = word.verdict, word.label
    return states


def _moment(text: str) -> datetime | None:
    """Return the time in a cell; None where there is none, or a spreadsheet has made something else of it."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else None
