"""Models: the bundle on disk, whose files are checked before they are used, the calibration of its scores, and the
network.

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
        TRAINING_FILES,
        WEIGHTS,
        Bundle,
        check_bound,
        check_files,
        copy_files,
        default_bundle_path,
        has_weights,
        kept_bundle_paths,
        new_bundle,
        read_bundle,
        seal,
    )
    from cataloger.model.bundle_place import BundlePlace
    from cataloger.model.calibration import Calibration, ScoreMap, ShopFigures
    from cataloger.model.golden import IMAGES, golden_images, read_golden
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
    from cataloger.model.onnx_file import check_onnx
    from cataloger.model.reference_network import expected_scores, is_of_network
    from cataloger.model.shipped import (
        is_shipped,
        keep_bundle,
        location_of,
        resolve_bundle_path,
        shipped_bundle,
    )
    from cataloger.model.side_files import CONFIG, LABELS, PREPROCESSOR, check_side_files
    from cataloger.model.untrusted import refusal, sha256_of, unprintable
    from cataloger.model.weights_file import Tensors

__all__ = [
    "CARD",
    "CONFIG",
    "FAMILIARITY",
    "FEATURES",
    "GOLDEN",
    "IMAGES",
    "INPUT",
    "LABELS",
    "LOGITS",
    "MANIFEST",
    "MODEL",
    "MODEL_INT8",
    "PLACE_SCORES",
    "PREPROCESSOR",
    "PROTOTYPES",
    "REQUIRED_FILES",
    "TRAINING_FILES",
    "WEIGHTS",
    "Bundle",
    "BundlePlace",
    "Calibration",
    "ConvBNReLU6",
    "FromPixels",
    "Network",
    "ScoreMap",
    "ShopFigures",
    "Tensors",
    "check_bound",
    "check_files",
    "check_onnx",
    "check_side_files",
    "copy_files",
    "count_parameters",
    "default_bundle_path",
    "expected_scores",
    "golden_images",
    "has_weights",
    "is_of_network",
    "is_shipped",
    "keep_bundle",
    "kept_bundle_paths",
    "load_backbone",
    "load_head",
    "location_of",
    "new_bundle",
    "normalise",
    "read_bundle",
    "read_golden",
    "refusal",
    "resolve_bundle_path",
    "seal",
    "sha256_of",
    "shipped_bundle",
    "unprintable",
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
            "TRAINING_FILES",
            "WEIGHTS",
            "check_bound",
            "check_files",
            "copy_files",
            "default_bundle_path",
            "has_weights",
            "kept_bundle_paths",
            "new_bundle",
            "read_bundle",
            "seal",
        ],
        "bundle_place": ["BundlePlace"],
        "calibration": ["Calibration", "ScoreMap", "ShopFigures"],
        "golden": ["IMAGES", "golden_images", "read_golden"],
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
        "onnx_file": ["check_onnx"],
        "shipped": [
            "is_shipped",
            "keep_bundle",
            "location_of",
            "resolve_bundle_path",
            "shipped_bundle",
        ],
        "reference_network": ["expected_scores", "is_of_network"],
        "side_files": ["CONFIG", "LABELS", "PREPROCESSOR", "check_side_files"],
        "untrusted": ["refusal", "sha256_of", "unprintable"],
        "weights_file": ["Tensors"],
    },
)
