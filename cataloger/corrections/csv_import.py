"""Import corrections from a CSV file: a bad row is reported, and the others are imported.

A row names an image by `source` and `key`, or by `uri`. Its correction is `label`; or `not_product` or `withdrawn` in
the column `verdict`. Empty rows, and rows equal to the current correction, change nothing.
"""

import difflib
import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection, select

from cataloger.contracts import VERDICTS, Verdict
from cataloger.corrections.csv_rows import CorrectionFileRow, read_rows
from cataloger.corrections.item_lookup import Image, Lookup
from cataloger.corrections.store import CorrectionInput, Outcome, correct, labels_in_use
from cataloger.db import Database, utc_now
from cataloger.errors import SourceError, UsageError, ValueRefusedError
from cataloger.ledger import find_source_id
from cataloger.schema import CorrectionRow, CurrentCorrectionRow, CurrentRow, ItemRow, SourceRow
from cataloger.tabular import TableFormatError
from cataloger.utils import clean_label, find_label, same_person, shown_key, spellings, visible

ROWS_PER_READ = 500
NAMED = 1000

Kind = Literal["conflict", "problem"]


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """How to import. source: name of the rows' source, if they name none. author: of all these corrections.

    new_labels: accept unknown labels. overwrite: also replace corrections made since the export.
    """

    author: str
    source: str | None = None
    new_labels: bool = False
    overwrite: bool = False
    dry_run: bool = False

    def __post_init__(self) -> None:
        if not self.author.strip():
            raise UsageError("--author must not be empty: corrections are recorded under this name")


@dataclass(slots=True)
class ImportReport:
    """What became of the rows. same: equal to the current correction. notes: (line, kind, text), the first ones."""

    saved: int = 0
    same: int = 0
    empty: int = 0
    conflicts: int = 0
    problems: int = 0
    notes: list[tuple[int, Kind, str]] = field(default_factory=list)

    def note(self, line: int, kind: Kind, text: str) -> None:
        """Count a row that was not imported, with the reason."""
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
    """Import corrections from a file. Raises SourceError or UsageError for an unusable file."""
    report = ImportReport()
    work = _Import(database, options, report)
    try:
        rows = _noted(read_rows(path), report)
        while page := list(itertools.islice(rows, ROWS_PER_READ)):
            work.take(page)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
    except TableFormatError as error:
        raise SourceError(f"{path} {error} ({_already(report)})") from error
    return report


def _already(report: ImportReport) -> str:
    return f"{report.saved} earlier rows were saved" if report.saved else "nothing was saved"


def _noted(
    rows: Iterable[tuple[int, CorrectionFileRow | str | None]], report: ImportReport
) -> Iterator[CorrectionFileRow]:
    """Yield the rows with a correction; count the others."""
    for line, found in rows:
        if isinstance(found, CorrectionFileRow):
            yield found
        elif found is None:
            report.empty += 1
        else:
            report.note(line, "problem", found)


class _Import:
    """Imports rows page by page."""

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
        self._seen_ids = _Ids()
        self._nearest = cache(self._find_nearest)

    def take(self, page: Sequence[CorrectionFileRow]) -> None:
        """Record the corrections of a page of rows."""
        known = [
            (self._spelled(row), item_id) for row, item_id in self._identified(page) if self._is_known_label(row)
        ]
        states = self._database.fetch(_read_states, [item_id for _, item_id in known])
        corrections: dict[int, CorrectionInput] = {}
        lines: dict[int, CorrectionFileRow] = {}
        for row, item_id in known:
            correction = self._correction(row, item_id, states[item_id], lines.get(item_id))
            if correction is not None:
                corrections[item_id], lines[item_id] = correction, row
        if self._options.dry_run:
            self._report.saved += len(corrections)
            return
        for row, outcome in self._record(list(zip(lines.values(), corrections.values(), strict=True))):
            if outcome.status == "saved":
                self._report.saved += 1
            else:
                text = (
                    f"{outcome.by} has just set {outcome.label or outcome.verdict}"
                    if outcome.by
                    else "the image was removed"
                )
                self._report.note(row.line, "conflict", f"{row.place}: {text}")

    def _record(
        self, pairs: list[tuple[CorrectionFileRow, CorrectionInput]]
    ) -> list[tuple[CorrectionFileRow, Outcome]]:
        """Record corrections; one whose text the database cannot hold is a problem of its row."""
        rows = [row for row, _ in pairs]
        try:
            outcomes = correct(self._database, [correction for _, correction in pairs], self._options.author)
        except ValueRefusedError as error:
            if len(pairs) > 1:
                middle = len(pairs) // 2
                return self._record(pairs[:middle]) + self._record(pairs[middle:])
            self._report.note(rows[0].line, "problem", f"{rows[0].place}: {error}")
            return []
        return list(zip(rows, outcomes, strict=True))

    def _identified(self, page: Sequence[CorrectionFileRow]) -> Iterator[tuple[CorrectionFileRow, int]]:
        """Yield the rows that name exactly one image, and its id."""
        names: dict[str, set[str]] = {"key": set(), "uri": set()}
        for column, name in (row.image for row in page):
            names[column].update(filter(None, spellings(name)))
        found = {"key": self._lookup.by_key(names["key"]), "uri": self._lookup.by_uri(names["uri"])}
        for row in page:
            column, name = row.image
            images = next(filter(None, map(found[column].get, spellings(name))), [])
            cell = row.cells.get("source", "")
            source = next((self._sources[each] for each in spellings(cell) if each in self._sources), None)
            if source is not None or (cell.strip() and self._source is None):
                images = [image for image in images if image[0] == source]
            if len(images) == 1:
                yield row, images[0][1]
                continue
            reason = _why_not_one(images, self._options.source or cell.strip() or "this database")
            place = visible(shown_key(row.image[1])) if row.place else "a row without key and uri"
            self._report.note(row.line, "problem", f"{place} {reason}")

    def _spelled(self, row: CorrectionFileRow) -> CorrectionFileRow:
        """Return a row with its label as those in use are spelled; a new one is clean."""
        if row.label is None:
            return row
        label = find_label(row.label, self._labels) or clean_label(row.label)
        return row if label == row.label else replace(row, label=label)

    def _is_known_label(self, row: CorrectionFileRow) -> bool:
        if row.label is None or self._options.new_labels or find_label(row.label, self._labels) is not None:
            return True
        near = self._nearest(row.label)
        text = f"did you mean {near!r}?" if near else "--new-labels accepts it"
        if row.label.casefold() in VERDICTS:
            text = "write it into the column verdict, and leave the label empty"
        self._report.note(row.line, "problem", f"{row.place}: unknown label {row.label!r}; {text}")
        return False

    def _find_nearest(self, label: str) -> str | None:
        folded = {each.casefold(): each for each in self._labels}
        near = difflib.get_close_matches(label.casefold(), folded, n=1)
        return folded[near[0]] if near else None

    def _correction(
        self, row: CorrectionFileRow, item_id: int, state: "_State", earlier: CorrectionFileRow | None
    ) -> CorrectionInput | None:
        """Return what to record; None if it is current already, was not changed in the file, or is a conflict.

        earlier: row about the same image whose correction is to be recorded as well.
        """
        seen = _moment(row.cells.get("corrected_at", ""))
        # A row that was not changed in the file does not replace a newer correction.
        if state.was_exported(row, seen):
            self._report.same += 1
            return None
        is_repeated = item_id in self._seen_ids
        self._seen_ids.add(item_id)
        if row.correction == (earlier.correction if earlier else state.correction):
            self._report.same += 1
            return None
        if is_repeated:
            text = "an earlier row has a different correction of the same image"
        elif not self._options.overwrite and not self._is_next(row, state, seen):
            who = (
                f"{state.author} set {state.label or state.verdict}"
                if state.current_id
                else "its correction was withdrawn"
            )
            text = f"{who} since the export; --overwrite replaces that"
        else:
            return CorrectionInput(
                item_id, *row.correction, state.current_id, state.result_id, row.cells.get("note") or None
            )
        self._report.note(row.line, "conflict", f"{row.place}: {text}")
        return None

    def _is_next(self, row: CorrectionFileRow, state: "_State", seen: datetime | None) -> bool:
        """True if the file shows the current correction; without times, if it is older and of its author, or none."""
        if "corrected_at" not in row.cells:
            is_mine = same_person(state.author, self._options.author)
            return state.current_id is None or (is_mine and state.at is not None and state.at < self._started)
        return (state.current_id is None and seen is None) or (seen is not None and seen == state.at)


class _Ids:
    """A set of ids; close ones take one bit each, so that a million need little memory."""

    def __init__(self) -> None:
        self._blocks: dict[int, int] = defaultdict(int)

    def add(self, number: int) -> None:
        self._blocks[number >> 10] |= 1 << (number & 1023)

    def __contains__(self, number: int) -> bool:
        return bool(self._blocks.get(number >> 10, 0) >> (number & 1023) & 1)


@dataclass(slots=True)
class _State:
    """What is known of an image. current_id: of its correction. history: (author, time, verdict, label)."""

    result_id: int | None = None
    current_id: int | None = None
    author: str | None = None
    at: datetime | None = None
    verdict: Verdict = "withdrawn"
    label: str | None = None
    history: set[tuple[str | None, datetime | None, str, str | None]] = field(default_factory=set)

    @property
    def correction(self) -> tuple[Verdict, str | None]:
        """Verdict and label of the current correction."""
        return self.verdict, self.label

    def was_exported(self, row: CorrectionFileRow, at: datetime | None) -> bool:
        """True for a row that is unchanged since its export."""
        return (row.cells.get("author"), at, row.verdict, row.label) in self.history


def _read_states(connection: Connection, item_ids: Sequence[int]) -> dict[int, _State]:
    states = {item_id: _State() for item_id in item_ids}
    current = (
        select(CurrentRow.item_id, CurrentRow.result_id)
        .join(ItemRow, ItemRow.id == CurrentRow.item_id)
        .join(SourceRow, (SourceRow.id == ItemRow.source_id) & (SourceRow.weights_id == CurrentRow.weights_id))
    )
    for row in connection.execute(current.where(CurrentRow.item_id.in_(item_ids))):
        states[row.item_id].result_id = row.result_id
    columns = (CorrectionRow.author, CorrectionRow.corrected_at, CorrectionRow.verdict, CorrectionRow.label)
    corrections = select(CorrectionRow.item_id, CorrectionRow.id, CurrentCorrectionRow.correction_id, *columns).join(
        CurrentCorrectionRow, CurrentCorrectionRow.correction_id == CorrectionRow.id, isouter=True
    )
    for correction in connection.execute(corrections.where(CorrectionRow.item_id.in_(item_ids))):
        state = states[correction.item_id]
        state.history.add((correction.author, correction.corrected_at, correction.verdict, correction.label))
        if correction.correction_id is not None:
            state.current_id, state.author, state.at = correction.id, correction.author, correction.corrected_at
            state.verdict, state.label = correction.verdict, correction.label
    return states


def _why_not_one(images: Sequence[Image], wanted: str) -> str:
    """Return why a row does not name one image. images: those that it names. wanted: where it says that they are."""
    if not images:
        return f"is not an image of {wanted}"
    if len({source_id for source_id, _ in images}) == 1:
        return "is an image of several products: fill in the column key"
    return "is in several sources: fill in the column source, or choose one with --source"


def _moment(text: str) -> datetime | None:
    """Return the time in a cell; None if it is empty, or was changed by a spreadsheet."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else None
