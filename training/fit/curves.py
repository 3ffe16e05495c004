"""The curves of a training as it goes: a CSV, a picture, and TensorBoard where that is installed."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cataloger.tabular import write_csv
from cataloger.utils import replacing

COLUMNS = ("epoch", "train_loss", "loss", "top1", "top5", "images_per_second", "waiting")


class Curves:
    """Writes curves.csv and curves.png into a folder, and TensorBoard's events below it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._events = _tensorboard(folder / "tensorboard")

    def write(self, history: Sequence[dict[str, float]]) -> None:
        """Write the curves of all epochs so far."""
        rows = ([int(record["epoch"]), *(record.get(name) for name in COLUMNS[1:])] for record in history)
        path = self._folder / "curves.csv"
        with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            write_csv(file, COLUMNS, rows)
        with replacing(self._folder / "curves.png") as temporary:
            _draw(history, temporary)
        if self._events is not None and history:
            for name in COLUMNS[1:]:
                self._events.add_scalar(name, history[-1][name], int(history[-1]["epoch"]))
            self._events.flush()


def _tensorboard(folder: Path) -> Any:
    """Return a writer of events, or None where tensorboard is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder))


def _draw(history: Sequence[dict[str, float]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.5), layout="constrained")
    losses, shares = figure.subplots(1, 2)
    epochs = [record["epoch"] for record in history]
    for axes, names, title in (
        (losses, {"train_loss": "training", "loss": "validation"}, "loss"),
        (shares, {"top1": "top-1", "top5": "top-5"}, "share of validation images right"),
    ):
        for name, label in names.items():
            axes.plot(epochs, [record[name] for record in history], marker="o", label=label)
        axes.set(title=title, xlabel="epoch")
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=120)
