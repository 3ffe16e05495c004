"""Draw where in a picture the shipped model finds what it names: class activation maps of its best categories.

    python default_model/activation_maps.py docs/activation_maps.png examples/images/*.png

Each row is a picture, then for its best categories the places whose scores speak for them. The scores are an output
of the network: a category's logit is exactly their mean, so no gradient is needed. Needs matplotlib (extra `train`).
"""

import argparse
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image

matplotlib.use("Agg")
from matplotlib import pyplot

from cataloger.bundle import read_bundle, resolve_bundle_path
from cataloger.classify.base import calibrated_probabilities, rank
from cataloger.classify.onnx import OnnxClassifier
from cataloger.preprocess import load
from cataloger.records import Floats, Pixels

CATEGORIES = 3
STRENGTH = 0.65
"""Of the colour over the picture where a place speaks for the category the most."""


def main() -> None:
    """Classify the pictures, draw the rows, write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("pictures", type=Path, nargs="+")
    parser.add_argument("--model", default="default")
    options = parser.parse_args()
    bundle = read_bundle(resolve_bundle_path(options.model))
    classifier = OnnxClassifier(bundle)
    rows = len(options.pictures)
    figure, axes = pyplot.subplots(
        rows, CATEGORIES + 1, figsize=(2.2 * (CATEGORIES + 1), 2.45 * rows), squeeze=False, layout="constrained"
    )
    for line, path in zip(axes, options.pictures, strict=True):
        pixels = load(path.read_bytes(), bundle.preprocess).pixels
        place_scores = classifier.place_scores(pixels[None])[0]
        logits = place_scores.mean(axis=0)
        confidences = calibrated_probabilities(logits, bundle.temperature)
        show(line[0], pixels, path.stem)
        for axis, label in zip(line[1:], rank(logits, CATEGORIES), strict=True):
            heat = activation_map(place_scores, label, pixels.shape[0])
            show(axis, overlaid(pixels, heat), f"{bundle.labels[label]} {confidences[label]:.2f}")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.out, dpi=80)


def activation_map(place_scores: Floats, label: int, size: int) -> Floats:
    """Return how much each pixel speaks for a label, from 0 to 1. place_scores: places x labels, row by row.

    A place speaks for a label where its score lies above the mean of all labels there.
    """
    evidence = np.maximum(place_scores[:, label] - place_scores.mean(axis=1), 0.0)
    side = round(len(evidence) ** 0.5)
    small = Image.fromarray(evidence.reshape(side, side).astype(np.float32))
    heat: Floats = np.asarray(small.resize((size, size), Image.Resampling.BICUBIC)).clip(0.0)
    return heat / max(float(heat.max()), 1e-6)


def overlaid(pixels: Pixels, heat: Floats) -> Pixels:
    """Return a picture with a map over it; uint8 size x size x 3."""
    colours = matplotlib.colormaps["inferno"](heat)[..., :3] * 255
    share = STRENGTH * heat[..., None]
    grey = pixels.mean(axis=2, keepdims=True).repeat(3, axis=2)
    mixed: Pixels = (grey * (1 - share) + colours * share).round().astype(np.uint8)
    return mixed


def show(axis: "pyplot.Axes", picture: Pixels, title: str) -> None:
    """Draw one picture."""
    axis.imshow(picture)
    axis.set_title(title, fontsize=9)
    axis.set_axis_off()


if __name__ == "__main__":
    main()
