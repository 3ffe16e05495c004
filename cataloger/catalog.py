"""What has been recorded in a database, to look at and to correct from Python."""

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from cataloger.contracts import TOP_K, Verdict
from cataloger.corrections import CorrectionInput, Outcome, correct_image, find_image, require_known_label
from cataloger.db import Database, DatabaseURL
from cataloger.drift import CheckOptions, CheckReport, check_run
from cataloger.errors import UsageError
from cataloger.history import DifferenceSummary, UndoReport, compare, undo_run
from cataloger.hooks import Hooks
from cataloger.ledger import RunRecord, list_runs
from cataloger.options import DriftLimits
from cataloger.schema import open_results
from cataloger.sinks import files
from cataloger.utils import clean_label


@dataclass(frozen=True, slots=True)
class CatalogResult:
    """The current result of one image: a row of the view `cataloger_image_top5`.

    labels, confidences: best first, at most five, without the empty ones; a corrected image has its correction first.
    status: "ok" or "failed". error_code, error_text: why it failed. run_id: of the run that tagged it.
    tagged_at, corrected_at: with the time zone UTC.
    """

    source: str
    key: str
    uri: str
    product_key: str | None
    status: str
    error_code: str | None
    model: str
    run_id: int
    decision: str | None
    labels: tuple[str, ...]
    confidences: tuple[float | None, ...]
    tagged_at: datetime | None
    corrected_by: str | None
    corrected_at: datetime | None
    error_text: str | None


def open_catalog(db: str, *, schema: str | None = None) -> "Catalog":
    """Open a database that has results. Use it in a `with` statement, which closes it.

    Args:
        db: SQLAlchemy URL.
        schema: database schema of cataloger's own tables (PostgreSQL).

    Raises:
        DatabaseError: it cannot be reached, has no results, or tables of another version.
        UsageError: the URL is none.
    """
    return Catalog(open_results(DatabaseURL.parse(db), schema=schema))


class Catalog:
    """What has been recorded in a database; `open_catalog` makes it. Usable from several threads."""

    def __init__(self, database: Database) -> None:
        self._opened: Database | None = database

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Catalog({self._opened.name!r})" if self._opened else "Catalog(closed)"

    def close(self) -> None:
        """Close all connections. The catalog cannot be used any more."""
        opened, self._opened = self._opened, None
        if opened:
            opened.close()

    @property
    def _database(self) -> Database:
        if self._opened is None:
            raise UsageError("this catalog is closed; open it again with open_catalog")
        return self._opened

    def runs(self, limit: int | None = 20) -> list[RunRecord]:
        """Return the newest runs first, at most `limit`; None for all. Raises DatabaseError."""
        return list_runs(self._database, limit)

    def results(self, source: str | None = None) -> Iterator[CatalogResult]:
        """Yield the current result of each image, by source and key, without holding all in memory.

        Args:
            source: only this one, as `cataloger sources list` names it.

        Raises:
            DatabaseError: the database cannot be read.
        """
        return map(_result, files.current_rows(self._database, files.Selection(source)))

    def diff(self, before: int, after: int, *, examples: int = 10) -> DifferenceSummary:
        """Compare the current results after two runs. examples: images and products to name, of each kind.

        Raises:
            UsageError: there is no such run, or they have no source in common.
        """
        summary = DifferenceSummary(examples)
        for difference in compare(self._database, before, after):
            summary.add(difference)
        return summary

    def undo(self, run_id: int, *, skip_edited: bool = False, stop: threading.Event | None = None) -> UndoReport:
        """Take a run back, also what it wrote into the product table.

        Args:
            run_id: number of the run; of an undo, to undo that.
            skip_edited: leave what people have changed since, and undo the rest.
            stop: set it to end early; undo the same run again to go on.

        Raises:
            UsageError: the run cannot be undone.
            EditedError: people have changed what it wrote, and `skip_edited` is not set.
        """
        return undo_run(self._database, run_id, skip_edited=skip_edited, hooks=Hooks(stop or threading.Event()))

    def correct(
        self,
        image: str,
        label: str | None = None,
        *,
        author: str,
        note: str | None = None,
        not_product: bool = False,
        withdrawn: bool = False,
        source: str | None = None,
        new_label: bool = False,
    ) -> Outcome:
        """Record a correction of one image; it holds before what any model says, until a later one.

        Args:
            image: key or uri.
            label: the right category; or one of the next two instead:
            not_product: the image shows no product.
            withdrawn: no correction holds any more.
            author: who says so.
            note: why, for people.
            source: which source the image belongs to, if several have such a key.
            new_label: take a label that neither the model nor a correction knows yet.

        Raises:
            UsageError: no image or several are meant, or the label is unknown.
        """
        if [label is not None, not_product, withdrawn].count(True) != 1:
            raise UsageError("a correction is a label, not_product=True or withdrawn=True")
        if label is not None and not clean_label(label):
            raise UsageError("the label is empty; name a category, or say not_product=True or withdrawn=True")
        verdict: Verdict = "label" if label is not None else "not_product" if not_product else "withdrawn"
        source_id, item_id = find_image(self._database, image, source)
        if label is not None:
            label = clean_label(label) if new_label else require_known_label(self._database, source_id, label)
        try:
            correction = CorrectionInput(item_id, verdict, label, None, None, note)
        except ValueError as error:
            raise UsageError(str(error)) from error
        return correct_image(self._database, source_id, correction, author)

    def check(
        self,
        against: int | str = "previous",
        *,
        run: int | None = None,
        source: str | None = None,
        limits: DriftLimits | None = None,
    ) -> CheckReport:
        """Compare a run with an earlier one, or with a model's validation images, as `cataloger check` does.

        Args:
            against: number of a run, "previous", a bundle's folder or "default".
            run: number of the run to check; without it, the newest finished one.
            source: only this one of the run's.
            limits: from where on a difference matters.

        Returns:
            The measures; `drifted` of it is empty if all is well.

        Raises:
            UsageError: they cannot be compared.
        """
        return check_run(self._database, CheckOptions(str(against), run, source, limits or DriftLimits()))


def _result(row: Mapping[str, Any]) -> CatalogResult:
    ranks = [n for n in range(1, TOP_K + 1) if row[f"label_{n}"] is not None]
    same = ("source", "key", "uri", "product_key", "status", "error_code", "model", "run_id", "decision")
    return CatalogResult(
        **{name: row[name] for name in same},
        labels=tuple(row[f"label_{n}"] for n in ranks),
        confidences=tuple(row[f"confidence_{n}"] for n in ranks),
        tagged_at=row["tagged_at"],
        corrected_by=row["corrected_by"],
        corrected_at=row["corrected_at"],
        error_text=row["error_text"],
    )
