"""The words that a reviewer sends: read, checked, and recorded."""

import threading
from dataclasses import replace
from typing import Any

from cataloger.contracts import MAX_LABEL_LENGTH, VERDICTS
from cataloger.corrections import CorrectionInput, Outcome, correct, labels_in_use
from cataloger.db import Database
from cataloger.errors import UsageError
from cataloger.review.item_rows import LARGEST_ID, results_of, source_of

MOST_WORDS = 500


class Labels:
    """The categories that may be said of the images of each source. Safe to use from several threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[int | None, list[str]] = {}
        self._lock = threading.Lock()

    def read(self, source_id: int | None) -> list[str]:
        """Read those of a source anew, of all sources for None."""
        found = labels_in_use(self._database, source_id)
        with self._lock:
            self._known[source_id] = found
        return found

    def knows(self, source_id: int, label: str) -> bool:
        """True for a category of a source, also if it came into use only lately."""
        with self._lock:
            known = self._known.get(source_id, [])
        return label in known or label in self.read(source_id)


def parse(values: Any) -> list[CorrectionInput]:
    """Read the words of a request. Raises UsageError, which says what is wrong, before anything is recorded."""
    sent = values.get("words") if isinstance(values, dict) else None
    if not isinstance(sent, list) or not 0 < len(sent) <= MOST_WORDS:
        raise UsageError(f"words: send a list of 1 to {MOST_WORDS}")
    words = [_word(each) for each in sent]
    if len({word.item_id for word in words}) != len(words):
        raise UsageError("words: only one word an image at a time")
    return words


def _word(values: Any) -> CorrectionInput:
    if not isinstance(values, dict) or values.get("verdict") not in VERDICTS:
        raise UsageError(f"verdict: it is one of {', '.join(VERDICTS)}")
    label = values.get("label")
    has_label = isinstance(label, str) and 0 < len(label) <= MAX_LABEL_LENGTH
    if has_label != (values["verdict"] == "label") or (label is not None and not has_label):
        raise UsageError("label: a category, if that is the verdict, else null")
    item = _number(values, "item")
    if item is None:
        raise UsageError("item: the number of an image is missing")
    return CorrectionInput(
        item, values["verdict"], label, expected=_number(values, "expected"), result_id=_number(values, "result")
    )


def _number(values: dict[str, Any], name: str) -> int | None:
    value = values.get(name)
    if value is not None and (type(value) is not int or not 0 < value < LARGEST_ID):
        raise UsageError(f"{name}: not the number of one")
    return value


def save(database: Database, labels: Labels, words: list[CorrectionInput], author: str) -> list[dict[str, Any]]:
    """Record words; return what became of each, as plain JSON values. Raises UsageError for an unknown category."""
    sources = source_of(database, [word.item_id for word in words])
    for word in words:
        source_id = sources.get(word.item_id)
        if word.label is not None and source_id is not None and not labels.knows(source_id, word.label):
            raise UsageError(f"label: {word.label!r} is no category of this source")
    # A result that has been pruned since it was seen is not there to be named.
    results = results_of(database, words)
    known = [replace(word, result_id=results.get(word.item_id)) for word in words]
    return [_as_json(outcome) for outcome in correct(database, known, author)]


def _as_json(outcome: Outcome) -> dict[str, Any]:
    return {
        "item": outcome.item_id,
        "status": outcome.status,
        "id": outcome.correction_id,
        "by": outcome.by,
        "verdict": outcome.verdict,
        "label": outcome.label,
    }
