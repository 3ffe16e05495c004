"""Labelled images for the commands that measure models, and the progress bar of classifying them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

    from cataloger.training.labels import LabelledImages


def read_labelled(labels: Path, images: Path | None, report_by: Sequence[str] = ()) -> "LabelledImages":
    """Read labels. images: folder that `file` is relative to; without it, that of the labels."""
    from cataloger.training.labels import read_labels

    return read_labels(labels, images or labels.parent, report_by=report_by, for_training=False)


def counter(bar: "Progress", name: str) -> Callable[[int], Callable[[int], None]]:
    """Return what starts a progress bar when it is told a total; that returns what moves it."""

    def begin(total: int) -> Callable[[int], None]:
        if bar.disable:
            return lambda _done: None
        task = bar.add_task(name, total=total, extra="")
        return lambda done: bar.update(task, completed=done)

    return begin
