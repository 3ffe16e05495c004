"""Examples and predictions made by hand; pictures that look different for every number."""

import numpy as np
import pytest
from PIL import Image

from cataloger.training.data.examples import Example
from cataloger.training.metrics.predictions import Predictions


@pytest.fixture
def make_examples(tmp_path):
    """Return a function: labels of each image, several joined by "|" -> examples."""

    def make(*labels, split="test", names=None):
        names = names or [f"{number}.jpg" for number in range(len(labels))]
        pairs = zip(names, labels, strict=True)
        return [Example(name, tmp_path / name, tuple(label.split("|")), split) for name, label in pairs]

    return make


@pytest.fixture
def make_predictions():
    """Return a function: labels, and (best label, its confidence) of each image -> predictions; the others follow."""

    def make(labels, *answers, decisions=None):
        ranked, confidence = [], []
        for label, value in answers:
            best = labels.index(label)
            ranked.append([best, *(index for index in range(len(labels)) if index != best)])
            rest = (1 - value) / max(1, len(labels) - 1)
            confidence.append([value, *[rest] * (len(labels) - 1)])
        return Predictions(tuple(labels), np.array(ranked), np.array(confidence), decisions)

    return make


def picture(number, side=64):
    """Return coarse coloured squares; another number is another picture."""
    squares = np.random.default_rng(number).integers(0, 256, size=(16, 16, 3), dtype=np.uint8)
    return Image.fromarray(squares).resize((side, side), Image.Resampling.BICUBIC)


@pytest.fixture
def save_picture():
    """Write the picture of a number into a file, whose folders are made."""

    def save(path, number, *, side=64, **options):
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(number, side).save(path, **options)
        return path

    return save
