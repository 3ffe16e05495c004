"""From pixels to ranked categories with calibrated probabilities: backends, aggregation per product, class
activation maps.

Imports `fetch`, `imaging`, `model`, `utils`.
"""

from typing import TYPE_CHECKING

from cataloger.utils import lazy_names

if TYPE_CHECKING:
    from cataloger.inference.activation_maps import (
        Explanation,
        activation_map,
        draw,
        explain_images,
        explained,
        heat_layer,
        overlaid,
    )
    from cataloger.inference.backend import BATCH_SIZES, Engine, choose_engine
    from cataloger.inference.classifier import (
        STORED,
        Classifier,
        Ranked,
        Ranking,
        Scores,
        adapted_scores,
        calibrated_probabilities,
        classify,
        known_images,
        log_sum_exp,
        rank_by,
    )
    from cataloger.inference.golden import Verified, answers_noise, golden_key, replay_golden, verify_model
    from cataloger.inference.isolated import open_classifier
    from cataloger.inference.onnx import OnnxClassifier
    from cataloger.inference.private_onnxruntime import onnxruntime
    from cataloger.inference.product_aggregation import DISAGREEMENT, ProductAnswer, RankedAnswer, combine
    from cataloger.inference.tagger import Tagger
    from cataloger.inference.torch import load_folded, load_network

__all__ = [
    "BATCH_SIZES",
    "DISAGREEMENT",
    "STORED",
    "Classifier",
    "Engine",
    "Explanation",
    "OnnxClassifier",
    "ProductAnswer",
    "Ranked",
    "RankedAnswer",
    "Ranking",
    "Scores",
    "Tagger",
    "Verified",
    "activation_map",
    "adapted_scores",
    "answers_noise",
    "calibrated_probabilities",
    "choose_engine",
    "classify",
    "combine",
    "draw",
    "explain_images",
    "explained",
    "golden_key",
    "heat_layer",
    "known_images",
    "load_folded",
    "load_network",
    "log_sum_exp",
    "onnxruntime",
    "open_classifier",
    "overlaid",
    "rank_by",
    "replay_golden",
    "verify_model",
]


__getattr__ = lazy_names(
    __name__,
    {
        "activation_maps": [
            "Explanation",
            "activation_map",
            "draw",
            "explain_images",
            "explained",
            "heat_layer",
            "overlaid",
        ],
        "backend": ["BATCH_SIZES", "Engine", "choose_engine"],
        "classifier": [
            "Classifier",
            "Ranked",
            "Ranking",
            "STORED",
            "Scores",
            "adapted_scores",
            "calibrated_probabilities",
            "classify",
            "known_images",
            "log_sum_exp",
            "rank_by",
        ],
        "golden": ["Verified", "answers_noise", "golden_key", "replay_golden", "verify_model"],
        "isolated": ["open_classifier"],
        "onnx": ["OnnxClassifier"],
        "private_onnxruntime": ("onnxruntime",),
        "product_aggregation": ["DISAGREEMENT", "ProductAnswer", "RankedAnswer", "combine"],
        "tagger": ["Tagger"],
        "torch": ["load_folded", "load_network"],
    },
)
