"""Files beside a bundle's own that other tools understand: labels.txt, and configurations as timm and Hugging Face
write them for image classification.
"""

import json
from pathlib import Path
from typing import Any

from cataloger.model import CONFIG, FEATURES, INPUT, LABELS, LOGITS, MODEL, PREPROCESSOR, WEIGHTS, Bundle

# Pillow's numbers of the resampling filters, which Hugging Face's configurations contain.
RESAMPLE = {"bilinear": 2, "bicubic": 3}
HALF = [0.5, 0.5, 0.5]


def write_interchange(bundle: Bundle) -> None:
    """Write labels.txt, config.json and preprocessor_config.json into the directory of a bundle."""
    (bundle.path / LABELS).write_text("".join(f"{label}\n" for label in bundle.labels), encoding="utf-8")
    _write(bundle.path / CONFIG, config(bundle))
    _write(bundle.path / PREPROCESSOR, preprocessor(bundle))


def config(bundle: Bundle) -> dict[str, Any]:
    """Return what timm and Hugging Face want to know of a classifier: shape, labels, preprocessing."""
    size, spec = bundle.preprocess.size, bundle.preprocess
    names = dict(enumerate(bundle.labels))
    return {
        "architecture": "mobilenetv1_100_mhsa",
        "model_type": "cataloger",
        "num_classes": len(bundle.labels),
        "num_features": FEATURES,
        "label_names": list(bundle.labels),
        "id2label": {str(index): label for index, label in names.items()},
        "label2id": {label: index for index, label in names.items()},
        "problem_type": "single_label_classification",
        "pretrained_cfg": {
            "input_size": [3, size, size],
            "fixed_input_size": True,
            "interpolation": spec.resampling,
            "crop_pct": 1.0,
            "crop_mode": spec.aspect,
            "mean": HALF,
            "std": HALF,
            "num_classes": len(bundle.labels),
        },
        "files": {"weights": WEIGHTS, "onnx": MODEL, "onnx_input": INPUT, "onnx_output": LOGITS},
    }


def preprocessor(bundle: Bundle) -> dict[str, Any]:
    """Return the preprocessing in the keys of Hugging Face's image processors.

    The ONNX model normalises by itself: it wants the resized pixels as uint8, N x size x size x 3.
    """
    spec = bundle.preprocess
    return {
        "do_resize": True,
        "size": {"height": spec.size, "width": spec.size},
        "resample": RESAMPLE[spec.resampling],
        "do_center_crop": False,
        "do_convert_rgb": True,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": HALF,
        "image_std": HALF,
        "background": list(spec.background),
    }


def _write(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
