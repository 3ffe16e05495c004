"""Images to label for `cataloger adapt`, and what their labels are worth, measured in the background."""

import logging
import threading
from collections.abc import Sequence
from typing import Any, Self

from cataloger.adaptation import STEP, LabelProgress, Measured
from cataloger.corrections import choose_for_adapting, count_labelled, measure_label_worth
from cataloger.db import AnyRow, Database
from cataloger.errors import CatalogerError, UsageError
from cataloger.ledger import find_tagged_source
from cataloger.utils import Share

logger = logging.getLogger(__name__)


class Adapting:
    """The images that were chosen, and the last that was measured. Safe to use from several threads."""

    def __init__(self, database: Database, row: AnyRow, items: Sequence[int]) -> None:
        self.items = items
        self._database, self._row = database, row
        self._lock = threading.Lock()
        self._lines: list[str] = []
        self._at = 0
        self._is_measuring = False

    @classmethod
    def choose(cls, database: Database, source: str | None, count: int) -> Self:
        """Choose images of the only source, or of the one that is named. Raises UsageError, TrainingError."""
        row = find_tagged_source(database, source)
        items = choose_for_adapting(database, row, count)
        if not items:
            raise UsageError(f"--for-adapting: every product of {row.name} has a label already")
        return cls(database, row, items)

    @property
    def source(self) -> str:
        """The name of the source."""
        return str(self._row.name)

    def state(self) -> dict[str, Any]:
        """Return how many labels there are and what was measured last, as JSON. Begins to measure what is due."""
        labels = count_labelled(self._database, self._row)
        with self._lock:
            is_due = labels // STEP != self._at // STEP and not self._is_measuring
            if is_due:
                self._is_measuring = True
                threading.Thread(target=self._measure, args=(labels,), daemon=True).start()
            lines = self._lines or [f"Measured after each {STEP} labels; {labels} so far."]
            return {"labels": labels, "measured": self._at, "lines": lines, "is_measuring": self._is_measuring}

    def _measure(self, labels: int) -> None:
        """Measure in a thread of its own: no request waits for it."""
        try:
            lines = progress_lines(measure_label_worth(self._database, self._row), self.source)
        except CatalogerError as error:
            lines = [f"After {labels} labels: {error}"]
        except Exception:
            logger.exception("what the labels are worth was not measured")
            lines = [f"After {labels} labels: could not be measured; the log says why"]
        with self._lock:
            self._lines, self._at, self._is_measuring = lines, labels, False


def progress_lines(progress: LabelProgress, source: str) -> list[str]:
    """Say in a few lines what was measured, and whether more labels pay."""
    lines = [f"After {progress.images} labels. Now: {_figures(progress.now)}."]
    if progress.gains:
        lines.append(f"Adapted to them: {_figures(progress.adapted)}.")
    else:
        lines.append("Adapting to them gains nothing beyond chance yet.")
    if progress.more is None:
        lines.append("It is too early to tell what more labels would bring.")
    elif progress.pays:
        lines.append(f"{STEP} more labels are expected to bring {100 * progress.more:.1f} points.")
    else:
        close = f"cataloger adapt --source {source}"
        lines.append(
            "More labels hardly pay any more: end here" + (f", and run `{close}`." if progress.gains else ".")
        )
    return lines


def _figures(measured: Measured) -> str:
    right, accepted = _share(measured.right), _share(measured.accepted)
    return f"{right} right; accepted {accepted}, of these {_share(measured.accepted_right)} right"


def _share(share: Share) -> str:
    if share.value != share.value:  # nothing was measured
        return "none"
    return f"{100 * share.value:.0f}% ({100 * share.low:.0f} to {100 * share.high:.0f})"
