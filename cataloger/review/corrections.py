"""The corrections that a reviewer sends: parsed, checked, and recorded."""

import threading
from dataclasses import replace
from typing import Any

from cataloger.contracts import MAX_LABEL_LENGTH, VERDICTS
from cataloger.corrections import CorrectionInput, Outcome, correct, labels_in_use
from cataloger.db import Database
from cataloger.errors import UsageError
from cataloger.review_queue import LARGEST_ID, results_of, source_of
from cataloger.reviewers import SecondAnswers

MAX_CORRECTIONS = 500
HOLDS = ("by", "verdict", "label")


class Labels:
    """The categories that images of each source can be corrected to. Safe to use from several threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[int | None, list[str]] = {}
        self._lock = threading.Lock()

    def read(self, source_id: int | None) -> list[str]:
        """Reload those of a source, or of all sources for None."""
        found = labels_in_use(self._database, source_id)
        with self._lock:
            self._known[source_id] = found
        return found

    def knows(self, source_id: int, label: str) -> bool:
        """True for a category of a source, even if it was added only recently."""
        with self._lock:
            known = self._known.get(source_id, [])
        return label in known or label in self.read(source_id)


def parse(values: Any) -> list[CorrectionInput]:
    """Parse the corrections of a request. Raises UsageError before anything is recorded."""
    sent = values.get("words") if isinstance(values, dict) else None
    if not isinstance(sent, list) or not 0 < len(sent) <= MAX_CORRECTIONS:
        raise UsageError(f"words: send a list of 1 to {MAX_CORRECTIONS}")
    corrections = [_correction(each) for each in sent]
    if len({correction.item_id for correction in corrections}) != len(corrections):
        raise UsageError("words: send only one correction per image")
    return corrections


def _correction(values: Any) -> CorrectionInput:
    if not isinstance(values, dict) or values.get("verdict") not in VERDICTS:
        raise UsageError(f"verdict: must be one of {', '.join(VERDICTS)}")
    label = values.get("label")
    has_label = isinstance(label, str) and 0 < len(label) <= MAX_LABEL_LENGTH
    if has_label != (values["verdict"] == "label") or (label is not None and not has_label):
        raise UsageError("label: must be a category if the verdict is label, else null")
    item = _number(values, "item")
    if item is None:
        raise UsageError("item: the number of the image is missing")
    return CorrectionInput(
        item, values["verdict"], label, expected=_number(values, "expected"), result_id=_number(values, "result")
    )


def _number(values: dict[str, Any], name: str) -> int | None:
    value = values.get(name)
    if value is not None and (type(value) is not int or not 0 < value < LARGEST_ID):
        raise UsageError(f"{name}: not a valid number")
    return value


def save(
    second_answers: SecondAnswers, labels: Labels, corrections: list[CorrectionInput], author: str
) -> list[dict[str, Any]]:
    """Record corrections and second answers; return their outcomes as plain JSON values, in the same order.

    Raises UsageError for an unknown category.
    """
    database = second_answers.database
    sources = source_of(database, [correction.item_id for correction in corrections])
    for correction in corrections:
        source_id = sources.get(correction.item_id)
        if correction.label is not None and source_id is not None and not labels.knows(source_id, correction.label):
            raise UsageError(f"label: {correction.label!r} is not a category of this source")
    # A result may have been pruned since it was seen.
    results = results_of(database, corrections)
    known = [replace(correction, result_id=results.get(correction.item_id)) for correction in corrections]
    second = second_answers.record(known, author)
    first = correct(database, [each for each in known if each.item_id not in second], author)
    outcomes = {outcome.item_id: _as_json(outcome) for outcome in first}
    outcomes |= {each.item_id: _as_second(each, author) for each in known if each.item_id in second}
    return [outcomes[each.item_id] for each in known]


def _as_second(answer: CorrectionInput, author: str) -> dict[str, Any]:
    """Return what became of a second answer: it has no number, and what was answered first stays hidden."""
    is_there = answer.verdict != "withdrawn"
    holds = {"by": author, "verdict": answer.verdict, "label": answer.label} if is_there else dict.fromkeys(HOLDS)
    return {"item": answer.item_id, "status": "saved", "id": None, **holds, "second": is_there}


def _as_json(outcome: Outcome) -> dict[str, Any]:
    return {
        "item": outcome.item_id,
        "status": outcome.status,
        "id": outcome.correction_id,
        "by": outcome.by,
        "verdict": outcome.verdict,
        "label": outcome.label,
    }
