"""From labelled images to batches: transforms, augmentation, sampling, the cache.

Needs torch. Imports `training.data`, `model`, `utils`.
"""

from typing import TYPE_CHECKING

from cataloger.utils import lazy_names

if TYPE_CHECKING:
    from cataloger.training.inputs.augmentation import Augmentation
    from cataloger.training.inputs.batches import Inputs, LabelledFeatures, LabelledPixels, Targets, to_network
    from cataloger.training.inputs.cache import ExampleCache, cached
    from cataloger.training.inputs.cached_values import FeatureExtractor, PixelExtractor
    from cataloger.training.inputs.sampling import (
        BalancedColumn,
        Indices,
        Weights,
        draw_weights,
        drawn_by,
        epoch_batches,
        sample,
        share_of,
        with_no_products,
    )

__all__ = [
    "Augmentation",
    "BalancedColumn",
    "ExampleCache",
    "FeatureExtractor",
    "Indices",
    "Inputs",
    "LabelledFeatures",
    "LabelledPixels",
    "PixelExtractor",
    "Targets",
    "Weights",
    "cached",
    "draw_weights",
    "drawn_by",
    "epoch_batches",
    "sample",
    "share_of",
    "to_network",
    "with_no_products",
]


__getattr__ = lazy_names(
    __name__,
    {
        "augmentation": ["Augmentation"],
        "batches": ["Inputs", "LabelledFeatures", "LabelledPixels", "Targets", "to_network"],
        "cache": ["ExampleCache", "cached"],
        "cached_values": ["FeatureExtractor", "PixelExtractor"],
        "sampling": [
            "BalancedColumn",
            "Indices",
            "Weights",
            "draw_weights",
            "drawn_by",
            "epoch_batches",
            "sample",
            "share_of",
            "with_no_products",
        ],
    },
)
