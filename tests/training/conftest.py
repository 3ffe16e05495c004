"""Pictures made here: noise that looks different for every number, and copies that look the same."""

import numpy as np
import pytest
from PIL import Image


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
