"""The golden images of a bundle and the logits that go with them: a zip of arrays, none of them trusted."""

import io
import math
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from cataloger.model.bundle import GOLDEN, Bundle
from cataloger.model.untrusted import read_file, refusal
from cataloger.records import Pixels

IMAGES = "images"
LARGEST = 2**28
"""Bytes of the file, and of each array in it. Eight images of 2,048 pixels have a hundred million."""
MOST_IMAGES = 10_000
GOLDEN_IMAGES = 8
GOLDEN_SEED = 20_240_601


def golden_images(size: int) -> Pixels:
    """Return GOLDEN_IMAGES synthetic pictures, uint8 N x size x size x 3: ramps, waves, blocks and noise.

    No photo of anybody's catalog is stored in a bundle.
    """
    random = np.random.default_rng(GOLDEN_SEED)
    y, x = np.mgrid[0:size, 0:size] / size
    images = []
    for index in range(GOLDEN_IMAGES):
        frequency = random.uniform(1, 6, size=(3, 2))
        waves = [np.sin(2 * np.pi * (fx * x + fy * y)) for fx, fy in frequency]
        picture = 127.5 + 90 * np.stack(waves, axis=-1)
        top, left = random.integers(0, size // 2, size=2)
        picture[top : top + size // 3, left : left + size // 3] = random.uniform(0, 255, size=3)
        picture += random.normal(0, 4 * index, size=picture.shape)
        images.append(np.clip(picture, 0, 255).astype(np.uint8))
    return np.stack(images)


def read_golden(bundle: Bundle, *keys: str) -> dict[str, Any]:
    """Return the images, uint8 N x size x size x 3, and for each key the logits, N x labels, by name.

    Every size is compared with the bundle before any memory is taken. Raises BundleError.
    """
    path = bundle.path / GOLDEN
    size, labels = bundle.preprocess.size, len(bundle.labels)
    try:
        with zipfile.ZipFile(io.BytesIO(read_file(path, largest=LARGEST))) as archive:
            images = _array(archive, IMAGES, np.dtype(np.uint8), {1: size, 2: size, 3: 3})
            wanted: Mapping[int, int] = {0: len(images), 1: labels}
            return {IMAGES: images} | {key: _array(archive, key, np.dtype(np.float32), wanted) for key in keys}
    except (
        ValueError,
        KeyError,
        EOFError,
        NotImplementedError,
        RuntimeError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise refusal(path, f"cannot be read: {error}") from error


def _array(archive: zipfile.ZipFile, key: str, dtype: Any, lengths: Mapping[int, int]) -> Any:
    """Read one array. lengths: of its dimensions, by number; the first may be any. Raises ValueError and others."""
    with archive.open(f"{key}.npy") as file:
        version = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, is_fortran, found = header(file, max_header_size=1000)
        fits = len(shape) == max(lengths) + 1 and all(shape[place] == length for place, length in lengths.items())
        if found != dtype or is_fortran or not fits or not 1 <= shape[0] <= MOST_IMAGES:
            raise ValueError(f"{key} is {found} of shape {shape}, which is not what the bundle says")
        count = math.prod(shape) * dtype.itemsize
        if count > LARGEST:
            raise ValueError(f"{key} has {count:,} bytes; at most {LARGEST:,} are read")
        data = file.read(count)
    if len(data) != count:
        raise ValueError(f"{key} ends early")
    return np.frombuffer(data, dtype).reshape(shape)
