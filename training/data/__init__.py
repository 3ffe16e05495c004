"""Labelled images, wherever they come from: class folders, manifests, queries, corrections, DeepFashion.

Imports `objects`, `sources`, `fetch`, `imaging`, `schema`, `db`, `ledger`.
"""

from typing import TYPE_CHECKING

from cataloger.utils import lazy_names

if TYPE_CHECKING:
    from cataloger.training.data.columns import SEPARATOR, labels_of
    from cataloger.training.data.examples import SPLITS, DataProblem, Example, LabelledImages, accepted_matrix
    from cataloger.training.data.objects import versions_of
    from cataloger.training.data.pixels import decode_examples
    from cataloger.training.data.read import read_dataset
    from cataloger.training.data.soft_labels import SoftLabels, read_soft_labels, soft_matrix
    from cataloger.training.data.thumbnails import draw_thumbnails
    from cataloger.training.data.traits import check_shares, rows_with, values_of

__all__ = [
    "SEPARATOR",
    "SPLITS",
    "DataProblem",
    "Example",
    "LabelledImages",
    "SoftLabels",
    "accepted_matrix",
    "check_shares",
    "decode_examples",
    "draw_thumbnails",
    "labels_of",
    "read_dataset",
    "read_soft_labels",
    "rows_with",
    "soft_matrix",
    "values_of",
    "versions_of",
]


__getattr__ = lazy_names(
    __name__,
    {
        "columns": ["SEPARATOR", "labels_of"],
        "examples": ["DataProblem", "Example", "LabelledImages", "SPLITS", "accepted_matrix"],
        "objects": ["versions_of"],
        "pixels": ["decode_examples"],
        "read": ["read_dataset"],
        "soft_labels": ["SoftLabels", "read_soft_labels", "soft_matrix"],
        "thumbnails": ["draw_thumbnails"],
        "traits": ["check_shares", "rows_with", "values_of"],
    },
)
