"""The filters of the queue, as the address of the page contains them."""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any, Self
from urllib.parse import parse_qsl, urlencode

from cataloger.contracts import DECISIONS
from cataloger.db import sanitize_text
from cataloger.errors import UsageError

ORDERS = {
    "confidence": "least confident first",
    "category": "by category",
    "product": "by product",
    "run": "newest run first",
}
ADAPTING = "adapting"
"""The order of the images that `--for-adapting` has chosen; only these are in it."""
REVIEWED = {"no": "not reviewed yet", "yes": "reviewed", "any": "all"}
UNITS = ("product", "image")
VIEWS = ("queue", "survey")
WHOSE = {"": "me", "all": "everybody"}
HOW = ("order", "reviewed", "by", "view", "whose")
"""Filters that say how a queue is shown, not what belongs to it."""
LARGEST_RUN = 2**31 - 1
LARGEST_IMAGE = 2**63 - 1
NUMBERS: dict[str, type[float] | type[int]] = {"below": float, "run": int, "image": int}


@dataclass(frozen=True, slots=True)
class Filters:
    """Which images, and in which order. "" or None: any. Raises UsageError for invalid values.

    below: confidence of the best category. category: of the model, or of a person. run: current results of this run.
    image: its number in the database, as the links of a report have it. source: as `cataloger sources list` shows it.
    reviewed: corrected, and not changed since. by: products, or images; "" for products where there are any. view:
    how the page shows it. whose: also what is assigned to others.
    """

    order: str = "confidence"
    below: float | None = None
    decision: str = ""
    category: str = ""
    run: int | None = None
    product: str = ""
    image: int | None = None
    source: str = ""
    reviewed: str = "no"
    by: str = ""
    view: str = "queue"
    whose: str = ""

    def __post_init__(self) -> None:
        _check("order", self.order, (*ORDERS, ADAPTING))
        _check("decision", self.decision, ("", *DECISIONS))
        _check("reviewed", self.reviewed, REVIEWED)
        _check("by", self.by, ("", *UNITS))
        _check("view", self.view, VIEWS)
        _check("whose", self.whose, WHOSE)
        if self.below is not None and not 0.0 <= self.below <= 1.0:
            raise UsageError("below: give a confidence from 0 to 1")
        if self.run is not None and not 0 < self.run <= LARGEST_RUN:
            raise UsageError("run: give the number of a run, as `cataloger runs list` shows it")

        if self.image is not None and not 0 < self.image <= LARGEST_IMAGE:
            raise UsageError("image: give the number of an image, as the links of a report have it")

    @classmethod
    def parse(cls, query: Iterable[tuple[str, str]]) -> Self:
        """Read the pairs of a query string; empty values are left out. Raises UsageError, also for unknown names."""
        values = {name: sanitize_text(value) for name, value in query if value}
        unknown = values.keys() - {field.name for field in fields(cls)}
        if unknown:
            raise UsageError(f"the address contains the unknown filter {min(unknown)!r}")
        numbers = {name: _number(values, name, kind) for name, kind in NUMBERS.items()}
        return cls(**{**values, **numbers})  # type: ignore[arg-type]

    def part(self) -> Self:
        """Return the filters that say what belongs to the queue, without how it is shown."""
        plain: dict[str, Any] = {field.name: field.default for field in fields(self) if field.name in HOW}
        return replace(self, **plain)

    def text(self) -> str:
        """Return for people what belongs to the queue."""
        pairs = parse_qsl(self.part().query())
        return ", ".join(f"{name} {value}" for name, value in pairs) or "all"

    def query(self) -> str:
        """Return the query string that `parse` reads, without default values."""
        plain = type(self)()
        pairs = {field.name: getattr(self, field.name) for field in fields(self)}
        return urlencode({name: value for name, value in pairs.items() if value != getattr(plain, name)})


def _check(name: str, value: str, known: Iterable[str]) -> None:
    if value not in known:
        raise UsageError(f"{name}: {value!r} is none of {', '.join(filter(None, known))}")


def _number(values: dict[str, str], name: str, kind: type[float] | type[int]) -> float | None:
    try:
        return kind(values[name]) if name in values else None
    except ValueError as error:
        raise UsageError(f"{name}: {values[name]!r} is not a number") from error
