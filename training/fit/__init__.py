"""The training itself: trainer, schedule, checkpoints, and the order of all its steps.

Needs torch. Imports the other packages of training.
"""

from typing import TYPE_CHECKING

from cataloger.utils import lazy_names

if TYPE_CHECKING:
    from cataloger.training.fit.train import train_model

__all__ = ["train_model"]


__getattr__ = lazy_names(
    __name__,
    {
        "train": ["train_model"],
    },
)
