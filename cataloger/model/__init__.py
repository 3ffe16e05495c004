"""Models: the bundle on disk, the calibration of its scores, and the network.

Imports only the ground modules; torch only where the network is asked for.
"""

from typing import TYPE_CHECKING

from cataloger.utils import lazy_names

if TYPE_CHECKING:
    from cataloger.model.bundle import (
        CARD,
        FAMILIARITY,
        GOLDEN,
        INPUT,
        LOGITS,
        MANIFEST,
        MODEL,
        MODEL_INT8,
        PLACE_SCORES,
        REQUIRED_FILES,
        WEIGHTS,
        Bundle,
        check_files,
        default_bundle_path,
        new_bundle,
        read_bundle,
        resolve_bundle_path,
        seal,
        sha256_of,
    )
    from cataloger.model.calibration import Calibration
    from cataloger.model.network import (
        FEATURES,
        PROTOTYPES,
        ConvBNReLU6,
        FromPixels,
        Network,
        count_parameters,
        load_backbone,
        load_head,
        normalise,
    )

__all__ = [
    "CARD",
    "FAMILIARITY",
    "FEATURES",
    "GOLDEN",
    "INPUT",
    "LOGITS",
    "MANIFEST",
    "MODEL",
    "MODEL_INT8",
    "PLACE_SCORES",
    "PROTOTYPES",
    "REQUIRED_FILES",
    "WEIGHTS",
    "Bundle",
    "Calibration",
    "ConvBNReLU6",
    "FromPixels",
    "Network",
    "check_files",
    "count_parameters",
    "default_bundle_path",
    "load_backbone",
    "load_head",
    "new_bundle",
    "normalise",
    "read_bundle",
    "resolve_bundle_path",
    "seal",
    "sha256_of",
]


__getattr__ = lazy_names(
    __name__,
    {
        "bundle": [
            "Bundle",
            "CARD",
            "FAMILIARITY",
            "GOLDEN",
            "INPUT",
            "LOGITS",
            "MANIFEST",
            "MODEL",
            "MODEL_INT8",
            "PLACE_SCORES",
            "REQUIRED_FILES",
            "WEIGHTS",
            "check_files",
            "default_bundle_path",
            "new_bundle",
            "read_bundle",
            "resolve_bundle_path",
            "seal",
            "sha256_of",
        ],
        "calibration": ["Calibration"],
        "network": [
            "ConvBNReLU6",
            "FEATURES",
            "FromPixels",
            "Network",
            "PROTOTYPES",
            "count_parameters",
            "load_backbone",
            "load_head",
            "normalise",
        ],
    },
)
