"""How one source turns scores into answers: the calibration of a bundle, and the labels that can be the answer there.

A source sells a part of the labels of a model, and a department of it (men, shoes) a part of those. The scores of
the other labels are left out before the softmax. So each product has a calibration of its own, which is narrowed from
that of the bundle; results record its identity, by which those of another one are found and recomputed.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

from cataloger.errors import UsageError
from cataloger.model import Calibration
from cataloger.utils import find_label


@dataclass(frozen=True, slots=True)
class Departments:
    """The labels of each department of a shop. column: of the product table, which names a product's department.

    labels: cleaned department -> its labels. A product of no department, or of one that is not here, may have any.
    """

    column: str
    labels: Mapping[str, tuple[str, ...]]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"column": self.column, "labels": {name: list(labels) for name, labels in self.labels.items()}}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_json` returned."""
        return cls(values["column"], {name: tuple(labels) for name, labels in values["labels"].items()})


@dataclass(frozen=True, slots=True)
class LabelSelection:
    """The labels that a source sells, as it was given. labels: only these; None for all. excluded: none of these.

    mapped: those that the source's label map has a code for; None without a map.
    """

    labels: tuple[str, ...] | None = None
    excluded: tuple[str, ...] = ()
    mapped: tuple[str, ...] | None = None
    departments: Departments | None = None

    def __bool__(self) -> bool:
        return self != LabelSelection()

    def allowed(self, labels: Sequence[str]) -> tuple[str, ...]:
        """Return those of a model's labels that are sold, in its order. Raises UsageError for fewer than two."""
        chosen = set(labels)
        for part in (self.labels, self.mapped):
            if part is not None:
                chosen &= _spelled(part, labels)
        return _two_of(labels, chosen - _spelled(self.excluded, labels), "the labels that the source sells")

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; what is not given is left out."""
        values: dict[str, Any] = {"excluded": list(self.excluded)} if self.excluded else {}
        for name in ("labels", "mapped"):
            if (part := getattr(self, name)) is not None:
                values[name] = list(part)
        return values | ({} if self.departments is None else {"departments": self.departments.to_json()})

    @classmethod
    def from_json(cls, values: Mapping[str, Any] | None) -> Self:
        """Read what `to_json` returned; None is the empty one."""
        values = values or {}
        labels, mapped = (None if values.get(name) is None else tuple(values[name]) for name in ("labels", "mapped"))
        departments = values.get("departments")
        return cls(
            labels,
            tuple(values.get("excluded", ())),
            mapped,
            None if departments is None else Departments.from_json(departments),
        )


@dataclass(frozen=True)
class SourceCalibration:
    """The calibrations of one source, by department. base: of the bundle. labels: of the model, in its order.

    Raises UsageError where the selection leaves fewer than two labels.
    """

    base: Calibration
    labels: tuple[str, ...]
    selection: LabelSelection = field(default_factory=LabelSelection)

    def of(self, department: str | None) -> Calibration:
        """Return the calibration of products of a department, or of none. department: cleaned."""
        return self._by_department.get(department, self._plain)

    def labels_of(self, department: str | None) -> tuple[str, ...]:
        """Return the labels that can be the answer for products of a department, or of none."""
        allowed = self.of(department).allowed
        return self.labels if allowed is None else allowed

    def id_of(self, department: str | None) -> str:
        """Return the identity that results of a department are recorded with."""
        return self._ids.get(department, self._plain_id)

    def check(self) -> None:
        """Raise UsageError where too few labels are sold in the shop or in a department."""
        self.of(None)

    @property
    def ids_by_department(self) -> Mapping[str | None, str]:
        """Identities of the departments whose labels are narrowed; the others have that of None."""
        return self._ids

    @cached_property
    def calibration_id(self) -> str:
        """Identity of the whole: of the base alone, where all labels are sold. Hexadecimal."""
        if not self.selection:
            return self.base.calibration_id
        text = json.dumps([self.base.to_json(), self.selection.to_json()], sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    @cached_property
    def _plain(self) -> Calibration:
        return self._narrowed(self.selection.allowed(self.labels), "the labels that the source sells")

    @cached_property
    def _by_department(self) -> Mapping[str | None, Calibration]:
        departments = self.selection.departments
        if departments is None:
            return {}
        sold = set(self._plain.allowed or self.labels)
        return {
            name: self._narrowed(tuple(sold & _spelled(labels, self.labels)), f"the labels of department {name!r}")
            for name, labels in departments.labels.items()
        }

    @cached_property
    def _plain_id(self) -> str:
        return self._plain.calibration_id

    @cached_property
    def _ids(self) -> Mapping[str | None, str]:
        return {name: each.calibration_id for name, each in self._by_department.items()}

    def _narrowed(self, labels: Sequence[str], what: str) -> Calibration:
        wanted = set(labels) & set(self.base.allowed or self.labels)
        allowed = _two_of(self.labels, wanted, what)
        return replace(self.base, allowed=None if allowed == self.labels else allowed)


def _spelled(names: Sequence[str], labels: Sequence[str]) -> set[str]:
    """Return the labels of a model that names mean; others, of another model, mean nothing."""
    found = (find_label(name, labels) for name in names)
    return {label for label in found if label is not None}


def _two_of(labels: Sequence[str], chosen: set[str], what: str) -> tuple[str, ...]:
    allowed = tuple(label for label in labels if label in chosen)
    if len(allowed) < 2:
        raise UsageError(
            f"{what} are {', '.join(map(repr, allowed)) or 'none'} of the model's {len(labels)}: it takes at least "
            "two, since one alone would be certain for every image"
        )
    return allowed
