"""Which answer goes into which column, and which categories become rows."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cataloger.contracts import TOP_K
from cataloger.db import AnyRow
from cataloger.ledger import WHOLE_ROW, LabelCode, OtherTarget
from cataloger.options import WriteOptions
from cataloger.writeback.column_values import ABSENT, ANY_ROW, UnwritableError, restore
from cataloger.writeback.other_tables import LinkTable
from cataloger.writeback.product_table import Cells, ProductRow, ProductTable

Answers = Sequence[tuple[str, float]]
"""Labels with their confidences, best first."""


@dataclass(frozen=True, slots=True)
class WritePlan:
    """What to write into one table, checked. columns: pairs of a column and a field of the answer.

    categories: the shop's own, by label; empty without a label map. defaults: of columns, as text. target: the table,
    if it is not that of the products.
    """

    table: ProductTable
    options: WriteOptions
    columns: Sequence[tuple[str, str]]
    categories: Mapping[str, LabelCode]
    defaults: Mapping[str, str] = field(default_factory=dict)
    target: OtherTarget | None = None

    def may_replace(self, column: str, value: Any) -> bool:
        """True for a value of the shop that an answer may replace, in a column that is written for the first time."""
        if self.options.overwrite or value is None:
            return True
        cell, texts = self.table.cell(column), list(self.options.only_if)
        if not self.options.only_null:
            texts += ["", *(text for name, text in self.defaults.items() if name == column)]
        return any(cell.means(value, text) for text in texts)

    def values(self, row: AnyRow) -> Cells | None:
        """Return the value of an answer for each column; None if it is not to be written. Raises UnwritableError."""
        ranked = [(getattr(row, f"label_{n}"), getattr(row, f"confidence_{n}")) for n in range(1, TOP_K + 1)]
        answers: Answers = [(label, confidence) for label, confidence in ranked if label is not None]
        decision = row.decision
        if row.corrected_label is not None:
            answers = self._corrected(row.corrected_label, answers)
            decision = "accept"
        return self._cells(answers, decision) if self._is_wanted(answers, decision) else None

    def complete(self, cells: Cells, _last: Mapping[str, AnyRow]) -> Cells:
        """Add cells that the answer says nothing of. last: what was written last, by column."""
        return cells

    def decided(self, new: Cells, row: ProductRow) -> Cells:
        """Return what to set, given the columns that are to be set; with them comes a row that is not there."""
        return new | {WHOLE_ROW: ANY_ROW} if new and row.cells.get(WHOLE_ROW) is ABSENT else new

    def _corrected(self, label: str, answers: Answers) -> Answers:
        return [(label, 1.0), *(answer for answer in answers if answer[0] != label)][:TOP_K]

    def _cells(self, answers: Answers, decision: str | None) -> Cells:
        return {
            column: self.table.cell(column).wanted(self._value(name, answers, decision))
            for column, name in self.columns
        }

    def _is_wanted(self, answers: Answers, decision: str | None) -> bool:
        wanted = self.options.only_decision
        is_decided = decision in wanted if wanted else decision in (None, "accept")
        least = self.options.min_confidence
        return is_decided and bool(answers) and (least is None or answers[0][1] >= least)

    def _value(self, name: str, answers: Answers, decision: str | None) -> Any:
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


@dataclass(frozen=True, slots=True)
class LinkPlan(WritePlan):
    """Which categories of a product are to be rows of a table that links them. fields: of LINK_FIELDS."""

    fields: Sequence[str] = ("label_1",)

    def complete(self, cells: Cells, last: Mapping[str, AnyRow]) -> Cells:
        """Add the rows of our own that are no longer wanted."""
        ours = (code for code, row in last.items() if restore(row.new_value) is not ABSENT)
        return cells | {code: ABSENT for code in ours if code not in cells}

    def decided(self, new: Cells, _row: ProductRow) -> Cells:
        """Return what to set: each cell is a row."""
        return new

    def _cells(self, answers: Answers, decision: str | None) -> Cells:
        assert isinstance(self.table, LinkTable)
        least = self.options.min_confidence or 0.0
        likely = [answer for answer in answers if answer[1] >= least]
        codes = (self._value(name, likely, decision) for name in self.fields)
        return {self.table.category(code): ANY_ROW for code in codes if code is not None}

    def _corrected(self, label: str, answers: Answers) -> Answers:
        return super(LinkPlan, self)._corrected(label, answers)[:1]  # a person has named the one category


def top5_json(answers: Iterable[tuple[str, float]]) -> str:
    """Return answers as a JSON array, best first."""
    found = [{"label": label, "confidence": round(confidence, 4)} for label, confidence in answers]
    return json.dumps(found, ensure_ascii=False)
