"""Which answer goes into which column of the product table."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cataloger.contracts import TOP_K
from cataloger.db import AnyRow
from cataloger.ledger import LabelCode
from cataloger.options import WriteOptions
from cataloger.writeback.column_values import UnwritableError
from cataloger.writeback.product_table import Cells, ProductTable


@dataclass(frozen=True, slots=True)
class WritePlan:
    """What to write where, checked. categories: the shop's own, by label; empty without a label map.

    defaults: of columns, as text.
    """

    table: ProductTable
    options: WriteOptions
    categories: Mapping[str, LabelCode]
    defaults: Mapping[str, str] = field(default_factory=dict)

    def may_replace(self, column: str, value: Any) -> bool:
        """True for a value of the shop that an answer may replace, in a column that is written for the first time."""
        if self.options.overwrite or value is None:
            return True
        cell, texts = self.table.cells[column], list(self.options.only_if)
        if not self.options.only_null:
            texts += ["", *(text for name, text in self.defaults.items() if name == column)]
        return any(cell.means(value, text) for text in texts)

    def values(self, row: AnyRow) -> Cells | None:
        """Return the value of an answer for each column; None if it is not to be written. Raises UnwritableError."""
        ranked = [(getattr(row, f"label_{n}"), getattr(row, f"confidence_{n}")) for n in range(1, TOP_K + 1)]
        answers = [(label, confidence) for label, confidence in ranked if label is not None]
        decision = row.decision
        if row.corrected_label is not None:
            others = [answer for answer in answers if answer[0] != row.corrected_label]
            answers = [(row.corrected_label, 1.0), *others][:TOP_K]
            decision = "accept"
        if not self._is_wanted(answers, decision):
            return None
        return {
            column: self.table.cells[column].wanted(self._value(name, answers, decision))
            for column, name in self.options.columns
        }

    def _is_wanted(self, answers: Sequence[tuple[str, float]], decision: str | None) -> bool:
        wanted = self.options.only_decision
        is_decided = decision in wanted if wanted else decision in (None, "accept")
        least = self.options.min_confidence
        return is_decided and bool(answers) and (least is None or answers[0][1] >= least)

    def _value(self, name: str, answers: Sequence[tuple[str, float]], decision: str | None) -> Any:
        if name == "decision":
            return decision
        if name == "top5_json":
            return top5_json([(self._code(label), confidence) for label, confidence in answers])
        kind, _, rank = name.rpartition("_")
        if int(rank) > len(answers):
            return None
        label, confidence = answers[int(rank) - 1]
        if kind == "confidence":
            return confidence
        return self._code(label) if kind == "label" else getattr(self._category(label), kind)

    def _code(self, label: str) -> str:
        return self._category(label).code if self.categories else label

    def _category(self, label: str) -> LabelCode:
        """Return the shop's own. A correction may be to a label that neither the model nor the map has."""
        if label not in self.categories:
            raise UnwritableError(f"the label map has no code for the correction {label!r}: add a line for it")
        return self.categories[label]


def top5_json(answers: Iterable[tuple[str, float]]) -> str:
    """Return answers as a JSON array, best first."""
    found = [{"label": label, "confidence": round(confidence, 4)} for label, confidence in answers]
    return json.dumps(found, ensure_ascii=False)
