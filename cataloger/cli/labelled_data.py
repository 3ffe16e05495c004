"""Labelled images for the commands that measure models, and the progress bar of classifying them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cataloger.cli import render

if TYPE_CHECKING:
    from rich.progress import Progress

    from cataloger.model import Bundle
    from cataloger.training.data import LabelledImages

SHOWN = 5


def read_labelled(
    labels: Path,
    images: Path | None,
    report_by: Sequence[str] = (),
    *,
    group_column: str | None = None,
    bundle: "Bundle | None" = None,
    object_root: Sequence[str] | None = None,
    allow_private: bool = False,
) -> "LabelledImages":
    """Read labelled images of any source; see `cataloger.training.data.read`.

    group_column: of what belongs together. bundle: what is to be measured; the label that meant "no product"
    in its training means it here, too. object_root: addresses that images in object stores lie below.
    allow_private: download images from private addresses, too.
    """
    from cataloger.training.data import read_dataset
    from cataloger.training.options import DataOptions

    told = bundle.provenance.get("no_product") if bundle is not None else None
    options = DataOptions(
        data=labels,
        images=images,
        report_by=tuple(report_by),
        product_column=group_column,
        no_product=told.get("label") if isinstance(told, dict) else None,
        object_roots=tuple(object_root or ()),
        allow_private=allow_private,
    )
    data = read_dataset(options)
    for problem in data.problems[:SHOWN]:
        render.stderr_console().print(f"labels: {problem.place}: {problem.message}", markup=False)
    if len(data.problems) > SHOWN:
        more = len(data.problems) - SHOWN
        render.stderr_console().print(f"labels: {more} more problems; `cataloger inspect` lists them")
    return data


def counter(bar: "Progress", name: str) -> Callable[[int], Callable[[int], None]]:
    """Return a function that starts a progress bar with a total, and returns the function that advances it."""

    def begin(total: int) -> Callable[[int], None]:
        if bar.disable:
            return lambda _done: None
        task = bar.add_task(name, total=total, extra="")
        return lambda done: bar.update(task, completed=done)

    return begin
