"""What `cataloger evaluate --corrections` prints: accuracy on the images that people have reviewed."""

import math
from typing import TYPE_CHECKING

from cataloger.cli import render
from cataloger.cli.print_evaluation import share
from cataloger.utils import printable

if TYPE_CHECKING:
    from cataloger.training.evaluation import ReviewedAccuracy, Tally

CATEGORIES = 15


def print_reviewed(reviewed: "ReviewedAccuracy") -> None:
    """Print shares with their intervals: of all, by decision, by confidence, by category."""
    console, total = render.stdout_console(), reviewed.total
    part = f"{total.reviewed:,} of {total.images:,} images reviewed ({total.reviewed / total.images:.1%})"
    console.print(printable(f"{reviewed.model} on {', '.join(reviewed.sources)}: {part}"), markup=False)
    for line in _notes(reviewed):
        console.print(line, markup=False)
    figures = [
        ("the model is right, of reviewed images", share(total.share)),
        ("weighted by confidence, for the whole catalog", share(reviewed.weighted)),
        ("right among the best five, of reviewed images", share(reviewed.top5_share)),
    ]
    console.print(render.table(("", "share"), figures))
    columns = ("images", "of the catalog", "reviewed", "of these right")
    console.print(
        render.table(("decision", *columns), [_row(*each, total) for each in sorted(reviewed.decisions.items())])
    )
    bands = [(f"at least {band:.2f}", tally) for band, tally in reviewed.bands.items()]
    console.print(render.table(("confidence", *columns), [_row(*each, total) for each in bands]))
    _print_categories(reviewed)


def _row(name: str, tally: "Tally", total: "Tally") -> tuple[object, ...]:
    return (name, tally.images, f"{tally.images / total.images:.1%}", tally.reviewed, share(tally.share))


def _notes(reviewed: "ReviewedAccuracy") -> list[str]:
    from cataloger.training.evaluation import FEW

    notes = []
    if math.isnan(reviewed.weighted.value):
        notes.append(
            f"no estimate for the whole catalog: it needs {FEW} reviewed images in each band of confidence below"
        )
    if reviewed.differs:
        notes.append(
            "the reviewed images differ from the catalog: their mean confidence is "
            f"{reviewed.confidence_reviewed:.2f}, that of all {reviewed.confidence_all:.2f} "
            "(a queue with the least confident first causes that); read the weighted share and the rows by confidence"
        )
    if reviewed.no_product:
        notes.append(
            f"{reviewed.no_product:,} show no product and count as wrong; the model abstains from "
            f"{reviewed.abstained:,} of them"
        )
    if reviewed.changed:
        notes.append(f"left out: {reviewed.changed:,} images that have changed since they were reviewed")
    return notes


def _print_categories(reviewed: "ReviewedAccuracy") -> None:
    console = render.stdout_console()
    ordered = sorted(reviewed.categories.items(), key=lambda each: (each[1].found - each[1].said, each[0]))
    rows = [(name, each.said, share(each.recall), each.named, share(each.precision)) for name, each in ordered]
    columns = ("category", "by people", "of these by the model", "by the model", "of these by people")
    console.print(render.table(columns, rows[:CATEGORIES]))
    if len(rows) > CATEGORIES:
        console.print(f"{len(rows) - CATEGORIES} more categories, with fewer mistakes; --json has all", markup=False)
