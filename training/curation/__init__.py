"""What labelled data contains, what is wrong with it, and how it is split.

Imports `training.data`, `sources`, `utils`.
"""

from typing import TYPE_CHECKING

from cataloger.utils import lazy_names

if TYPE_CHECKING:
    from cataloger.training.curation.data_report import DataReport
    from cataloger.training.curation.prepare import PreparedData, Watcher, prepare_data

__all__ = ["DataReport", "PreparedData", "Watcher", "prepare_data"]


__getattr__ = lazy_names(
    __name__,
    {
        "data_report": ["DataReport"],
        "prepare": ["PreparedData", "Watcher", "prepare_data"],
    },
)
